# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
run fuzz check

# Programs of the tree, and random ones: the same in each run.
fuzz corpus >/tmp/programs
fuzz generate 1 120 >>/tmp/programs
both /tmp/programs
compared /tmp/programs /tmp/c /tmp/ours
minimise
report_findings

MODULE=$OURS
load_iommufd
fail_everything
# Where adding a mock device to its group fails, the C module binds it as one without an IOMMU, and its mock then looks for
# the group to report a page request.
[ "$OURS" = iommufd ] || run fuzz inject 41 1/1
run fuzz race 1 90
run fuzz kill 20
# Two readers of the C module get events in turns.
[ "$OURS" = iommufd ] || run fuzz meet 40
