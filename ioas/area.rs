// SPDX-License-Identifier: GPL-2.0-only

//! Areas: mapped ranges of an address space.

use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};

use crate::{
    ioas::pages::Pages,
    kapi::{
        iommu::domain::Prot,
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// A slice of a memory source, in bytes.
#[derive(Clone)]
pub(crate) struct Slice {
    /// The source.
    pub(crate) pages: Arc<Pages>,
    /// The first byte, counted from the source's first page.
    pub(crate) start: u64,
    /// How many bytes, not 0.
    pub(crate) length: u64,
}

impl Slice {
    /// The pages that the slice touches.
    pub(crate) fn page_range(&self) -> Result<PageRange> {
        let last = self.start.checked_add(self.length - 1).ok_or(EOVERFLOW)?;
        PageRange::new(self.start >> PAGE_SHIFT, last >> PAGE_SHIFT).ok_or(EINVAL)
    }

    /// Where the first byte would be if memory were mapped one to one, for choosing alignment.
    pub(crate) fn origin(&self) -> u64 {
        self.pages.origin().wrapping_add(self.start)
    }
}

/// What stage an area is in. Its addresses are taken in any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its maker works on it, or takes it back; domains do not have it.
    Building,
    /// Every domain of the address space has it.
    Ready,
    /// Its destroyer works on it.
    Dying,
}

/// A mapped range of an address space.
pub(crate) struct Area {
    /// The memory.
    pub(crate) slice: Slice,
    /// What devices may do with it.
    pub(crate) prot: Prot,
    /// Who may touch it.
    pub(crate) state: State,
    /// How many accesses have pages of it. They change under `Ioas::space` held for reading.
    pub(crate) accesses: Atomic<i32>,
    /// How many of those are for hardware, which cannot be told to let go. They change likewise.
    pub(crate) phys_pins: Atomic<i32>,
    /// Somebody waits for accesses to end; no new ones begin.
    pub(crate) prevent_access: bool,
}

impl Area {
    /// A mapping that is being made.
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

    /// Whether the memory is a dma-buf's, which may be unmapped from page tables at any time.
    pub(crate) fn is_mmio(&self) -> bool {
        self.slice.pages.mmio().is_some()
    }

    /// Whether the area could be mapped with pages of `alignment` bytes.
    pub(crate) fn is_aligned(&self, range: IovaRange, alignment: u64) -> bool {
        range.is_aligned(alignment) && page_offset(self.slice.start) & (alignment - 1) == 0
    }
}
