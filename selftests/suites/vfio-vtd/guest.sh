# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb

# The modes that use /dev/iommu: its own API, and the two versions of a VFIO container.
# vfio_type1_iommu and vfio_type1v2_iommu use vfio's own container.
MODES="iommufd iommufd_compat_type1 iommufd_compat_type1v2"

# variants [_SUFFIX]...: print the options that select these variants in every mode.
variants() {
	local mode suffix
	for mode in $MODES; do
		for suffix in "$@"; do
			echo "-v $mode$suffix"
		done
	done
}

export BDF
run hw-info "$CDEV"
run vfio/vfio_iommufd_setup_test "$BDF"
# shellcheck disable=SC2046
run vfio/vfio_dma_mapping_test \
	$(variants '' _anonymous _anonymous_hugetlb_2mb _anonymous_hugetlb_1gb) "$BDF"
# shellcheck disable=SC2046
run vfio/vfio_dma_mapping_mmio_test $(variants '') "$BDF"
# This test has no variants of modes: it runs in libvfio's default mode, which is iommufd.
run vfio/vfio_pci_device_test "$BDF"
# Every test maps 1 GiB of shared memory, in one mode with 4 KiB pages and in the others with huge pages.
# memcpy_storm takes as long as all other tests together, so it runs in one mode only.
run vfio/vfio_pci_driver_test -v iommufd "$BDF"
echo always >/sys/kernel/mm/transparent_hugepage/shmem_enabled
MODES="iommufd_compat_type1 iommufd_compat_type1v2"
# shellcheck disable=SC2046
run vfio/vfio_pci_driver_test -T memcpy_storm $(variants '') "$BDF"
