# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

# free_huge: print how many huge pages are free.
free_huge() { awk '$1 == "HugePages_Free:" { print $2 }' /proc/meminfo; }

# in_huge_pages BEFORE: check that L2's memory uses huge pages.
in_huge_pages() {
	WHY="$(($1 - $(free_huge))) huge pages"
	[ $(($1 - $(free_huge))) -ge $((L2_MEMORY / 2)) ]
}

huge_pages_are_back() {
	WHY="$(free_huge) of $1"
	[ "$(free_huge)" = "$1" ]
}

# live NAME IOCTL ARGUMENT...: run L2 with that memory, and check that QEMU maps it by that ioctl.
live() {
	local before name=$1 ioctl=$2
	shift 2
	before=$(free_huge)
	l2_start -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0" \
		-object "$@" -machine memory-backend=ram
	check "$name, boots and finds the card" l2_up 1
	check "$name, its memory is pinned" l2_pins "$L2_LIMIT"
	l2_native "$name, "
	check "$name, its memory is in huge pages" in_huge_pages "$before"
	check "$name, QEMU maps it by $ioctl" l2_maps_by "$ioctl"
	l2_network "$name" eth0 10.0.2.2
	l2_killed_in_flight eth0 10.0.2.2
	check "$name, the huge pages are free again" huge_pages_are_back "$before"
}

l2_load
bind_igb
l2_prepare
l2_allow /dev/iommu "$CDEV"
# A place that QEMU's root has too: mounts below /dev are not in it.
mkdir "$L2_ROOT/dev/hugepages"
mount -t hugetlbfs -o "uid=$L2_USER" hugetlbfs "$L2_ROOT/dev/hugepages"

live "memfd" IOMMU_IOAS_MAP_FILE \
	"memory-backend-memfd,id=ram,size=${L2_MEMORY}M,share=on,hugetlb=on,hugetlbsize=2M"
live "hugetlbfs" IOMMU_IOAS_MAP \
	"memory-backend-file,id=ram,size=${L2_MEMORY}M,share=off,mem-path=/dev/hugepages,prealloc=on"
