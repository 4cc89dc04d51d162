// SPDX-License-Identifier: GPL-2.0-only

//! The memory of tests that pin it.

use std::fmt::{
    self,
    Debug,
    Formatter, //
};

use kernel::{
    alloc::fault,
    prelude::*, //
};
use proptest::{
    collection::vec,
    prelude::{
        Just,
        Strategy, //
    },
    prop_oneof,
    sample::select, //
};

use crate::{
    ioas::{
        builder::Builder,
        segments::Segments, //
    },
    kapi::{
        mm::pin::{
            pin_pages,
            Extent, //
        },
        units::PageRange, //
    }, //
};

/// How many pages [`memory`] has.
pub(super) const INDEXES: u64 = 40;

/// The physical memory by page index: the first index of each contiguous run and its PFN.
#[derive(Clone)]
pub(super) struct Memory(pub(super) Vec<(u64, u64)>);

/// The maximum number of pages pinned by one call.
pub(super) type Batch = u64;

impl Memory {
    pub(super) fn pfn(&self, index: u64) -> u64 {
        let run = self.0.iter().rev().find(|(first, _)| *first <= index);
        let (first, pfn) = run.expect("the first run begins at 0");
        pfn + (index - first)
    }

    /// Returns the last index of the run that contains `index`, or `last` if that is lower.
    fn end_of_run(&self, index: u64, last: u64) -> u64 {
        let mut end = index;
        while end < last && self.pfn(end + 1) == self.pfn(end) + 1 {
            end += 1;
        }
        end
    }

    /// Pins a range, `batch` pages at a time, as `kapi/mm/pin.rs` does: within a batch each extent
    /// is as long as possible.
    pub(super) fn batches(
        &self,
        range: PageRange,
        batch: Batch,
    ) -> impl Iterator<Item = Vec<Result<Extent>>> + '_ {
        let mut index = range.start();
        core::iter::from_fn(move || {
            let end = range.last().min(index.saturating_add(batch - 1)) + 1;
            let mut extents = Vec::new();
            while index < end {
                let last = self.end_of_run(index, end - 1);
                extents.push(Ok(pin_pages(self.pfn(index), last - index + 1)));
                index = last + 1;
            }
            (!extents.is_empty()).then_some(extents)
        })
    }

    /// Pins a range and stores it in segments through a builder, as `PendingPin::pin` does.
    pub(super) fn pin(
        &self,
        builder: &mut Builder,
        to: &mut Segments,
        gap: PageRange,
        batch: Batch,
    ) -> Result {
        *builder = Builder::new(gap.start());
        let mut told = Vec::new();
        let mut complete = |extents: &[Extent]| {
            told.extend(extents.iter().flat_map(pfns));
            Ok(())
        };
        for extents in self.batches(gap, batch) {
            builder.push(&mut extents.into_iter())?;
        }
        builder.finish(to, &mut complete)?;
        assert!(told
            .into_iter()
            .eq((gap.start()..=gap.last()).map(|index| self.pfn(index))));
        Ok(())
    }

    /// Pins the pages of a range that are not pinned and adds a user of the range, as `Pages::pin`
    /// does. Changes nothing on failure.
    pub(super) fn pin_range(
        &self,
        segments: &mut Segments,
        range: PageRange,
        batch: Batch,
    ) -> Result {
        // The most that `Pages::pin_present` is asked for.
        let few = range.len() <= batch.min(8);
        if few && segments.gaps(range).next() == Some(range) {
            return self.pin_present(segments, range);
        }
        segments.cut(range)?;
        let before = segments.pinned();
        let mut builder = Builder::new(range.start());
        let result = (|| loop {
            let gap = segments.gaps(range).next();
            let Some(gap) = gap else { return Ok(()) };
            self.pin(&mut builder, segments, gap, batch)?;
        })();
        drop(builder);
        match result {
            Ok(()) => segments.get(range),
            Err(_) => {
                let stored = segments.pinned() - before;
                // Without memory it unpins the same pages but does not merge segments.
                let discard = || segments.discard_unused(range);
                assert_eq!(fault::failing(0, discard).0, stored);
            }
        }
        result
    }
}

impl Debug for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "memory whose page")?;
        for (first, pfn) in &self.0 {
            write!(f, " {first} is at {pfn},")?;
        }
        write!(f, " and others behind these")
    }
}

/// Memory with long runs, or short ones, or scattered pages.
pub(super) fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![runs(INDEXES), runs(4), runs(1)]
}

/// The number of pages pinned by one call.
pub(super) fn batch() -> impl Strategy<Value = Batch> {
    select(&[INDEXES, 3, 1][..])
}

/// Memory with runs of at most so many pages, of which the last one goes on to the end.
fn runs(longest: u64) -> impl Strategy<Value = Memory> {
    // Runs may follow one another in memory, and share pages with others.
    let pfn = prop_oneof![1 => Just(None), 3 => (1000..=1060u64).prop_map(Some)];
    vec((pfn, 1..=longest), 1..=INDEXES as usize).prop_map(|lengths| {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut index = 0;
        for (pfn, length) in lengths {
            let next = runs
                .last()
                .map_or(1000, |(first, pfn)| pfn + (index - first));
            runs.push((index, pfn.unwrap_or(next)));
            index += length;
            if index >= INDEXES {
                break;
            }
        }
        Memory(runs)
    })
}

/// The pages of an extent.
pub(super) fn pfns(extent: &Extent) -> impl Iterator<Item = u64> {
    extent.pfn()..extent.pfn() + extent.npages()
}

pub(super) fn pages(first: u64, last: u64) -> PageRange {
    PageRange::new(first, last).expect("in order")
}
