# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

TRACING=/sys/kernel/tracing
SHOWN=/sys/kernel/debug/iommufd_rs

# typed COMMAND: print a command line, run it, and print what it says, which is in /tmp/said then.
typed() {
	echo "# $1"
	sh -c "$1" >/tmp/said 2>&1 || true
	sed 's/^/  /' /tmp/said
}

# trace_anew: trace from now on.
trace_anew() {
	echo 0 >$TRACING/events/iommufd_rs/enable
	: >$TRACING/trace
	echo 1 >$TRACING/events/iommufd_rs/enable
}

# slowest: print the class, in nanoseconds, of the longest map of QEMU.
slowest() { awk '$1 == "map" { sub("ns=", "", $2); last = $2 } END { print last + 0 }' /tmp/latency; }

# starts WHAT ARGUMENT...: start L2 with these arguments of QEMU, and print what its maps took.
starts() {
	local what=$1 context
	shift
	trace_anew
	l2_start "$@" -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
	check "$what, L2 boots" l2_up 1
	echo "$what: L2 is up $WHY"
	context=$(cat "/proc/$L2_PID/fdinfo/"* | awk '$1 == "iommufd-context:" { print $2; exit }')
	typed "cat $SHOWN/$context/latency"
	cp /tmp/said /tmp/latency
	typed "grep 'iommufd_map:.* length=0x1[0-9a-f]\{7\} ' $TRACING/trace | head -n 1"
	typed "grep -c iommufd_pin: $TRACING/trace"
	kill -TERM "$L2_PID"
	check "$what, QEMU ends" l2_gone "$L2_LIMIT"
}

# A map of L2's memory that nobody has touched takes long, and one of huge pages that are there does not.
slow_start() {
	local slow fast
	starts "memory as QEMU has it"
	slow=$(slowest)
	starts "huge pages, allocated before" -machine memory-backend=ram -object \
		"memory-backend-file,id=ram,size=${L2_MEMORY}M,share=off,mem-path=/dev/hugepages,prealloc=on"
	fast=$(slowest)
	WHY="the longest map took $slow ns or more, and $fast ns or more"
	[ "$fast" -gt 0 ] && [ "$slow" -ge $((4 * fast)) ]
}

# The fault of a device is that of an address which was unmapped before. The messages of the kernel are traced too,
# since their own times are those of another clock.
fault_of_an_address() {
	local at last
	echo 1 >$TRACING/events/printk/enable
	trace_anew
	/programs/demo "$BDF" >/tmp/demo || { WHY=$(tail -n 1 /tmp/demo); return 1; }
	echo 0 >$TRACING/events/printk/enable
	typed "grep 'fault addr' $TRACING/trace"
	at=$(sed -n 's/.*fault addr \(0x[0-9a-f]*\).*/\1/p' /tmp/said | head -n 1)
	[ -n "$at" ] || { WHY="no fault was reported"; return 1; }
	typed "chroot $L2_ROOT perl -ne 'print if /fault addr/ || /iova=(\w+) length=(\w+)/ && hex \$1 <= $at && $at < hex(\$1) + hex \$2' $TRACING/trace"
	last=$(grep -B1 'fault addr' /tmp/said | head -n 1)
	WHY="the last event before the fault: ${last##*: iommufd}"
	case $last in *iommufd_unmap:*" unmapped=0x10000 errno=0") ;; *) return 1 ;; esac
}

l2_load
bind_igb
l2_prepare
mount -t tracefs tracefs $TRACING
mount -o bind $TRACING "$L2_ROOT$TRACING"
# Room for an event of each page.
echo 16384 >$TRACING/buffer_size_kb
mkdir "$L2_ROOT/dev/hugepages"
mount -t hugetlbfs -o "uid=$L2_USER" hugetlbfs "$L2_ROOT/dev/hugepages"

check "a DMA fault is explained by the trace" fault_of_an_address
echo 1 >$SHOWN/timing
l2_allow /dev/iommu "$CDEV"
check "the time of a slow start is that of a map" slow_start
