#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Tests tools/report on a made-up machine: what a developer needs is in the report, and nothing that
# tells of a person or is nobody else's business. Prints KTAP.
set -euo pipefail
cd "$(dirname "$0")/../.."

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
export ROOT=$SCRATCH/root
COUNT=0 FAILED=0

file() { mkdir -p "$ROOT$(dirname "$1")"; printf '%s\n' "${@:2}" >"$ROOT$1"; }
link() { mkdir -p "$ROOT$(dirname "$2")"; ln -s "$1" "$ROOT$2"; }
program() { printf '#!/bin/sh\n%s\n' "$2" >"$SCRATCH/bin/$1"; chmod +x "$SCRATCH/bin/$1"; }

result() {
	COUNT=$((COUNT + 1))
	if ((!$1)); then echo "ok $COUNT $2"; else
		echo "not ok $COUNT $2"
		FAILED=$((FAILED + 1))
	fi
}

has() { local status=0; grep -qE -- "$1" <<<"$SAID" || status=1; result "$status" "has: $1"; }
lacks() { local status=0; ! grep -qiF -- "$1" <<<"$SAID" || status=1; result "$status" "lacks: $1"; }

mkdir "$SCRATCH/bin"
program uname 'case $1 in -n) echo secrethost ;; -r) echo 7.3.4 ;; -v) echo "#1 SMP" ;; *) echo x86_64 ;; esac'
program modinfo '[ "$1" = iommufd-rs ] && printf "filename:  /lib/modules/7.3.4/updates/iommufd-rs.ko\nversion: 0.2.0\nauthor: X\n"'
program modprobe 'echo insmod /lib/modules/7.3.4/updates/iommufd-rs.ko'
program qemu-system-x86_64 'echo QEMU emulator version 11.1.3'
file /sys/module/iommufd_rs/refcnt 2
file /sys/module/iommufd_rs/version 0.2.0
file /sys/module/iommufd_rs/taint O
file /proc/sys/kernel/tainted 4096
file /proc/cmdline 'root=/dev/sda1 intel_iommu=on,sm_on vfio_pci.ids=8086:10c9 rd.password=hunter2'
file /boot/config-7.3.4 CONFIG_IOMMUFD=m CONFIG_VFIO_DEVICE_CDEV=y CONFIG_DEFAULT_HOSTNAME='"secret"' CONFIG_SYSTEM_TRUSTED_KEYS='"hunter2.pem"'
file /etc/modprobe.d/x.conf 'install iommufd /sbin/modprobe iommufd-rs' 'options wifi password=hunter2'
file /sys/class/iommu/dmar0/x
file /sys/kernel/iommu_groups/7/type DMA-FQ
for name in 0000:01:00.0 0000:01:00.1; do
	dir=/sys/kernel/iommu_groups/7/devices/$name
	file "$dir/vendor" 0x8086
	file "$dir/device" 0x10c9
	file "$dir/class" 0x020000
done
link ../drivers/vfio-pci /sys/kernel/iommu_groups/7/devices/0000:01:00.0/driver
link ../drivers/igb /sys/kernel/iommu_groups/7/devices/0000:01:00.1/driver
file /sys/kernel/iommu_groups/8/devices/0000:02:00.0/vendor 0x9999
file /proc/meminfo 'MemTotal: 16384 kB' 'HugePages_Free: 12'
file /proc/vmstat 'nr_foll_pin_acquired 112' 'nr_foll_pin_released 100' 'nr_dirty 1'
file /proc/4711/comm qemu-system-x86
file /proc/4711/cmdline 'qemu -object secret,data=hunter2'
file /proc/4711/status 'VmLck: 8 kB' 'VmPin: 400 kB'
file /proc/4711/limits 'Max locked memory         8388608              8388608              bytes'
link /dev/iommu /proc/4711/fd/9
file /proc/4711/fdinfo/9 $'iommufd-driver:\tiommufd_rs' $'iommufd-account-uid:\t31337' \
	$'iommufd-account-charged:\t400 KiB' $'iommufd-refused-reason:\tmap-limit'
link /dev/iommu /proc/4711/fd/10
file /proc/4711/fdinfo/10 $'iommufd-objects-ioas:\t77'
file /dmesg '[ 0.0] Kernel command line: intel_iommu=on rd.password=hunter2' \
	'[ 0.1] DMAR: IOMMU enabled' '[ 1.0] usb 1-1: SerialNumber: ABC123' \
	'[ 1.1] vfio-pci 0000:01:00.0: reset by secrethost, 52:54:00:12:34:56 at 192.168.7.9, Serial Number: ABC123' \
	'[ 1.2] vfio: 01234567-89ab-cdef-0123-456789abcdef in /home/alice/disk' \
	'[ 2.0] ------------[ cut here ]------------' '[ 2.0] RIP: 0010:some_function+0x1/0x2' \
	'[ 2.0] ---[ end trace 0000000000000000 ]---' '[ 2.1] sshd: alice logged in'
SAID=$(PATH=$SCRATCH/bin:$PATH sh tools/report)

echo "KTAP version 1"
has '^loaded: iommufd_rs, used by 2$'
has '^version: 0\.2\.0'
has '^filename: +/lib/modules/7\.3\.4/updates/iommufd-rs\.ko$'
has '^vfio needs: insmod .*iommufd-rs\.ko$'
has '^configured: install iommufd '
has '^release: 7\.3\.4$'
has '^tainted: 4096'
has '^command line, in part: intel_iommu=on,sm_on vfio_pci\.ids=8086:10c9'
has '^CONFIG_VFIO_DEVICE_CDEV=y$'
has '^IOMMU: dmar0$'
has '^group 7 \(DMA-FQ\): 0000:01:00\.0 0x8086:0x10c9 class 0x020000 driver vfio-pci'
has '^group 7 \(DMA-FQ\): 0000:01:00\.1 0x8086:0x10c9 class 0x020000 driver igb'
has '^nr_foll_pin_acquired 112$'
has '^process: qemu-system-x86, VmLck: 8 kB, VmPin: 400 kB, limit of locked memory 8388608 8388608 bytes'
has '^qemu-system-x86_64: QEMU emulator version 11\.1\.3$'
has 'DMAR: IOMMU enabled$'
has 'vfio-pci 0000:01:00\.0: reset by <HOST>, <MAC> at <IP>, Serial Number: <SERIAL>$'
has 'RIP: 0010:some_function'
has 'vfio: <UUID> in /home/<USER>/disk'
has '^fdinfo: account-charged: 400 KiB$'
has '^fdinfo: refused-reason: map-limit$'
has '^fdinfo: objects-ioas: 77$'
result "$(($(grep -c '^process: ' <<<"$SAID") - 1))" "a process with two opens is named once"
lacks 31337
lacks hunter2
lacks secret
lacks alice
lacks ABC123
lacks 192.168
lacks 52:54:00
lacks 9999
echo "1..$COUNT"
[ "$FAILED" = 0 ]
