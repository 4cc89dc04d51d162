// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs and the objects that are made on them.
//!
//! Locks: `Queue::reading` (6), `Claims::state` (16), `Queue::inner` (36), `Offers::by_offset`
//! (45).

pub(crate) mod hw_queue;
pub(crate) mod hwpt;
pub(crate) mod invalidate;
pub(crate) mod mmap;
mod part;
mod place;
mod share;
mod stats;
pub(crate) mod vdevice;
pub(crate) mod veventq;

pub(crate) use place::ObjectPlace;
pub(crate) use share::{
    alloc,
    Viommu, //
};
