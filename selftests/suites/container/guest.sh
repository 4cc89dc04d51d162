# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb

# These modes open /dev/vfio/vfio, which is vfio's own container on other kernels. The test of device
# memory is left out: in these modes it expects that device memory can be mapped, as vfio's own
# container can and iommufd's cannot.
run compat "$BDF"
run vfio/vfio_dma_mapping_test -v vfio_type1_iommu -v vfio_type1v2_iommu \
	-v vfio_type1_iommu_anonymous -v vfio_type1_iommu_anonymous_hugetlb_2mb \
	-v vfio_type1_iommu_anonymous_hugetlb_1gb -v vfio_type1v2_iommu_anonymous \
	-v vfio_type1v2_iommu_anonymous_hugetlb_2mb -v vfio_type1v2_iommu_anonymous_hugetlb_1gb "$BDF"
run vfio/vfio_pci_driver_test -T memcpy_storm -v vfio_type1_iommu -v vfio_type1v2_iommu "$BDF"
