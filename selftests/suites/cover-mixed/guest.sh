# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# shellcheck source=selftests/suites/mixed/guest.sh
. /suite/like.sh
run pieces none
