# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
# Programs of the tree with a device of VFIO, and random ones: the same in each run.
fuzz corpus device_bind >/tmp/tree
cp /tmp/tree /tmp/programs
fuzz generate 1 30 device_bind >>/tmp/programs
fuzz generate 2 10 group_get_device >>/tmp/programs
both /tmp/programs
compared /tmp/programs /tmp/c /tmp/ours
minimise
report_findings

succeed /tmp/tree open_device device_bind device_attach device_detach device_dmabuf ioas_map_file \
	device_reset group_set_container group_unset_container group_get_device
