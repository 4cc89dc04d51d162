// SPDX-License-Identifier: GPL-2.0-only

//! Pins of a range in pieces, which `Segments::unite` makes one user, and of a few pages at once.

use kernel::prelude::*;
use proptest::collection::vec;

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
        memory::{
            memory,
            pages,
            pfns,
            Memory,
            INDEXES, //
        },
        random::{
            ends,
            for_all,
            Ends, //
        },
        segments::fresh, //
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
    // Of the others some come before, and some between two pieces.
    let others = || vec(ends(INDEXES), 0..=2);
    let lengths = vec(1..=INDEXES, 0..=8);
    let inputs = (memory(), ends(INDEXES), lengths, others(), others());
    for_all(2000, inputs, |(memory, range, lengths, before, between)| {
        let Ends { first, last } = range;
        let (mut whole, mut pieces) = (fresh(), fresh());
        let pin = |segments: &mut Segments, range: Ends| {
            let pinned = memory.pin_range(segments, pages(range.first, range.last), 7);
            pinned.expect("nothing fails");
        };
        let others = [&before[..], &between[..]].concat();
        for other in &others {
            pin(&mut whole, *other);
        }
        pin(&mut whole, range);
        for other in before {
            pin(&mut pieces, other);
        }
        let (mut between, mut lengths) = (between.into_iter(), lengths.into_iter());
        let mut start = first;
        while start <= last {
            let length = lengths.next().unwrap_or(INDEXES);
            let piece = Ends {
                first: start,
                last: last.min(start + length - 1),
            };
            pin(&mut pieces, piece);
            if start != first {
                pieces.unite(start);
            }
            start = piece.last + 1;
            if let Some(other) = between.next() {
                pin(&mut pieces, other);
            }
        }
        for other in between {
            pin(&mut pieces, other);
        }
        let range = pages(first, last);
        assert_eq!(whole.put(range).0, pieces.put(range).0);
        assert_eq!(contents(&whole), contents(&pieces));
        for other in others {
            let range = pages(other.first, other.last);
            assert_eq!(whole.put(range).0, pieces.put(range).0);
        }
        assert_eq!((whole.pinned(), pieces.pinned()), (0, 0));
        assert_eq!(ledger::total(), 0);
    });
}

#[test]
fn the_run_that_has_a_page() {
    let inputs = (memory(), vec(ends(INDEXES), 1..=4), ends(INDEXES));
    for_all(2000, inputs, |(memory, users, Ends { first, last })| {
        let mut segments = fresh();
        let mut held = [false; INDEXES as usize];
        for Ends { first, last } in users {
            let pinned = memory.pin_range(&mut segments, pages(first, last), 7);
            pinned.expect("nothing fails");
            held[first as usize..=last as usize].fill(true);
        }
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
        let whole = pages(first, last);
        let is_run = segments.run_of(last, whole) == Some(whole);
        assert_eq!(segments.is_run(whole), is_run);
    });
}
