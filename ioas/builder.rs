// SPDX-License-Identifier: GPL-2.0-only

//! Making segments of pages that were just pinned.

use kernel::prelude::*;

use crate::{
    ioas::{
        extents::{
            Extents,
            MAX_EXTENTS, //
        },
        segments::Segments, //
    },
    kapi::{
        bug::warn_on_once,
        mm::pin::Extent,
        sync::{
            chunks::Chunks,
            vec, //
        },
        units::PageRange, //
    }, //
};

/// Collects extents, from a page index upwards, and makes segments of them. Dropping it unpins the
/// pages that are in no segment yet.
///
/// No lock is needed to collect extents, which may take as long as user memory takes to come.
pub(crate) struct Builder {
    /// The index of the first page that is in no segment yet.
    start: u64,
    /// The index of the page after the last one that was added.
    next: u64,
    /// The lists that are full, and the number of their pages. One that is in a segment is empty.
    full: Chunks<(u64, Extents)>,
    /// The last list.
    extents: Extents,
    /// The number of its pages.
    npages: u64,
}

impl Builder {
    /// Creates a builder whose first page has the index `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            start,
            next: start,
            full: Chunks::new(),
            extents: Extents::None,
            npages: 0,
        }
    }

    /// Goes on with a page of index `start`. All pages must be in segments.
    pub(crate) fn restart(&mut self, start: u64) {
        warn_on_once!(self.pages().is_some());
        // Lists that are empty.
        if self.full.iter().next().is_some() {
            self.full = Chunks::new();
        }
        self.start = start;
        self.next = start;
    }

    /// Returns the index of the page after the last one that was added.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the index of the first page that is in no segment yet.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the pages that are in no segment yet, if there are any.
    pub(crate) fn pages(&self) -> Option<PageRange> {
        PageRange::until(self.start, self.next)
    }

    /// Returns the number of pages of the last extent, which may go on with the next pages.
    pub(crate) fn open(&self) -> u64 {
        self.extents.last().map_or(0, Extent::npages)
    }

    /// Adds the next pages. No extent may continue the one before it in memory, but the first one
    /// may continue the last one of an earlier call. Returns `ENOMEM` and the errors of `pages`.
    pub(crate) fn push(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
        let mut more = true;
        while more {
            if self.extents.len() >= MAX_EXTENTS {
                self.close()?;
            }
            more = self.collect(pages)?;
        }
        Ok(())
    }

    /// Puts the last list, which is full, to the others.
    fn close(&mut self) -> Result {
        self.extents.fit()?;
        let npages = core::mem::take(&mut self.npages);
        self.full.push((npages, self.extents.take()))
    }

    /// Adds extents until the list is full. Returns whether there may be more of them.
    fn collect(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result<bool> {
        let (npages, next) = (&mut self.npages, &mut self.next);
        let mut pages = pages.inspect(|extent| {
            let more = extent.as_ref().map_or(0, Extent::npages);
            *npages += more;
            *next += more;
        });
        let Some(first) = pages.next().transpose()? else {
            return Ok(false);
        };
        let refused = match self.extents.last_mut() {
            Some(last) => last.merge(first),
            None => Err(first),
        };
        if let Err(first) = refused {
            self.extents.push(first)?;
        }
        // In most calls there is one extent.
        let at_most = pages.size_hint().1.unwrap_or(usize::MAX);
        if at_most == 0 {
            return Ok(false);
        }
        let room = MAX_EXTENTS.saturating_sub(self.extents.len());
        let list = self.extents.reserve(at_most.min(room))?;
        vec::fill(list, room, &mut pages)
    }

    /// Passes the extents to `each` in order, list by list, and makes segments of them, which have no
    /// users. Returns `ENOMEM` and the errors of `each`. Then what `each` has got and is in no segment
    /// stays pinned until the builder is dropped.
    pub(crate) fn finish(
        &mut self,
        segments: &mut Segments,
        mut each: impl FnMut(&[Extent]) -> Result,
    ) -> Result {
        let mut add = |npages: u64, extents: &mut Extents| {
            let Ok(range) = PageRange::from_len(self.start, npages) else {
                return Ok(());
            };
            each(extents)?;
            // The list is kept for long, so it gets no more memory than it needs.
            extents.fit()?;
            segments.add(range, extents)?;
            self.start += npages;
            Ok(())
        };
        for (npages, extents) in self.full.iter_mut() {
            add(core::mem::take(npages), extents)?;
        }
        add(core::mem::take(&mut self.npages), &mut self.extents)
    }

    /// Makes segments, which have no users, of the pages that are in no segment of another task, and
    /// unpins the others. Returns how many pages the segments have. Returns `ENOMEM`, and then some of
    /// the segments may have been made.
    pub(crate) fn finish_around(&mut self, segments: &mut Segments) -> Result<u64> {
        let full = core::mem::take(&mut self.full).into_iter();
        let last = (core::mem::take(&mut self.npages), self.extents.take());
        let mut added = 0;
        for (npages, extents) in Iterator::chain(full, core::iter::once(last)) {
            if let Ok(range) = PageRange::from_len(self.start, npages) {
                self.start += npages;
                added += fill_gaps(segments, range, extents)?;
            }
        }
        Ok(added)
    }
}

/// Makes segments of the pages of `range` that are in none. The extents have the pages of the range;
/// those that are in a segment are unpinned. Returns how many pages were added, or `ENOMEM`.
fn fill_gaps(segments: &mut Segments, range: PageRange, mut extents: Extents) -> Result<u64> {
    let mut start = range.start();
    let mut added = 0;
    while let Some(gap) =
        PageRange::new(start, range.last()).and_then(|rest| segments.gaps(rest).next())
    {
        if gap.start() != start {
            extents = extents.split_off(gap.start() - start)?;
        }
        let rest = match gap.last() == range.last() {
            true => Extents::None,
            false => extents.split_off(gap.len())?,
        };
        segments.add(gap, &mut extents)?;
        added += gap.len();
        extents = rest;
        start = gap.last() + 1;
    }
    Ok(added)
}
