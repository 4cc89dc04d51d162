// SPDX-License-Identifier: GPL-2.0-only

//! What is counted of an address space, so that it can be read without a lock.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use crate::kapi::bug::warn_on_once;

/// The numbers of an address space.
pub(super) struct Stats {
    /// Mapped areas.
    pub(super) areas: Atomic<u64>,
    /// Their bytes. Wraps if all addresses are mapped.
    pub(super) bytes: Atomic<u64>,
    /// Page tables with its mappings.
    pub(super) domains: Atomic<u64>,
    /// Attachments of devices, with and without a PASID.
    pub(super) attachments: Atomic<u64>,
    /// Emulated devices.
    pub(super) accessors: Atomic<u64>,
}

impl Stats {
    /// All of them are 0.
    pub(super) const fn new() -> Self {
        Self {
            areas: Atomic::new(0),
            bytes: Atomic::new(0),
            domains: Atomic::new(0),
            attachments: Atomic::new(0),
            accessors: Atomic::new(0),
        }
    }

    /// Takes `fewer` off a number. Things are counted before other tasks can take them away, so warns
    /// if there are not so many.
    pub(super) fn sub(number: &Atomic<u64>, fewer: u64) {
        warn_on_once!(number.fetch_sub(fewer, Relaxed) < fewer);
    }

    /// Returns the numbers, with their names.
    pub(super) fn numbers(&self) -> [(&'static str, u64); 5] {
        [
            ("areas", self.areas.load(Relaxed)),
            ("mapped", self.bytes.load(Relaxed)),
            ("domains", self.domains.load(Relaxed)),
            ("attachments", self.attachments.load(Relaxed)),
            ("accesses", self.accessors.load(Relaxed)),
        ]
    }
}
