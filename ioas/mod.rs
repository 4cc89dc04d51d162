// SPDX-License-Identifier: GPL-2.0-only

//! I/O address spaces.
//!
//! An [`Ioas`] has areas (ranges of IOVA that are mapped to memory), reserved ranges (which devices
//! cannot use), allowed ranges (which user space wants to be able to map), and domains, each of
//! which has all mappings. The memory of areas is pinned as long as there is a domain.
//!
//! Locks: `Ioas::hwpts` (rank 10), `Ioas::domains` (20), `Ioas::space` (25), `Pages::inner` (30)
//! and `Mmio::inner` (31). Mapping and unmapping hold `domains` for reading all the time and
//! `space` for writing only to insert and to remove areas, so disjoint ranges are mapped in
//! parallel. The state of an area says that a task works on it without `space`. Adding and removing
//! a domain holds both for writing. Only `process.rs` holds the `space` of several address spaces.

pub(crate) mod access;
pub(crate) mod accessor;
mod area;
mod builder;
mod counted;
mod cut;
mod domains;
mod extents;
mod filler;
mod interval;
pub(crate) mod ioctl;
mod iova_alloc;
#[cfg(CONFIG_DEBUG_FS)]
mod listing;
mod map;
mod mappings;
mod members;
mod mmio;
pub(crate) mod pages;
pub(crate) mod phys;
mod phys_pin;
pub(crate) mod process;
mod ranges;
mod reserve;
mod reserved;
mod room;
mod segments;
mod space;
mod stats;
pub(crate) mod transfer;
mod type1;
mod unmap;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        Mutex, //
    }, //
};

use crate::{
    ioas::{
        domains::Domains,
        space::Space,
        stats::Stats, //
    },
    kapi::{
        lines::Lines,
        reason::Refusal,
        sync::rwsem::{
            new_rwsem,
            RwSem, //
        }, //
    },
    object::Kind, //
};

pub(crate) use crate::ioas::{
    counted::CountedAttachment,
    mappings::Mappings,
    phys_pin::PhysPin,
    ranges::IoasRanges,
    reserve::ReservedIovas, //
};

/// An I/O address space.
///
/// The owner of a domain holds a reference until it has removed the domain, so nothing is pinned or
/// mapped any more when the address space is dropped.
#[pin_data]
pub(crate) struct Ioas {
    /// See [`Ioas::hwpts`].
    #[pin]
    hwpts: Mutex<KVVec<u32>>,
    /// Whether `domains` has a domain. Changes while that and `space` are held for writing, so it
    /// can be read under either.
    has_domain: Atomic<bool>,
    #[pin]
    domains: RwSem<Domains>,
    #[pin]
    space: RwSem<Space>,
    stats: Stats,
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
            has_domain: Atomic::new(false),
            domains <- new_rwsem!(Domains::new(), "Ioas::domains"),
            space <- new_rwsem!(Space::new(), "Ioas::space"),
            stats: Stats::new(),
        }? Refusal)
    }

    /// The ids of the page tables that were made automatically for this address space. Page tables
    /// are made and destroyed under the lock, but an id may be out of date; code that scans the
    /// list removes such ids.
    pub(crate) fn hwpts(&self) -> &Mutex<KVVec<u32>> {
        &self.hwpts
    }
}
