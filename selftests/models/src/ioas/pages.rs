// SPDX-License-Identifier: GPL-2.0-only

//! Memory that is pinned. A page is mapped at the address of the same index only, so no two areas have it,
//! and the task that works on its area is the only one that pins it for domains, maps it or unpins it. Loom
//! reports two tasks that do so at once. Accesses pin it and unpin it at any time.

use core::cell::Cell;

use kernel::prelude::*;

use crate::{
    ioas::{
        filler::Filler,
        transfer::Transfer, //
    },
    kapi::{
        iommu::domain::Domain,
        mm::pin::PinnedRun,
        reason::{
            Reason,
            Result, //
        },
        units::{
            to_u64,
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
        }, //
    },
};

pub(crate) use crate::kapi::iommu::domain::Memory;

loom::thread_local! {
    /// The task pins and unpins for an access.
    static OF_ACCESS: Cell<bool> = Cell::new(false);
}

/// Calls `f`, which pins and unpins pages for an access.
pub(crate) fn of_access<R>(f: impl FnOnce() -> R) -> R {
    OF_ACCESS.with(|of_access| of_access.set(true));
    let result = f();
    OF_ACCESS.with(|of_access| of_access.set(false));
    result
}

/// A memory source.
pub(crate) struct Pages(pub(crate) Memory);

impl Pages {
    /// Whether devices may write.
    pub(crate) fn writable(&self) -> bool {
        true
    }

    /// Returns an address that is aligned as the first byte is.
    pub(crate) fn origin(&self) -> u64 {
        0
    }

    /// It is not device memory.
    pub(crate) fn mmio(&self) -> Option<(&Mmio, u64)> {
        None
    }

    /// Divides a user of pinned pages, between two of them.
    pub(crate) fn divide(&self, at: u64) -> Result {
        let page = at >> PAGE_SHIFT;
        self.0.expect_pinned(page - 1);
        self.0.expect_pinned(page);
        Ok(())
    }

    /// Begins to pin pages.
    pub(super) fn begin_pin(&self, range: PageRange, _phase: u64) -> PendingPin<'_> {
        PendingPin {
            pages: self,
            range,
            pinned: false,
        }
    }

    /// No memory can be pinned without waiting.
    pub(super) fn may_be_present(&self, _start: u64, _length: u64) -> bool {
        false
    }

    /// Pins pages that are present, and passes them to page tables. None is.
    pub(super) fn pin_present(&self, _range: PageRange, _filler: &mut Filler<'_>) -> Result<bool> {
        Ok(false)
    }

    /// Passes pages that are pinned to page tables.
    pub(super) fn for_pinned(
        &self,
        range: PageRange,
        _phase: u64,
        filler: &mut Filler<'_>,
    ) -> Result {
        (range.start()..=range.last()).for_each(|page| self.0.expect_pinned(page));
        filler.take()
    }

    /// Pins pages for an access. On failure, also of `each`, nothing is pinned.
    pub(super) fn pin(
        &self,
        range: PageRange,
        mut each: impl FnMut(PinnedRun<'_>) -> Result,
    ) -> Result {
        self.0.hold(range.start()..=range.last())?;
        each(PinnedRun::new(range)).inspect_err(|_| self.unpin(range))
    }

    /// Copies bytes of pages.
    pub(crate) fn copy_bytes(
        &self,
        start: u64,
        transfer: Transfer<'_>,
        _borrow_mm: bool,
        _slow: bool,
    ) -> Result {
        let last = start + to_u64(transfer.len()) - 1;
        self.0.touch(start >> PAGE_SHIFT..=last >> PAGE_SHIFT);
        Ok(())
    }

    /// Unpins pages.
    pub(crate) fn unpin(&self, range: PageRange) {
        let pages = range.start()..=range.last();
        if OF_ACCESS.with(Cell::get) {
            self.0.let_go(pages);
        } else {
            { pages }.for_each(|page| self.0.unpin(page));
        }
    }
}

/// Pages that are being pinned. Unless that is committed, dropping it unpins them.
pub(super) struct PendingPin<'a> {
    pages: &'a Pages,
    range: PageRange,
    pinned: bool,
}

impl PendingPin<'_> {
    /// Pins the pages and passes them to page tables. Returns `EFAULT` if one is not there.
    pub(super) fn pin(&mut self, filler: &mut Filler<'_>) -> Result {
        (self.range.start()..=self.range.last()).try_for_each(|page| self.pages.0.pin(page))?;
        self.pinned = true;
        filler.take()
    }

    /// Keeps the pages pinned.
    pub(super) fn commit(mut self) {
        self.pinned = false;
    }
}

impl Drop for PendingPin<'_> {
    fn drop(&mut self) {
        if self.pinned {
            self.pages.unpin(self.range);
        }
    }
}

/// Device memory, of which there is none.
pub(crate) enum Mmio {}

impl Mmio {
    /// Maps it.
    pub(crate) fn map(
        &self,
        _domain: &Domain,
        _range: IovaRange,
        _pages: PageRange,
        _filler: Filler<'_>,
    ) -> Result {
        match *self {}
    }

    /// Unmaps it.
    pub(crate) fn unmap(&self, _domain: &Domain, _range: IovaRange) {
        match *self {}
    }
}
