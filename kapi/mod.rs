// SPDX-License-Identifier: GPL-2.0-only

//! Safe wrappers over kernel facilities that the `kernel` crate lacks, each shaped to be sent
//! there. This is the only layer below the handlers that contains `unsafe` code.

pub(crate) mod anon_file;
pub(crate) mod attachable;
pub(crate) mod device;
pub(crate) mod dirty;
pub(crate) mod dmabuf;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod dmabuf_export;
pub(crate) mod domain;
mod driver_struct;
pub(crate) mod emptied;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod group;
pub(crate) mod hw_queue;
pub(crate) mod hwinfo;
pub(crate) mod invalidate;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod iommu_driver;
pub(crate) mod iopf;
pub(crate) mod locked_vm;
pub(crate) mod msi;
pub(crate) mod nested;
pub(crate) mod params;
pub(crate) mod pin;
pub(crate) mod provider;
pub(crate) mod rwsem;
pub(crate) mod shared;
#[cfg(CONFIG_IOMMUFD_NOIOMMU)]
pub(crate) mod software_pt;
pub(crate) mod this_module;
pub(crate) mod uapi;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod uapi_test;
pub(crate) mod uapi_vfio;
pub(crate) mod units;
pub(crate) mod user;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod user_page;
pub(crate) mod vdevice;
pub(crate) mod vec;
pub(crate) mod vevent;
pub(crate) mod viommu;
pub(crate) mod vma;
