// SPDX-License-Identifier: GPL-2.0-only

//! Pages that are pinned for the moment in which an access copies bytes.
//!
//! An access copies through the pages that a memory source has pinned already, and pins the others for
//! itself. These are not charged, and no other task knows of them. The source's lock, `Pages::inner`, is
//! held while the two are compared, and not while pages are pinned or unpinned.

use kernel::prelude::*;

use crate::{
    ioas::{
        interval::{
            IntervalMap,
            Vacancy, //
        },
        segments::Segments, //
    },
    kapi::{
        bug::warn_on_once,
        mm::pin::{
            Extent,
            Sink, //
        },
        units::{
            PageRange,
            PageUnit, //
        }, //
    }, //
};

/// The pages that are pinned during a copy.
pub(super) struct Missing {
    extents: IntervalMap<PageUnit, Extent>,
    /// The index of the page behind those that were pinned last.
    next: u64,
}

impl Missing {
    /// Nothing is pinned.
    pub(super) fn new() -> Self {
        Self {
            extents: IntervalMap::new(),
            next: 0,
        }
    }

    /// Returns pages of `range` that are pinned neither here nor in `segments`: the next ones behind
    /// those that were pinned last. If there are none, begins at the start of `range` again, since
    /// others may have unpinned pages there meanwhile. The caller pins what this returns.
    pub(super) fn gap(&mut self, segments: &Segments, range: PageRange) -> Option<PageRange> {
        let first_in = |within| {
            let mut gaps = segments.gaps(within);
            gaps.find_map(|gap| self.extents.gaps_in(gap).next())
        };
        let behind = PageRange::new(self.next, range.last());
        let gap = behind
            .filter(|behind| range.contains(behind))
            .and_then(first_in)
            .or_else(|| first_in(range))?;
        self.next = gap.start();
        Some(gap)
    }

    /// Returns the extent that has page `index`, and the index of its first page.
    pub(super) fn at(&self, index: u64) -> Option<(u64, &Extent)> {
        let found = self.extents.first_in(PageRange::at(index));
        found.map(|(range, extent)| (range.start(), extent))
    }
}

impl Sink for Missing {
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
        for extent in pages {
            let extent = extent?;
            let range = PageRange::from_len(self.next, extent.npages())?;
            self.next += extent.npages();
            let refused = self.extents.insert(Vacancy::new()?, range, extent);
            warn_on_once!(refused.is_err());
        }
        Ok(())
    }
}
