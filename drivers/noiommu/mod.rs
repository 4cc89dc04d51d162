// SPDX-License-Identifier: GPL-2.0-only

//! Devices without an IOMMU, which can access all physical memory.
//!
//! Their page tables record what is mapped: the memory is pinned, and user space can ask for its
//! physical address ([`noiommu_get_pa`](crate::ioas::phys)).

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    drivers::{
        Backend,
        ViommuBox, //
    },
    kapi::iommu::{
        device::IommuDevice,
        domain::{
            Domain,
            UserData, //
        },
        hwinfo::HwInfo,
        nested::NestedDomain,
        software_pt,
        viommu, //
    }, //
};

/// The backend for devices without an IOMMU.
pub(crate) struct NoIommu;

impl Backend for NoIommu {
    fn name(&self) -> &'static str {
        "noiommu"
    }

    fn alloc_paging(
        &self,
        _dev: &IommuDevice,
        flags: u32,
        data: Option<UserData>,
    ) -> Result<Domain> {
        if flags != 0 || data.is_some() {
            return Err(EOPNOTSUPP);
        }
        software_pt::alloc()
    }

    fn has_nested(&self, _dev: &IommuDevice) -> bool {
        false
    }

    fn alloc_nested(
        &self,
        _dev: &IommuDevice,
        _parent: Arc<Domain>,
        _flags: u32,
        _data: UserData,
    ) -> Result<NestedDomain> {
        Err(EOPNOTSUPP)
    }

    fn has_viommu(&self, _dev: &IommuDevice, _kind: u32) -> bool {
        false
    }

    fn alloc_viommu(&self, _dev: &IommuDevice, _request: viommu::Request) -> Result<ViommuBox> {
        Err(EOPNOTSUPP)
    }

    fn hw_info(&self, _dev: &IommuDevice, _wanted: u32) -> Result<HwInfo> {
        Err(EOPNOTSUPP)
    }
}
