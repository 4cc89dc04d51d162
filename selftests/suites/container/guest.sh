# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb

# The modes that are vfio's own on other kernels. They open /dev/vfio/vfio. The one on device memory
# is left out: by a mode's name it expects that vfio maps it, which iommufd never did.
run compat "$BDF"
run vfio/vfio_dma_mapping_test -v vfio_type1_iommu -v vfio_type1v2_iommu \
	-v vfio_type1_iommu_anonymous -v vfio_type1_iommu_anonymous_hugetlb_2mb \
	-v vfio_type1_iommu_anonymous_hugetlb_1gb -v vfio_type1v2_iommu_anonymous \
	-v vfio_type1v2_iommu_anonymous_hugetlb_2mb -v vfio_type1v2_iommu_anonymous_hugetlb_1gb "$BDF"
run vfio/vfio_pci_driver_test -T memcpy_storm -v vfio_type1_iommu -v vfio_type1v2_iommu "$BDF"
