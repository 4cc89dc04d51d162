# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb

export BDF
run hw-info "$CDEV"
run vfio/vfio_dma_mapping_test -v iommufd -v iommufd_anonymous -v iommufd_anonymous_hugetlb_2mb \
	-v iommufd_anonymous_hugetlb_1gb "$BDF"
# Every test maps 1 GiB of shared memory, which is faster with huge pages.
echo always >/sys/kernel/mm/transparent_hugepage/shmem_enabled
run vfio/vfio_pci_driver_test -v iommufd "$BDF"
