// SPDX-License-Identifier: GPL-2.0-only

//! Safe wrappers over kernel facilities that the `kernel` crate lacks, each shaped to be sent
//! there. This is the only layer below the handlers that contains `unsafe` code.

pub(crate) mod device;
pub(crate) mod dirty;
pub(crate) mod dmabuf;
pub(crate) mod domain;
pub(crate) mod file;
pub(crate) mod group;
pub(crate) mod hwinfo;
pub(crate) mod locked_vm;
pub(crate) mod params;
pub(crate) mod pin;
pub(crate) mod rwsem;
pub(crate) mod shared;
#[cfg(CONFIG_IOMMUFD_NOIOMMU)]
pub(crate) mod software_pt;
pub(crate) mod uapi;
pub(crate) mod uapi_vfio;
pub(crate) mod units;
pub(crate) mod user;
