// SPDX-License-Identifier: GPL-2.0-only

//! Unpinning of long ranges part by part, as `Pages::unpin()` does: with others who use the same pages, and
//! who come and go between two parts.

use kernel::alloc::fault;
use proptest::{
    collection::vec,
    option,
    sample::select, //
};

use crate::{
    ioas::{
        division::{
            LARGEST,
            SHORT, //
        },
        extents::Extents, //
    },
    kapi::{
        ledger,
        mm::pin::pin_pages,
        units::PageRange, //
    },
    tests::{
        memory::{
            pages,
            Memory, //
        },
        random::{
            ends,
            for_all,
            steps,
            Ends, //
        },
        segments::fresh, //
    }, //
};

const INDEXES: u64 = 4000;

/// Every page is apart, so a segment has as many pages as a list has extents.
fn scattered() -> Memory {
    Memory((0..INDEXES).map(|index| (index, index * 2 + 1)).collect())
}

fn range_of(ends: Ends) -> PageRange {
    pages(ends.first, ends.last)
}

#[test]
fn a_range_is_unpinned_part_by_part() {
    // Of the others some are there before. Between two parts another one comes, or one goes.
    let inputs = (
        vec(ends(INDEXES), 0..=3),
        ends(INDEXES),
        select(&[1_u64, 100, 700][..]),
        steps(option::of(ends(INDEXES)), 30),
    );
    for_all(60, inputs, |(before, range, least, meanwhile)| {
        let memory = scattered();
        let mut segments = fresh();
        let mut users = vec![0_u64; INDEXES as usize];
        let mut others = Vec::new();
        let count = |users: &mut Vec<u64>, range: PageRange, more: bool| {
            for index in range.start()..=range.last() {
                let page = &mut users[index as usize];
                *page = if more { *page + 1 } else { *page - 1 };
            }
        };

        for range in before.into_iter().map(range_of) {
            memory.pin_range(&mut segments, range, 512).expect("memory");
            count(&mut users, range, true);
            others.push(range);
        }
        let range = range_of(range);
        memory.pin_range(&mut segments, range, 512).expect("memory");
        count(&mut users, range, true);

        let mut meanwhile = meanwhile.into_iter();
        let mut rest = Some(range);
        while let Some(left) = rest {
            let (part, more) = fault::failing(0, || segments.divide_behind(left, least)).0;
            assert_eq!(part.start(), left.start());
            assert_eq!(more.map_or(left.last(), |more| more.last()), left.last());
            if let Some(more) = more {
                assert_eq!(more.start(), part.last() + 1);
            }
            // A segment has at most 256 extents, here pages.
            assert!(part.len() <= least + 256, "{part:?} of {left:?}");
            assert!(more.is_none() || part.len() >= least);

            count(&mut users, part, false);
            let gone = (part.start()..=part.last()).filter(|index| users[*index as usize] == 0);
            assert_eq!(segments.put(part).0, gone.count() as u64);
            let held = users.iter().filter(|users| **users != 0).count();
            assert_eq!(segments.pinned(), held as u64);
            rest = more;

            match meanwhile.next() {
                Some(Some(other)) => {
                    let other = range_of(other);
                    memory.pin_range(&mut segments, other, 512).expect("memory");
                    count(&mut users, other, true);
                    others.push(other);
                }
                Some(None) => {
                    if let Some(other) = others.pop() {
                        count(&mut users, other, false);
                        segments.put(other);
                    }
                }
                None => {}
            }
        }
        for other in others {
            segments.put(other);
        }
        assert_eq!(segments.pinned(), 0);
        drop(segments);
        assert_eq!(ledger::total(), 0);
    });
}

#[test]
fn contiguous_memory_is_unpinned_part_by_part() {
    const HALF: u64 = LARGEST / 2;
    let mut segments = fresh();
    let all = pages(0, 7 * HALF - 1);
    for start in (0..=all.last()).step_by(HALF as usize) {
        let mut extents = Extents::One(pin_pages(start + 1, HALF));
        let range = pages(start, start + HALF - 1);
        assert!(segments.add_used(range, &mut extents).is_ok());
        if start != 0 {
            segments.unite(start);
        }
    }
    // It is one run for page tables.
    assert_eq!(segments.runs(all).count(), 1);

    let mut rest = Some(all);
    while let Some(left) = rest {
        let (part, more) = segments.divide_behind(left, SHORT);
        assert!(part.len() <= SHORT + LARGEST, "{part:?}");
        let before = ledger::total();
        let (count, last) = segments.put(part);
        assert_eq!(count, part.len());
        // The caller has released the lock when it drops them.
        assert!(before - ledger::total() <= SHORT, "{part:?}");
        drop(last);
        assert_eq!(before - ledger::total(), part.len());
        rest = more;
    }
    drop(segments);
    assert_eq!(ledger::total(), 0);
}
