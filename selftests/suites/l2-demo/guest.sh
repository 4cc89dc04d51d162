# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

# interrupts: print how many interrupts the card has sent through VFIO.
interrupts() {
	awk '/vfio-msi/ { for (i = 2; i < NF && $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' \
		/proc/interrupts
}

# kvm COUNTER: print a counter of KVM, summed over all guests.
kvm() { cat "/sys/kernel/debug/kvm/$1"; }

# ioctls: print the ioctls of QEMU and their time.
ioctls() { /programs/ioctl_report /tmp/l2.ioctls; }

L2_WATCH=yes
L2_LOGLEVEL=4

echo "Three machines, one inside the other:"
echo "  yours  QEMU emulates a PC: two CPUs with AMD's SVM, an Intel VT-d, an igb network card"
echo "  L1     is that PC: Linux $(uname -r) with $MODULE.ko. It gives the card away and never drives it"
echo "  L2     is a guest that L1's own QEMU runs with KVM, unmodified and without privileges; it has the card"
echo
l2_load
bind_igb
l2_prepare
l2_allow /dev/iommu "$CDEV"
acquired=$(vmstat nr_foll_pin_acquired)
released=$(vmstat nr_foll_pin_released)
echo "1. L1: $MODULE.ko provides /dev/iommu; $BDF, the card, is bound to vfio-pci as $CDEV."
echo "   Both now belong to user $L2_USER, who may lock $L2_MEMLOCK MiB."

set -- -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
echo "2. L1: that user starts $(chroot "$L2_ROOT" qemu-system-x86_64 --version | sed -n 's/ (.*//; s/emulator version //; 1p'):"
echo "      qemu-system-x86_64 -accel kvm -m $L2_MEMORY ..."
echo "         -object iommufd,id=iommufd0 -device vfio-pci,host=$BDF,iommufd=iommufd0"
l2_start "$@"
check "L2's memory is pinned" l2_pins "$L2_LIMIT"
echo "   QEMU asked for an I/O address space, attached the card to it, and mapped all of L2's memory there:"
echo "   $WHY are pinned. They stay where they are while the card may use them."
echo "3. L2 boots. Its driver tells the card addresses as L2 sees them; the VT-d makes them those of L1."
check "L2 boots and finds the card" l2_up 1
# The console is printed with a delay.
sleep 1
echo "   It took ${WHY#after } from QEMU's start."
echo "4. L2 gets an address and a file of $((SERVED_BYTES >> 20)) MiB, random bytes that your machine serves."
check "L2 gets an address by DHCP" l2_address eth0
check "L2 fetches a file, and its checksum is right" l2_fetch eth0 10.0.2.2
sleep 1
echo "   $WHY. Your machine served sha256"
echo "   $SERVED_SHA256: every byte is right."
l2_ask received eth0
received=$SAID
sent=$(interrupts)
exits=$(kvm exits)
injected=$(kvm irq_injections)
echo "5. L1: QEMU is told to end. What it had asked of VFIO and of $MODULE.ko:"
kill -TERM "$L2_PID"
check "QEMU ends in good order" l2_gone "$L2_LIMIT"
ioctls | sed 's/^/      /'
l2_left_nothing "the end"
acquired=$(($(vmstat nr_foll_pin_acquired) - acquired))
released=$(($(vmstat nr_foll_pin_released) - released))
echo "What each part did:"
echo "   igb, emulated    put $received bytes into L2's memory, by DMA"
echo "   VT-d, emulated   looked up every access in the page tables that $MODULE.ko filled; faults: $(($(faults) - faults_before))"
echo "   $MODULE.ko    pinned $acquired pages, unpinned $released; pinned now: $(pinned)"
echo "   vfio-pci         took $sent interrupts of the card and handed them to KVM"
echo "   KVM              left L2 $exits times and gave it $injected interrupts, the card's among them"
echo "   QEMU             made $(ioctls | awk '$1 == "all" { print $2 }') ioctls; no byte of the file went through it"
