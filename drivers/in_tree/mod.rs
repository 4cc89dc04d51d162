// SPDX-License-Identifier: GPL-2.0-only

//! Any IOMMU that Linux has a driver for, through the IOMMU core's operations.

use crate::drivers::Backend;
use crate::kapi::domain::Domain;
use crate::kapi::domain::UserData;
use crate::kapi::hwinfo::HwInfo;
use kernel::device::Device;
use kernel::prelude::*;

/// See the module.
pub(crate) struct InTree;

impl Backend for InTree {
    fn alloc_paging(&self, dev: &Device, flags: u32, data: Option<UserData>) -> Result<Domain> {
        Domain::alloc(dev, flags, data)
    }

    fn hw_info(&self, dev: &Device, wanted: u32) -> Result<HwInfo> {
        HwInfo::of(dev, wanted)
    }
}
