// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for VT-d.

mod batch;
mod first_stage;
mod model;
mod range;
mod world;

use crate::drivers::vtd::hardware::Hardware;

/// An IOMMU with all that the policy asks for, and pages of up to 2^18 at once, as most have.
pub(super) const FULL: Hardware = Hardware {
    five_levels: true,
    supervisor: true,
    extended_accessed: true,
    max_mask: Some(18),
};
