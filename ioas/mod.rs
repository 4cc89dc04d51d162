// SPDX-License-Identifier: GPL-2.0-only

//! I/O address spaces.
//!
//! An [`Ioas`] has areas (ranges of IOVA that are mapped to memory), reserved ranges (which devices
//! cannot use), allowed ranges (which user space wants to be able to map), and domains, each of
//! which has all mappings. The memory of areas is pinned as long as there is a domain.
//!
//! Locks: `Ioas::hwpts` (rank 10), `Ioas::space` (25) and `Pages::inner` (30).
//! `space` is held for moments: no memory is pinned and no page table is walked under it. A task
//! that does so puts the areas that it works on into a state in which others leave them alone, or
//! wait in `Ioas::settled`. So disjoint ranges are mapped and unmapped in parallel, also while a
//! domain is filled or emptied. Only `process.rs` holds the `space` of several address spaces.

pub(crate) mod access;
pub(crate) mod accessor;
mod alignments;
mod allowed;
mod area;
mod behind;
mod builder;
mod consumer;
mod counted;
mod cut;
mod division;
mod domains;
mod extents;
mod filler;
mod interval;
pub(crate) mod ioctl;
mod iova_alloc;
#[cfg(CONFIG_DEBUG_FS)]
mod leaves;
#[cfg(CONFIG_DEBUG_FS)]
mod listing;
mod map;
mod mappings;
mod members;
mod membership;
mod missing;
mod mmio;
pub(crate) mod pages;
mod parts;
pub(crate) mod phys;
mod phys_pin;
mod pin;
pub(crate) mod process;
mod ranges;
mod reader;
mod reserve;
mod reserved;
mod room;
mod runs;
mod segments;
mod space;
mod stats;
mod tally;
mod together;
pub(crate) mod transfer;
mod type1;
mod unmap;

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    ioas::{
        space::Space,
        stats::Stats, //
    },
    kapi::{
        lines::Lines,
        reason::Refusal,
        sync::{
            rwsem::{
                new_rwsem,
                RwSem, //
            },
            wait_queue::{
                new_wait_queue,
                WaitQueue, //
            }, //
        }, //
    },
    object::Kind, //
};

pub(crate) use crate::ioas::{
    counted::CountedAttachment,
    phys_pin::PhysPin,
    ranges::IoasRanges,
    reserve::ReservedIovas, //
};

/// An I/O address space.
///
/// The owner of a domain, or a task that must take an area out of it yet, holds a reference until the
/// domain is removed. So nothing is pinned or mapped any more when the address space is dropped.
#[pin_data]
pub(crate) struct Ioas {
    /// See [`Ioas::hwpts`].
    #[pin]
    hwpts: Mutex<KVVec<u32>>,
    #[pin]
    space: RwSem<Space>,
    stats: Stats,
    /// Tasks that wait until others have changed the state of an area. They have looked at that with
    /// `space` held for writing.
    #[pin]
    settled: WaitQueue,
    /// Tasks that wait until no domain joins or leaves, likewise. They are not woken for each area that
    /// is moved meanwhile.
    #[pin]
    change_ended: WaitQueue,
}

impl Kind for Ioas {
    const NAME: &'static CStr = c"ioas";

    fn show(&self, lines: &Lines<'_>) {
        for (key, number) in self.stats.numbers() {
            lines.number(key, number);
        }
    }
}

impl Ioas {
    /// An address space without mappings: any address may be used.
    pub(crate) fn new() -> impl PinInit<Self, Refusal> {
        try_pin_init!(Self {
            hwpts <- new_mutex!(KVVec::new(), "Ioas::hwpts"),
            space <- new_rwsem!(Space::new(), "Ioas::space"),
            stats: Stats::new(),
            settled <- new_wait_queue!("Ioas::settled"),
            change_ended <- new_wait_queue!("Ioas::change_ended"),
        }? Refusal)
    }

    /// The ids of the page tables that were made automatically for this address space. Page tables
    /// are made and destroyed under the lock, but an id may be out of date; code that scans the
    /// list removes such ids.
    pub(crate) fn hwpts(&self) -> &Mutex<KVVec<u32>> {
        &self.hwpts
    }
}
