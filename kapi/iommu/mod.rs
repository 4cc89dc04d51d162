// SPDX-License-Identifier: GPL-2.0-only

//! The IOMMU core as a user of its drivers sees it.
//!
//! | file | fit for |
//! |---|---|
//! | `attachable` | private: domains of either kind, and the handle of an attachment |
//! | `attachment` | `rust/kernel/iommu` |
//! | `batch` | private: needs the patch series, and works without it |
//! | `device` | `rust/kernel/iommu` |
//! | `dirty` | `rust/kernel/iommu` |
//! | `domain` | `rust/kernel/iommu` |
//! | `driver_ref` | private |
//! | `driver_struct` | private: memory that this module shares with an IOMMU driver |
//! | `fault_lock` | private: for the mock IOMMU |
//! | `group` | `rust/kernel/iommu` |
//! | `hw_queue` | private: `struct iommufd_hw_queue` belongs to iommufd |
//! | `hwinfo` | `rust/kernel/iommu` |
//! | `invalidate` | private: `struct iommu_user_data_array` serves iommufd only |
//! | `iopf` | `rust/kernel/iommu` |
//! | `map_list` | as `batch` |
//! | `msi` | private: the interface between an attach handle and `device/msi.rs` |
//! | `native` | private: what native backends read from user space
//! | `nested` | private: nested domains exist for iommufd only |
//! | `owned_domain` | private: the common part of `domain` and `nested` |
//! | `provider` | private: needs the patch series |
//! | `resv` | `rust/kernel/iommu` |
//! | `software_pt` | private: page tables of devices without an IOMMU |
//! | `vdevice` | private: `struct iommufd_vdevice` belongs to iommufd |
//! | `vevent` | private: events of a `struct iommufd_viommu` |
//! | `viommu` | private: `struct iommufd_viommu` belongs to iommufd |

pub(crate) mod attachable;
pub(crate) mod attachment;
pub(crate) mod batch;
pub(crate) mod device;
pub(crate) mod dirty;
pub(crate) mod domain;
mod driver_ref;
mod driver_struct;
pub(in crate::kapi) mod fault_lock;
pub(crate) mod group;
pub(crate) mod hw_queue;
pub(crate) mod hwinfo;
pub(crate) mod invalidate;
pub(crate) mod iopf;
pub(crate) mod map_list;
pub(crate) mod msi;
#[cfg(any(
    CONFIG_ARM_SMMU_V3_IOMMUFD,
    CONFIG_AMD_IOMMU_IOMMUFD,
    CONFIG_INTEL_IOMMU
))]
pub(crate) mod native;
pub(crate) mod nested;
mod owned_domain;
pub(crate) mod provider;
pub(crate) mod resv;
#[cfg(CONFIG_IOMMUFD_NOIOMMU)]
pub(crate) mod software_pt;
pub(crate) mod vdevice;
pub(crate) mod vevent;
pub(crate) mod viommu;
