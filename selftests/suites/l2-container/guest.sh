# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

uses_the_container() {
	WHY="$(l2_calls VFIO_IOMMU_MAP_DMA) maps"
	[ "$(l2_calls VFIO_IOMMU_MAP_DMA)" -gt 0 ] && [ "$(l2_calls IOMMU_IOAS_MAP)" = 0 ]
}

load_iommufd
load_vfio
bind_igb
l2_prepare
group=$(basename "$(readlink "/sys/bus/pci/devices/$BDF/iommu_group")")
l2_allow /dev/vfio/vfio "/dev/vfio/$group"

set -- -device "vfio-pci,host=$BDF"
check "QEMU refuses to start with too little lockable memory" l2_too_little "$@"
l2_life "$@"
check "QEMU mapped through the container" uses_the_container
l2_comes_back "$@"
