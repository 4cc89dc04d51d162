// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `viommu/`: event queues, and a vIOMMU that has these only.

#[path = "../../../viommu/part.rs"]
mod part;
#[path = "../../../viommu/stats.rs"]
mod stats;
#[path = "../../../viommu/veventq.rs"]
pub(crate) mod veventq;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::{
        iommu::Events,
        lines::Lines, //
    },
    object::Kind,
    viommu::stats::Stats, //
};

/// A vIOMMU, whose driver reports events.
pub(crate) struct Viommu {
    stats: Arc<Stats>,
    events: Events,
}

impl Viommu {
    /// Makes a vIOMMU.
    pub(crate) fn new() -> Self {
        Self {
            stats: Arc::pin_init::<Error>(Ok(Stats::new()), GFP_KERNEL).unwrap(),
            events: Events::new(),
        }
    }

    /// Returns its numbers.
    fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Returns what its driver does.
    pub(crate) fn ops(&self) -> &Events {
        &self.events
    }
}

impl Kind for Viommu {
    const NAME: &'static CStr = c"viommu";

    fn show(&self, _lines: &Lines<'_>) {}
}
