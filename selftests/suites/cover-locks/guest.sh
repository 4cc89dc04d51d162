# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# What is followed takes longer than in locks.
LIMIT=2100
# shellcheck source=selftests/suites/locks/guest.sh
. /suite/like.sh
