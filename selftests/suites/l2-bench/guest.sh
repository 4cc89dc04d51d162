# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

# measure LABEL MODULE: what QEMU calls from its start to its end, while L2 boots and fetches a file.
measure() {
	MODULE=$2
	load_iommufd
	load_vfio
	bind_igb
	l2_allow /dev/iommu "$CDEV"
	# Both begin with free memory in pieces as large as can be, whatever the last one left.
	echo 1 >/proc/sys/vm/compact_memory
	l2_start -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
	check "$1, L2 boots and finds the card" l2_up 1
	echo "$1: L2 is up $WHY"
	l2_network "$1" eth0 10.0.2.2
	echo "$1: L2 fetched $WHY"
	kill -TERM "$L2_PID"
	check "$1, QEMU ends in good order" l2_gone 60
	cp /tmp/l2.ioctls "/tmp/ioctls.$1"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

OURS=$MODULE
l2_prepare
measure C iommufd
measure Rust "$OURS"
echo
/programs/ioctl_report C /tmp/ioctls.C Rust /tmp/ioctls.Rust
