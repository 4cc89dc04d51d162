// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for VT-d.

mod batch;
mod first_stage;
mod model;
mod range;
mod world;

use crate::drivers::vtd::hardware::Hardware;

/// An IOMMU with all that the policy asks for.
pub(super) const FULL: Hardware = Hardware {
    five_levels: true,
    supervisor: true,
    extended_accessed: true,
};
