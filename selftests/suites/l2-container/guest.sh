# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

l2_load
bind_igb
l2_prepare
group=$(basename "$(readlink "/sys/bus/pci/devices/$BDF/iommu_group")")
l2_allow /dev/vfio/vfio "/dev/vfio/$group"

set -- -device "vfio-pci,host=$BDF"
check "QEMU refuses to start with too little lockable memory" l2_too_little "$@"
l2_life "$@"
check "QEMU mapped all of L2's memory through the container" l2_maps_by VFIO_IOMMU_MAP_DMA
l2_comes_back "$@"
