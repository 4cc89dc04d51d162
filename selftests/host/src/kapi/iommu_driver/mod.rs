// SPDX-License-Identifier: GPL-2.0-only

//! The files of the module's `kapi/iommu_driver/` that are pure logic.

#[path = "../../../../../kapi/iommu_driver/unflushed.rs"]
pub(crate) mod unflushed;
