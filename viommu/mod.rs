// SPDX-License-Identifier: GPL-2.0-only

//! What a virtual machine's own IOMMU is made of, and all that can be made on it.
//!
//! Locks: `Queue::reading` (6), `Claims::state` (16), `Queue::inner` (36), `Offers::by_offset`
//! (45).

pub(crate) mod hw_queue;
pub(crate) mod hwpt;
pub(crate) mod invalidate;
pub(crate) mod mmap;
mod share;
pub(crate) mod vdevice;
pub(crate) mod veventq;

pub(crate) use share::{
    alloc,
    Viommu, //
};
