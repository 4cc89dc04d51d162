// SPDX-License-Identifier: GPL-2.0-only

//! The files of the module's `drivers/` that are pure logic.

pub(crate) mod amd_vi;
#[path = "../../../../drivers/field.rs"]
pub(crate) mod field;
pub(crate) mod smmu_v3;
pub(crate) mod vtd;
