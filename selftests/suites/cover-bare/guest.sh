# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# shellcheck source=selftests/suites/noiommu/guest.sh
. /suite/like.sh
quiet_console
run viommu none
run fault none
run known-bugs-mock none
