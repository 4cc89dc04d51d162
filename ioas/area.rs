// SPDX-License-Identifier: GPL-2.0-only

//! Areas: ranges of IOVA that are mapped to memory.

use kernel::sync::{
    atomic::Atomic,
    Arc, //
};

use crate::{
    ioas::pages::Pages,
    kapi::{
        bug::some_or_warn,
        iommu::domain::Prot,
        reason::{
            Reason,
            Result, //
        },
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// A part of a memory source.
#[derive(Clone)]
pub(crate) struct Slice {
    /// The source.
    pub(crate) pages: Arc<Pages>,
    /// The offset of the first byte from the first page of the source.
    pub(crate) start: u64,
    /// The length in bytes. It is not 0.
    pub(crate) length: u64,
}

impl Slice {
    /// Returns the pages that the slice touches. `EOVERFLOW`.
    pub(crate) fn page_range(&self) -> Result<PageRange> {
        let last = self
            .start
            .checked_add(self.length - 1)
            .ok_or(Reason::MapOverflow.with(self.start))?;
        some_or_warn!(PageRange::new(self.start >> PAGE_SHIFT, last >> PAGE_SHIFT))
    }

    /// Returns an address that is aligned as the first byte is, for choosing an IOVA.
    pub(crate) fn origin(&self) -> u64 {
        self.pages.origin().wrapping_add(self.start)
    }
}

/// The state of an area. Its IOVA range is taken in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A task maps it, or undoes that. No domain has it.
    Building,
    /// Every domain of the address space has it.
    Ready,
    /// A task unmaps it.
    Dying,
}

/// A mapped range of an address space.
pub(crate) struct Area {
    /// The memory.
    pub(crate) slice: Slice,
    /// What devices may do with it.
    pub(crate) prot: Prot,
    /// See [`State`].
    pub(crate) state: State,
    /// The number of accesses that pin pages of it. Changes while `Ioas::space` is held for
    /// reading.
    pub(crate) accesses: Atomic<i32>,
    /// The number of these accesses that are HW queues. Changes likewise.
    pub(crate) phys_pins: Atomic<i32>,
    /// A task waits for the accesses to end. No new access may begin.
    pub(crate) prevent_access: bool,
}

impl Area {
    /// Creates an area in [`State::Building`].
    pub(crate) fn building(slice: Slice, prot: Prot) -> Self {
        Self {
            slice,
            prot,
            state: State::Building,
            accesses: Atomic::new(0),
            phys_pins: Atomic::new(0),
            prevent_access: false,
        }
    }

    /// Returns true if the memory is a dma-buf's, which may be unmapped from page tables at any
    /// time.
    pub(crate) fn is_mmio(&self) -> bool {
        self.slice.pages.mmio().is_some()
    }

    /// Returns the base-2 logarithm of the largest alignment, up to a page, that the addresses and
    /// the memory of the area have.
    pub(crate) fn alignment(&self, range: IovaRange) -> u32 {
        let bits = range.start() | range.last().wrapping_add(1) | page_offset(self.slice.start);
        bits.trailing_zeros().min(PAGE_SHIFT)
    }
}
