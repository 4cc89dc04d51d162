// SPDX-License-Identifier: GPL-2.0-only

//! Pinning of user memory, which is counted in a ledger.

#[path = "../../../../host/src/kapi/mm/pin.rs"]
mod extent;

use kernel::{
    mm::Mm,
    prelude::*, //
};

use crate::kapi::{
    file::pinnable::PinnableFile,
    ledger,
    units::PAGE_SHIFT, //
};

pub(crate) use extent::{
    Extent,
    PinnedRun, //
};

/// The most pages that can be pinned without waiting.
pub(crate) const MOST_PRESENT: u64 = 8;

/// A memory's first address is its number, shifted by this.
const ADDRESS_SHIFT: u32 = 32;

/// Returns the address of a memory.
pub(crate) fn addr_of(memory: u64) -> u64 {
    memory << ADDRESS_SHIFT
}

/// The bytes of pages. Each is the index of its page.
impl Extent {
    /// Copies bytes of a page, from byte `offset` of the extent.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> Result {
        let pfn = self.pfn() + (offset >> PAGE_SHIFT);
        assert!(ledger::is_pinned(pfn), "a page is read that is not pinned");
        data.fill(ledger::page_in(pfn) as u8);
        Ok(())
    }

    /// Is not called.
    pub(crate) fn write(&self, _offset: u64, _data: &[u8]) -> Result {
        unreachable!()
    }
}

/// Pins memory.
pub(crate) struct Pinner(());

/// What pages are given to.
pub(crate) trait Sink {
    /// Takes pages.
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result;
}

impl Pinner {
    /// Makes one.
    pub(crate) fn new(_npages: u64, _write: bool) -> Result<Self> {
        Ok(Self(()))
    }

    /// Makes one that does not wait.
    pub(crate) fn for_present(_write: bool) -> Self {
        Self(())
    }

    /// Pins for a moment.
    pub(crate) fn for_a_moment(self) -> Self {
        self
    }

    /// Pins the pages of a memory that are there. Returns whether all are.
    fn pin(memory: u64, index: u64, npages: u64, sink: &mut impl Sink) -> Result<bool> {
        let (pfn, there) = ledger::place(memory, index, npages);
        if there != 0 {
            sink.take(&mut [Ok(extent::pin_pages(pfn, there))].into_iter())?;
        }
        Ok(there == npages)
    }

    /// Pins pages of a file. Returns `EINVAL` if one is not there.
    pub(crate) fn pin_file(
        &mut self,
        file: &PinnableFile,
        start: u64,
        npages: u64,
        sink: &mut impl Sink,
    ) -> Result {
        match Self::pin(file.number(), start >> PAGE_SHIFT, npages, sink)? {
            true => Ok(()),
            false => Err(EINVAL),
        }
    }

    /// Pins pages by their address. Returns `EFAULT` if one is not there.
    pub(crate) fn pin_user(
        &mut self,
        _mm: &Mm,
        addr: u64,
        npages: u64,
        sink: &mut impl Sink,
    ) -> Result {
        let index = (addr & ((1 << ADDRESS_SHIFT) - 1)) >> PAGE_SHIFT;
        match Self::pin(addr >> ADDRESS_SHIFT, index, npages, sink)? {
            true => Ok(()),
            false => Err(EFAULT),
        }
    }

    /// As [`Pinner::pin_user`]. All pages are present.
    pub(crate) fn pin_present(
        &mut self,
        mm: &Mm,
        addr: u64,
        npages: u64,
        sink: &mut impl Sink,
    ) -> Result<bool> {
        self.pin_user(mm, addr, npages, sink)?;
        Ok(true)
    }
}
