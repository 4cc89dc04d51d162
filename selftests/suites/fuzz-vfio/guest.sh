# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
# Programs of the tree with a device of VFIO, and random ones: the same in each run.
fuzz corpus device_bind >/tmp/tree
cp /tmp/tree /tmp/programs
fuzz generate 1 30 device_bind >>/tmp/programs
both /tmp/programs
compared /tmp/programs /tmp/c /tmp/ours
minimise
report_findings

# Both modules would answer the same if the device could not be used.
load "$OURS"
fuzz show /tmp/tree >/tmp/shown
unload
for call in open_device device_bind device_attach device_detach device_dmabuf ioas_map_file; do
	if grep -q "= $call(.*# 0" /tmp/shown; then
		ok "$call succeeds"
	else
		cat /tmp/shown
		not_ok "$call succeeds" "it never does"
	fi
done
