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

/*
 * A type for IOMMU_VIOMMU_ALLOC: a virtual AMD IOMMU.
 *
 * dev_id and hwpt_id name the physical IOMMU and the nest parent. data_uptr and data_len are empty, or an
 * array of struct iommufd_rs_viommu_iommu for further IOMMUs, whose nest parents must be of the same IOAS;
 * they may be the same.
 *
 * The vIOMMU is used by the kernel's ioctls. Types of data that the kernel has are the kernel's:
 *
 * IOMMU_GET_HW_INFO: IOMMU_HW_INFO_TYPE_AMD.
 * IOMMU_VDEVICE_ALLOC: virt_id is the guest's DeviceID, at most 0xffff (else EINVAL).
 * IOMMU_HWPT_ALLOC: IOMMU_HWPT_DATA_AMD_GUEST, the guest's device table entry. The domain ID that it names
 * is one of the guest's as long as page tables with it exist.
 * IOMMU_HWPT_INVALIDATE: IOMMUFD_RS_VIOMMU_INVALIDATE_DATA_AMD.
 * IOMMU_VEVENTQ_ALLOC: IOMMUFD_RS_VEVENTQ_TYPE_AMD.
 *
 * Fails with EOPNOTSUPP if the IOMMUs cannot nest or the native backend does not serve them, EINVAL if two
 * of them are the same or the nest parents are of different IOASes, E2BIG for more than
 * IOMMUFD_RS_VIOMMU_MAX_IOMMUS. Without the native backend, a driver with the door makes a vIOMMU for one
 * IOMMU all the same; then data and IOMMU_HWPT_INVALIDATE are refused with EOPNOTSUPP, and an event queue
 * can be made, but gets no events. IOMMU_HWPT_INVALIDATE with no entries tells whether the backend is there.
 */
#define IOMMUFD_RS_VIOMMU_TYPE_AMD		0x52530002

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

/*
 * A type of data for IOMMU_HWPT_INVALIDATE on a vIOMMU of type IOMMUFD_RS_VIOMMU_TYPE_AMD:
 * struct iommufd_rs_viommu_amd_invalidate.
 */
#define IOMMUFD_RS_VIOMMU_INVALIDATE_DATA_AMD	0x52530003

/**
 * struct iommufd_rs_viommu_amd_invalidate - a command of a guest's command buffer
 * @cmd: The entry, as the guest wrote it
 *
 * - COMPLETION_WAIT: With F, the commands before it are complete before those after it are carried out. The
 *   VMM does what S and I ask for, after the ioctl.
 * - INVALIDATE_DEVTAB_ENTRY
 * - INVALIDATE_IOMMU_PAGES
 * - INVALIDATE_IOTLB_PAGES: QueueID and MaxPend are ignored. Does nothing while ATS is off, nor with GN and a
 *   PASID other than 0: devices have nothing cached by a PASID yet.
 * - INVALIDATE_IOMMU_ALL: concerns all domains and devices of the vIOMMU.
 *
 * DeviceIDs and domain IDs are the guest's. entry_num is set to the number of commands that are complete, from
 * the first on. If there are fewer than asked for, the next one failed:
 *
 * EIO: It is another command, or has a reserved bit or a PASID that the IOMMU does not have; or, which is
 * logged, the IOMMU does not complete its commands.
 * ENOENT: No page tables have its domain ID, or no vDEVICE has its DeviceID. Nothing is cached.
 * E2BIG: entry_len is more than the struct has, and further bytes are not 0.
 * EFAULT: It cannot be read.
 */
struct iommufd_rs_viommu_amd_invalidate {
	__aligned_le64 cmd[2];
};

/* A type for IOMMU_VEVENTQ_ALLOC: struct iommufd_rs_vevent_amd. */
#define IOMMUFD_RS_VEVENTQ_TYPE_AMD		0x52530004

/**
 * struct iommufd_rs_vevent_amd - an entry for a guest's event log
 * @evt: The entry, with the guest's DeviceID and domain ID
 *
 * ILLEGAL_DEV_TABLE_ENTRY, IO_PAGE_FAULT or INVALID_DEVICE_REQUEST of a device that has a vDEVICE and is
 * attached to page tables of the vIOMMU.
 */
struct iommufd_rs_vevent_amd {
	__aligned_le64 evt[2];
};

#endif
