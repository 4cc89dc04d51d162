// SPDX-License-Identifier: GPL-2.0-only

//! Filling page tables with an area.

use crate::{
    ioas::{
        consumer::Consumer,
        ranges::RANGES, //
    },
    kapi::{
        bug::warn_on_once,
        iommu::domain::{
            Domain,
            Prot, //
        },
        mm::{
            phys::PhysPiece,
            pin::PinnedRun, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        units::IovaRange, //
    }, //
};

/// Fills page tables with an area. Dropping it unmaps what it has mapped.
pub(crate) struct Filler<'a> {
    domain: &'a Domain,
    prot: Prot,
    small_pages: bool,
    range: IovaRange,
    /// The number of bytes that are mapped.
    done: u64,
    /// The number of bytes of the first page before the area.
    skip: u64,
}

impl<'a> Filler<'a> {
    /// Prepares to map the area at `range` into `domain`. The area begins `skip` bytes into its
    /// first page.
    pub(crate) fn new(
        domain: &'a Domain,
        range: IovaRange,
        skip: u64,
        prot: Prot,
        small_pages: bool,
    ) -> Self {
        Self {
            domain,
            prot,
            small_pages,
            range,
            done: 0,
            skip,
        }
    }

    /// Maps the next pages of the area: pieces that begin and end with pages. Returns `ENOMEM` and
    /// the errors of the IOMMU driver.
    pub(crate) fn push_pieces<'p>(
        &mut self,
        mut pieces: impl Iterator<Item = PhysPiece<'p>>,
    ) -> Result {
        if self.skip != 0 {
            let Some(first) = pieces.next() else {
                return Ok(());
            };
            let skip = core::mem::take(&mut self.skip);
            self.map(first.skip(skip).into_iter())?;
        }
        self.map(pieces)
    }

    fn map<'p>(&mut self, pieces: impl Iterator<Item = PhysPiece<'p>>) -> Result {
        let start = self.range.start().checked_add(self.done);
        // The area may end inside its last page, or before it.
        let rest = start.and_then(|start| IovaRange::new(start, self.range.last()));
        if let Some(rest) = rest {
            let (prot, small_pages) = (self.prot, self.small_pages);
            let done = self.domain.map(RANGES, rest, pieces, prot, small_pages);
            self.done += done.because(Reason::MapDriver, rest.start())?;
        }
        Ok(())
    }

    /// Keeps everything mapped, which must be all of the area.
    pub(crate) fn keep(self) {
        // The memory of an area is pinned as a whole, so there is a page for every address.
        warn_on_once!(self.done != self.range.len());
        core::mem::forget(self);
    }
}

impl Consumer for Filler<'_> {
    fn take<'p>(&mut self, runs: impl Iterator<Item = PinnedRun<'p>>) -> Result {
        self.push_pieces(runs.map(Into::into))
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        self.domain
            .unmap(RANGES, IovaRange::from_len(self.range.start(), self.done));
    }
}
