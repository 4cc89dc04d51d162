# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
run fuzz check
fuzz corpus >/tmp/programs
both /tmp/programs
compared /tmp/programs /tmp/c /tmp/ours
minimise
report_findings
