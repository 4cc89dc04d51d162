// SPDX-License-Identifier: GPL-2.0-only

//! The count of what was made on a vIOMMU.

use core::ops::Deref;

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use crate::{
    kapi::bug::warn_on_once,
    object::Ref,
    viommu::Viommu, //
};

/// What can be made on a vIOMMU.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Vdevice,
    VeventQ,
    HwQueue,
}

impl Part {
    fn count(self, viommu: &Viommu) -> &Atomic<u64> {
        let stats = viommu.stats();
        match self {
            Self::Vdevice => &stats.vdevices,
            Self::VeventQ => &stats.veventqs,
            Self::HwQueue => &stats.hw_queues,
        }
    }
}

/// A reference to a vIOMMU from what was made on it, which is counted while this exists.
pub(super) struct PartOf {
    viommu: Ref<Viommu>,
    part: Part,
}

impl PartOf {
    /// Counts a part.
    pub(super) fn new(viommu: Ref<Viommu>, part: Part) -> Self {
        part.count(&viommu).fetch_add(1, Relaxed);
        Self { viommu, part }
    }
}

impl Drop for PartOf {
    fn drop(&mut self) {
        let before = self.part.count(&self.viommu).fetch_sub(1, Relaxed);
        warn_on_once!(before == 0);
    }
}

impl Deref for PartOf {
    type Target = Ref<Viommu>;

    fn deref(&self) -> &Ref<Viommu> {
        &self.viommu
    }
}
