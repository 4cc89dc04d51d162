// SPDX-License-Identifier: GPL-2.0-only

//! Where a long range is divided into pieces, each of which is pinned and mapped at once.

use crate::kapi::units::PAGE_SHIFT;

/// The number of pages in a piece, unless it would end inside a large page.
pub(crate) const PIECE: u64 = (64 << 20) >> PAGE_SHIFT;

/// The number of pages of short segments that are unpinned before others can have the lock.
pub(crate) const SHORT: u64 = (2 << 20) >> PAGE_SHIFT;

/// The number of pages in the largest page of page tables. No piece has more.
pub(crate) const LARGEST: u64 = (1 << 30) >> PAGE_SHIFT;

/// The division of a range.
#[derive(Clone, Copy)]
pub(crate) struct Division {
    phase: u64,
}

impl Division {
    /// Returns the division whose pieces end before a page whose index plus `phase` is a multiple of
    /// [`PIECE`]. If `phase` is what must be added for the page of the IOVA, then no page table
    /// entry is smaller for that.
    pub(crate) fn new(phase: u64) -> Self {
        Self { phase }
    }

    /// Returns the index of the last page of a piece that begins with page `start`. It is at most
    /// `last`, which must not be below `start`.
    pub(crate) fn piece_last(self, start: u64, last: u64) -> u64 {
        let left = PIECE - 1 - (start.wrapping_add(self.phase) & (PIECE - 1));
        start.saturating_add(left).min(last)
    }

    /// Returns the index of the last page of a piece that begins with page `start` and may have any length:
    /// the last one before the largest page of page tables that follows. It is at most `last`, which must
    /// not be below `start`.
    pub(crate) fn longest_last(self, start: u64, last: u64) -> u64 {
        let left = LARGEST - 1 - (start.wrapping_add(self.phase) & (LARGEST - 1));
        start.saturating_add(left).min(last)
    }

    /// Returns whether a piece goes on at page `next`, where [`Division::piece_last`] ends it. The
    /// contiguous memory before that page has `run` pages of the piece: if these are as many as a
    /// piece has, they may be part of a larger page.
    pub(crate) fn goes_on(self, next: u64, run: u64) -> bool {
        run >= PIECE && next.wrapping_add(self.phase) % LARGEST != 0
    }
}
