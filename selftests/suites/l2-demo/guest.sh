# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

# interrupts: how many the card has sent through VFIO to QEMU.
interrupts() {
	awk '/vfio-msi/ { for (i = 2; i < NF && $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' \
		/proc/interrupts
}

L2_WATCH=yes

echo "Three machines, one inside the other:"
echo "  yours  QEMU emulates a PC with an Intel VT-d and an igb network card in it, and a file server runs"
echo "  L1     is that PC: Linux $(uname -r) with $MODULE.ko. It gives the card away and never drives it"
echo "  L2     is a guest that L1's own QEMU runs, unmodified and without privileges; it has the card"
echo
load_iommufd
load_vfio
bind_igb
l2_prepare
l2_allow /dev/iommu "$CDEV"
echo "1. L1: /dev/iommu is served by $MODULE.ko; $BDF, the card, is bound to vfio-pci as $CDEV."
echo "   Both now belong to user $L2_USER, who may lock $L2_MEMLOCK MiB."

set -- -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
echo "2. L1: that user starts: qemu-system-x86_64 -m $L2_MEMORY ... $*"
echo "   QEMU asks for an I/O address space, attaches the card to it, and maps all of L2's memory there."
l2_start "$@"
check "L2's memory is pinned" l2_pins 120
echo "3. L2 boots. Its driver tells the card addresses as L2 sees them; the IOMMU makes them those of L1."
check "L2 boots and finds the card" l2_up 1
echo "   L2 is up $WHY. $(pinned) pages of QEMU's memory are pinned: all that L2 has, and the firmware's."
echo "   They stay where they are while the card may use them."
check "L2 gets an address by DHCP" l2_address eth0
echo "4. L2: the address $WHY came through the card."
echo "   L2 fetches $((SERVED_BYTES >> 20)) MiB of random bytes from your machine:"
check "L2 fetches a file, and its checksum is right" l2_fetch eth0 10.0.2.2
echo "   $WHY, the checksum is right: every byte went through page tables that $MODULE.ko filled."
echo "   VFIO handed $(interrupts) interrupts of the card to QEMU; the IOMMU reported $(faults) faults."
echo "5. L1: QEMU is told to end. What it had asked of VFIO and iommufd:"
kill -TERM "$L2_PID"
check "QEMU ends in good order" l2_gone 60
/programs/ioctl_report /tmp/l2.ioctls | sed 's/^/   /'
l2_left_nothing "the end"
echo "   Pages that are still pinned: $(pinned)."
