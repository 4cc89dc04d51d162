// SPDX-License-Identifier: GPL-2.0-only

//! Pins without a kernel: the interface of the module's `kapi/mm/extent.rs` as far as pure logic
//! uses it.
//!
//! The test `mocks::pin_is_like_the_original` checks that both have the same interface.

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::kapi::{
    ledger,
    units::PAGE_SHIFT, //
};

const LEN_MASK: u64 = (1 << 23) - 1;

/// A run of physically contiguous pinned pages, owned.
#[derive(Debug)]
pub(crate) struct Extent {
    pfn: u64,
    npages: u64,
    writable: bool,
}

/// The most pages that one extent can hold.
pub(crate) const MAX_EXTENT_PAGES: u64 = LEN_MASK;

impl Extent {
    /// Pins pages. Only for tests: in the module, `Pinner` makes extents.
    pub(super) fn pinned(pfn: u64, npages: u64, writable: bool) -> Self {
        assert!((1..=MAX_EXTENT_PAGES).contains(&npages));
        ledger::pin(pfn, npages);
        Self {
            pfn,
            npages,
            writable,
        }
    }

    /// The first page's frame number.
    pub(crate) fn pfn(&self) -> u64 {
        self.pfn
    }

    /// How many pages, never 0.
    pub(crate) fn npages(&self) -> u64 {
        self.npages
    }

    /// The first byte's physical address.
    pub(crate) fn phys(&self) -> u64 {
        self.pfn << PAGE_SHIFT
    }

    /// Whether the pages were pinned for writing.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Borrows all pages.
    pub(crate) fn run(&self) -> PinnedRun<'_> {
        PinnedRun {
            pfn: self.pfn,
            npages: self.npages,
            writable: self.writable,
            _extent: PhantomData,
        }
    }

    /// Splits the extent before its page `at`. Returns the extent unchanged if `at` is not inside
    /// it.
    pub(crate) fn split(mut self, at: u64) -> Result<(Self, Self), Self> {
        if at == 0 || at >= self.npages {
            return Err(self);
        }
        let second = Self {
            pfn: self.pfn + at,
            npages: self.npages - at,
            writable: self.writable,
        };
        self.npages = at;
        Ok((self, second))
    }

    /// Appends the pages of `next` if they follow this extent's. Returns `next` otherwise.
    pub(crate) fn merge(&mut self, next: Self) -> Result<(), Self> {
        let npages = self.npages + next.npages;
        if self.pfn + self.npages != next.pfn
            || self.writable != next.writable
            || npages > MAX_EXTENT_PAGES
        {
            return Err(next);
        }
        core::mem::forget(next);
        self.npages = npages;
        Ok(())
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        ledger::unpin(self.pfn, self.npages);
    }
}

/// Physically contiguous pinned pages, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PinnedRun<'a> {
    pfn: u64,
    npages: u64,
    writable: bool,
    _extent: PhantomData<&'a Extent>,
}

impl<'a> PinnedRun<'a> {
    /// How many pages, never 0.
    pub(crate) fn npages(&self) -> u64 {
        self.npages
    }

    /// The first byte's physical address.
    pub(crate) fn phys(&self) -> u64 {
        self.pfn << PAGE_SHIFT
    }

    /// Returns at most `npages` pages from page `at`, or `None` if there is no page `at`.
    pub(crate) fn part(self, at: u64, npages: u64) -> Option<Self> {
        let npages = npages.min(self.npages.checked_sub(at)?);
        (npages != 0).then_some(Self {
            pfn: self.pfn + at,
            npages,
            ..self
        })
    }

    /// Returns a run of both if `next` follows this run.
    pub(crate) fn join(self, next: Self) -> Option<Self> {
        let follows = self.pfn + self.npages == next.pfn && self.writable == next.writable;
        follows.then_some(Self {
            npages: self.npages + next.npages,
            ..self
        })
    }
}

/// Pins pages that a device may write to.
pub(crate) fn pin_pages(pfn: u64, npages: u64) -> Extent {
    Extent::pinned(pfn, npages, true)
}

/// Pins pages that a device may only read.
pub(crate) fn pin_read_only(pfn: u64, npages: u64) -> Extent {
    Extent::pinned(pfn, npages, false)
}
