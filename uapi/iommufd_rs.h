/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What iommufd_rs adds to <linux/iommufd.h>. Each addition is behind a number that the kernel's header
 * does not have, so a program that does not know this header meets none of them.
 */
#ifndef _UAPI_IOMMUFD_RS_H
#define _UAPI_IOMMUFD_RS_H

#include <linux/types.h>

/*
 * A type for IOMMU_VIOMMU_ALLOC: one virtual SMMUv3 for devices behind several physical ones.
 *
 * dev_id and hwpt_id name the first physical SMMU and the nest parent there, as for
 * IOMMU_VIOMMU_TYPE_ARM_SMMUV3. data_uptr and data_len are an array of struct iommufd_rs_viommu_iommu for
 * the others. All nest parents must be of one IOAS.
 *
 * The vIOMMU then is used as one of IOMMU_VIOMMU_TYPE_ARM_SMMUV3, with the same types of data. Page tables
 * that are allocated on it suit the devices behind all of these SMMUs. Virtual ids of devices are unique in
 * it. Commands for a device are issued to that device's SMMU, others to all. A command or an entry is valid
 * if it is valid on all.
 *
 * Fails with EOPNOTSUPP if the native backend does not serve the SMMUs, EINVAL if two of them are the same
 * or the nest parents are of different IOASes, E2BIG for more than IOMMUFD_RS_VIOMMU_MAX_IOMMUS.
 */
#define IOMMUFD_RS_VIOMMU_TYPE_ARM_SMMUV3_MANY	0x52530001

/* Of one vIOMMU, with the first. */
#define IOMMUFD_RS_VIOMMU_MAX_IOMMUS		8

/**
 * struct iommufd_rs_viommu_iommu - a further physical IOMMU of a vIOMMU
 * @dev_id: A device behind it
 * @hwpt_id: The nest parent for it
 */
struct iommufd_rs_viommu_iommu {
	__u32 dev_id;
	__u32 hwpt_id;
};

#endif
