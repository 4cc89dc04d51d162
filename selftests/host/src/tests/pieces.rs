// SPDX-License-Identifier: GPL-2.0-only

//! Pins of a range in pieces, which `Segments::unite` makes one user, and of a few pages at once.

use kernel::prelude::*;

use crate::{
    ioas::{
        extents::Extents,
        segments::Segments, //
    },
    kapi::{
        ledger,
        units::PageRange, //
    },
    tests::{
        random::cases,
        segments::{
            fresh,
            memory,
            pages,
            pfns,
            Memory,
            INDEXES, //
        }, //
    }, //
};

impl Memory {
    /// As [`Memory::pin_range`], of pages none of which is pinned, as `Pages::pin_present` does.
    pub(super) fn pin_present(&self, segments: &mut Segments, range: PageRange) -> Result {
        let mut extents = Extents::None;
        for extent in self.batches(range, range.len()).flatten() {
            extents.push(extent?)?;
        }
        let added = segments.add_used(range, &mut extents)?;
        assert!(added
            .iter()
            .flat_map(pfns)
            .eq((range.start()..=range.last()).map(|index| self.pfn(index))));
        Ok(())
    }
}

/// The segments, with the pages of their extents.
fn contents(segments: &Segments) -> Vec<(u64, u64, Vec<u64>)> {
    let lists = segments.lists();
    lists
        .map(|(range, list)| {
            (
                range.start(),
                range.last(),
                list.iter().flat_map(pfns).collect(),
            )
        })
        .collect()
}

#[test]
fn pieces_of_a_pin_become_one_user() {
    cases(2000, |random| {
        let memory = memory(random);
        let others: Vec<_> = (0..random.within(0..=3))
            .map(|_| random.ends_within(0..=INDEXES - 1))
            .collect();
        let (first, last) = random.ends_within(0..=INDEXES - 1);
        let (mut whole, mut pieces) = (fresh(), fresh());
        let pin = |segments: &mut Segments, first, last| {
            let pinned = memory.pin_range(segments, pages(first, last), 7);
            pinned.expect("nothing fails");
        };
        // Some of the others come before, and some between two pieces.
        let (before, between) = others.split_at(random.within(0..=others.len() as u64) as usize);
        for (first, last) in &others {
            pin(&mut whole, *first, *last);
        }
        pin(&mut whole, first, last);
        for (first, last) in before {
            pin(&mut pieces, *first, *last);
        }
        let mut between = between.iter();
        let mut start = first;
        while start <= last {
            let end = random.within(start..=last);
            pin(&mut pieces, start, end);
            if start != first {
                pieces.unite(start);
            }
            start = end + 1;
            if let Some((first, last)) = between.next() {
                pin(&mut pieces, *first, *last);
            }
        }
        for (first, last) in between {
            pin(&mut pieces, *first, *last);
        }
        let range = pages(first, last);
        assert_eq!(whole.put(range).0, pieces.put(range).0);
        assert_eq!(contents(&whole), contents(&pieces));
        for (first, last) in &others {
            assert_eq!(
                whole.put(pages(*first, *last)).0,
                pieces.put(pages(*first, *last)).0
            );
        }
        assert_eq!((whole.pinned(), pieces.pinned()), (0, 0));
        assert_eq!(ledger::total(), 0);
    });
}

#[test]
fn the_run_that_has_a_page() {
    cases(2000, |random| {
        let memory = memory(random);
        let mut segments = fresh();
        let mut held = [false; INDEXES as usize];
        for _ in 0..random.within(1..=4) {
            let (first, last) = random.ends_within(0..=INDEXES - 1);
            let pinned = memory.pin_range(&mut segments, pages(first, last), 7);
            pinned.expect("nothing fails");
            held[first as usize..=last as usize].fill(true);
        }
        let (first, last) = random.ends_within(0..=INDEXES - 1);
        for page in 0..INDEXES {
            let goes_on =
                |index: u64| held[index as usize] && memory.pfn(index) == memory.pfn(index - 1) + 1;
            let up_to = (first..=last).contains(&page);
            let expected = (up_to && (first..=page).all(|index| held[index as usize])).then(|| {
                let begin = (first + 1..=page).rev().find(|index| !goes_on(*index));
                let end = (page + 1..=last).find(|index| !goes_on(*index));
                pages(begin.unwrap_or(first), end.unwrap_or(last + 1) - 1)
            });
            assert_eq!(
                segments.run_of(page, pages(first, last)),
                expected,
                "{page}"
            );
        }
    });
}
