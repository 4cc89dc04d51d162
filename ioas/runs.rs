// SPDX-License-Identifier: GPL-2.0-only

//! The physical memory of pages that are in several lists of extents.
//!
//! Pure logic.

use core::slice;

use crate::kapi::mm::pin::{
    Extent,
    PinnedRun, //
};

/// The physical memory of pages in order, in runs that are as long as possible.
///
/// Where pages are scattered, each is a run, and finding runs is most of what this module does to map
/// them once more. So a list is gone through as a slice, and what is clipped is a run, not each extent.
pub(super) struct Runs<'a, L> {
    /// What is left of a list.
    extents: slice::Iter<'a, Extent>,
    /// The lists behind that one.
    lists: L,
    /// The number of pages of the next extent that come before the first run.
    skip: u64,
    /// The number of pages that are left.
    left: u64,
}

impl<'a, L: Iterator<Item = &'a [Extent]>> Runs<'a, L> {
    /// Returns the runs of `npages` pages, or as many as there are, behind the first `skip` pages of the
    /// lists.
    pub(super) fn new(lists: L, skip: u64, npages: u64) -> Self {
        let mut runs = Self {
            extents: [].iter(),
            lists,
            skip,
            left: npages,
        };
        while let Some(before) = runs.peek().filter(|extent| extent.npages() <= runs.skip) {
            runs.skip -= before.npages();
            runs.next_extent();
        }
        runs
    }

    /// Returns the next extent and goes on to the one behind it.
    #[inline]
    fn next_extent(&mut self) -> Option<&'a Extent> {
        loop {
            match self.extents.next() {
                Some(extent) => return Some(extent),
                None => self.extents = self.lists.next()?.iter(),
            }
        }
    }

    /// Returns the next extent, and stays before it.
    #[inline]
    fn peek(&mut self) -> Option<&'a Extent> {
        while self.extents.len() == 0 {
            self.extents = self.lists.next()?.iter();
        }
        self.extents.as_slice().first()
    }
}

impl<'a, L: Iterator<Item = &'a [Extent]>> Iterator for Runs<'a, L> {
    type Item = PinnedRun<'a>;

    #[inline]
    fn next(&mut self) -> Option<PinnedRun<'a>> {
        let mut run = self.next_extent()?.run();
        while let Some(longer) = self.peek().and_then(|next| run.join(next.run())) {
            run = longer;
            self.next_extent();
        }
        let run = run.part(core::mem::take(&mut self.skip), self.left)?;
        self.left -= run.npages();
        Some(run)
    }
}
