// SPDX-License-Identifier: GPL-2.0-only

//! I/O address spaces: which I/O virtual address means which memory, for all domains of the space.
//!
//! An [`Ioas`] keeps areas (mapped ranges), what devices cannot use (reserved ranges), what the
//! user wants kept free (allowed ranges), and the domains that carry the mappings. Areas are pinned
//! and mapped as long as there is a domain.
//!
//! Locks: `Ioas::hwpts` (10), `Ioas::domains` (20), `Ioas::space` (25), then `Pages::inner` (30).
//! Mapping and unmapping hold `domains` for reading during their long part and `space` only for
//! moments, so those of disjoint ranges run in parallel; the state of an area under construction or
//! destruction keeps others away from it. Changing the set of domains holds both for writing.
//! `space` of several address spaces is held by `process.rs` alone.

pub(crate) mod access;
mod area;
mod builder;
mod cut;
mod domains;
mod extents;
mod filler;
mod interval;
pub(crate) mod ioctl;
mod iova_alloc;
mod map;
mod mappings;
mod mmio;
pub(crate) mod pages;
pub(crate) mod phys;
mod phys_pin;
pub(crate) mod process;
mod ranges;
mod segments;
mod space;
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
        domains::Domains,
        space::Space, //
    },
    kapi::sync::rwsem::{
        new_rwsem,
        RwSem, //
    },
    object::Kind, //
};

pub(crate) use crate::ioas::{
    mappings::Mappings,
    phys_pin::PhysPin,
    ranges::IoasRanges,
    space::ReservedIovas, //
};

/// An I/O address space.
///
/// Whoever adds a domain holds a reference until it has removed it, so when the address space is
/// dropped nothing is pinned or mapped any more.
#[pin_data]
pub(crate) struct Ioas {
    /// Candidates for automatic page tables: see [`Ioas::hwpts`].
    #[pin]
    hwpts: Mutex<KVec<u32>>,
    #[pin]
    domains: RwSem<Domains>,
    #[pin]
    space: RwSem<Space>,
}

impl Kind for Ioas {}

impl Ioas {
    /// An address space without mappings: any address may be used.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            hwpts <- new_mutex!(KVec::new(), "Ioas::hwpts"),
            domains <- new_rwsem!(Domains::new(), "Ioas::domains"),
            space <- new_rwsem!(Space::new(), "Ioas::space"),
        })
    }

    /// Ids of page tables that were made automatically for this address space. An entry may be out
    /// of date: whoever scans the list drops those. PendingPin the lock keeps others from making
    /// one.
    pub(crate) fn hwpts(&self) -> &Mutex<KVec<u32>> {
        &self.hwpts
    }
}
