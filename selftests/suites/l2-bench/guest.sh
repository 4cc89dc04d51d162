# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

ROUNDS="1 2 3"

# measure LABEL MODULE ROUND: count the ioctls of QEMU from its start to its exit. L2 boots and fetches a
# file.
measure() {
	local what="$1, round $3"
	MODULE=$2
	l2_load
	bind_igb
	l2_allow /dev/iommu "$CDEV"
	# Both begin with free memory in pieces as large as can be, whatever the last one left.
	echo 1 >/proc/sys/vm/compact_memory
	# L2's memory is there before it is mapped: else most of what is measured is the kernel clearing it.
	l2_start -object "memory-backend-ram,id=ram,size=${L2_MEMORY}M,prealloc=on" -machine memory-backend=ram \
		-object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
	check "$what, L2 boots and finds the card" l2_up 1
	echo "$what: L2 is up $WHY"
	l2_network "$what" eth0 10.0.2.2
	echo "$what: L2 fetched $WHY"
	kill -TERM "$L2_PID"
	check "$what, QEMU ends in good order" l2_gone "$L2_LIMIT"
	cp /tmp/l2.ioctls "/tmp/ioctls.$1.$3"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

OURS=$MODULE
l2_prepare
set --
for round in $ROUNDS; do
	measure C iommufd "$round"
	measure Rust "$OURS" "$round"
	set -- "$@" C "/tmp/ioctls.C.$round" Rust "/tmp/ioctls.Rust.$round"
done
echo
echo "Of each ioctl that round of $(echo "$ROUNDS" | wc -w) in which it took least:"
/programs/ioctl_report "$@"
