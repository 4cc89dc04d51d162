// SPDX-License-Identifier: GPL-2.0-only

//! What the module's pure logic uses of its `kapi/`.

pub(crate) mod array_vec;
pub(crate) mod bug;
pub(crate) mod iommu;
pub(crate) mod iommu_driver;
pub(crate) mod ledger;
pub(crate) mod mm;
pub(crate) mod sync;
#[path = "../../../../kapi/units.rs"]
pub(crate) mod units;
