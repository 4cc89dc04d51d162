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
        mm::pin::Extent,
        sync::vec,
        units::PageRange, //
    }, //
};

/// Makes segments of extents, from a page index upwards. Dropping it unpins the pages that are in
/// no segment yet.
///
/// An extent is *complete* when the next one does not continue it in memory. The callback
/// `complete` then gets it, once and in order. The extent may not be in a segment yet, so the
/// builder must outlive the use that the callback makes of it.
pub(crate) struct Builder {
    /// The index of the first page in `extents`.
    start: u64,
    /// The number of pages in `extents`.
    npages: u64,
    extents: Extents,
}

impl Builder {
    /// Creates a builder whose first page has the index `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            start,
            npages: 0,
            extents: Extents::None,
        }
    }

    /// Returns the index of the page after the last one that was added.
    pub(crate) fn next(&self) -> u64 {
        self.start + self.npages
    }

    /// Returns the index of the first page that is in no segment yet.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the number of pages that are in no segment yet.
    pub(crate) fn npages(&self) -> u64 {
        self.npages
    }

    /// Returns the number of pages of the last extent, which may go on with the next pages.
    pub(crate) fn open(&self) -> u64 {
        self.extents.last().map_or(0, Extent::npages)
    }

    /// Adds the next pages. No extent may continue the one before it in memory, but the first one
    /// may continue the last one of an earlier call. Calls `complete`. Returns `ENOMEM` and the
    /// errors of `pages` and `complete`.
    pub(crate) fn push(
        &mut self,
        segments: &mut Segments,
        pages: &mut impl Iterator<Item = Result<Extent>>,
        complete: &mut impl FnMut(&[Extent]) -> Result,
    ) -> Result {
        let mut more = true;
        while more {
            if self.extents.len() >= MAX_EXTENTS {
                self.finish(segments, complete)?;
            }
            let open = self.extents.len().saturating_sub(1);
            more = self.collect(pages)?;
            if let Some([new @ .., _]) = self.extents.get(open..) {
                if !new.is_empty() {
                    complete(new)?;
                }
            }
        }
        Ok(())
    }

    /// Adds extents until the list is full. Returns whether there may be more of them.
    fn collect(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result<bool> {
        let npages = &mut self.npages;
        let mut pages = pages.inspect(|extent| {
            *npages += extent.as_ref().map_or(0, Extent::npages);
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

    /// Completes the last extent and makes a segment of the extents that are in none. Returns the
    /// errors of [`Builder::push`].
    pub(crate) fn finish(
        &mut self,
        segments: &mut Segments,
        complete: &mut impl FnMut(&[Extent]) -> Result,
    ) -> Result {
        if let Some(last) = self.extents.last() {
            complete(core::slice::from_ref(last))?;
        }
        let Ok(range) = PageRange::from_len(self.start, self.npages) else {
            return Ok(());
        };
        // The list is kept for long, so it gets no more memory than it needs.
        self.extents.fit()?;
        segments.add(range, &mut self.extents)?;
        self.start += self.npages;
        self.npages = 0;
        Ok(())
    }
}
