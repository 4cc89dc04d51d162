# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

SHARE=1/3
# shellcheck source=selftests/suites/fuzz-inject/guest.sh
. /suite/like.sh
