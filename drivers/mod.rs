// SPDX-License-Identifier: GPL-2.0-only

//! Backends: what stands between the objects of the user API and an IOMMU driver.

mod in_tree;
#[cfg(CONFIG_IOMMUFD_NOIOMMU)]
mod noiommu;

use crate::kapi::device;
use crate::kapi::domain::Domain;
use crate::kapi::domain::UserData;
use crate::kapi::hwinfo::HwInfo;
use kernel::device::Device;
use kernel::prelude::*;

/// What an IOMMU does for the user API.
pub(crate) trait Backend: Sync {
    /// Makes I/O page tables that `dev` can use. `flags` are those of HWPT_ALLOC that concern the
    /// driver. `EOPNOTSUPP` for flags or data that it does not know.
    fn alloc_paging(&self, dev: &Device, flags: u32, data: Option<UserData>) -> Result<Domain>;

    /// Describes the IOMMU of `dev`; `wanted` is one of `enum iommu_hw_info_type`. `EOPNOTSUPP` for
    /// a type that it does not know.
    fn hw_info(&self, dev: &Device, wanted: u32) -> Result<HwInfo>;
}

/// The backend for a device.
pub(crate) fn backend_of(dev: &Device) -> &'static dyn Backend {
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    if !device::has_iommu(dev) {
        return &noiommu::NoIommu;
    }
    &in_tree::InTree
}
