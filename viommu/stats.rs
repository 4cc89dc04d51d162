// SPDX-License-Identifier: GPL-2.0-only

//! What is counted of a vIOMMU, so that it can be read without a lock.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

/// The numbers of a vIOMMU.
pub(super) struct Stats {
    pub(super) vdevices: Atomic<u64>,
    pub(super) veventqs: Atomic<u64>,
    pub(super) hw_queues: Atomic<u64>,
    /// Events that no queue had room or memory for.
    pub(super) lost: Atomic<u64>,
    /// Invalidation requests that were carried out.
    pub(super) invalidated: Atomic<u64>,
}

impl Stats {
    /// All of them are 0.
    pub(super) const fn new() -> Self {
        Self {
            vdevices: Atomic::new(0),
            veventqs: Atomic::new(0),
            hw_queues: Atomic::new(0),
            lost: Atomic::new(0),
            invalidated: Atomic::new(0),
        }
    }

    /// Returns the numbers, with their names.
    pub(super) fn numbers(&self) -> [(&'static str, u64); 5] {
        [
            ("vdevices", self.vdevices.load(Relaxed)),
            ("veventqs", self.veventqs.load(Relaxed)),
            ("hw-queues", self.hw_queues.load(Relaxed)),
            ("events-lost", self.lost.load(Relaxed)),
            ("invalidations", self.invalidated.load(Relaxed)),
        ]
    }
}
