// SPDX-License-Identifier: GPL-2.0-only

//! Tests of `Builder`, which makes segments of newly pinned pages.

use kernel::{
    alloc::fault,
    prelude::*, //
};
use proptest::collection::vec;

use crate::{
    ioas::{
        builder::Builder,
        extents::MAX_EXTENTS, //
    },
    kapi::{
        ledger,
        mm::pin::{
            pin_pages,
            pin_read_only,
            Extent,
            MAX_EXTENT_PAGES, //
        },
        units::{
            PageRange,
            PAGE_SHIFT, //
        }, //
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
        segments::{
            fresh,
            lists,
            physical, //
        }, //
    }, //
};

/// A callback for complete extents that does nothing.
fn ignore(_: &[Extent]) -> Result {
    Ok(())
}

/// Pushes extents in one call.
fn push(builder: &mut Builder, extents: impl IntoIterator<Item = Extent>) -> Result {
    let extents: Vec<_> = extents.into_iter().map(Ok).collect();
    builder.push(&mut extents.into_iter())
}

#[test]
fn neighbours_in_memory_become_one_extent() {
    let mut segments = fresh();
    let mut builder = Builder::new(0);
    let extents = [
        pin_pages(100, 1),
        pin_pages(101, 7),
        // Cannot be merged: a gap; descending pages; pages that devices may only read.
        pin_pages(109, 1),
        pin_pages(108, 1),
        pin_read_only(109, 2),
        pin_read_only(111, 1),
    ];
    for extent in extents {
        push(&mut builder, [extent]).expect("nothing fails");
    }
    builder
        .finish(&mut segments, ignore)
        .expect("nothing fails");
    assert_eq!(segments.pinned(), 13);
    let page = |pfn: u64| pfn << PAGE_SHIFT;
    let runs = segments.runs(PageRange::ALL);
    let found: Vec<_> = runs.map(|run| (run.phys(), run.npages())).collect();
    assert_eq!(
        found,
        [
            (page(100), 8),
            (page(109), 1),
            (page(108), 1),
            (page(109), 3)
        ]
    );
    // Each extent is unpinned by one call, whatever its number of pages.
    let before = ledger::unpins();
    assert_eq!(segments.discard_unused(pages(0, 12)), 13);
    assert_eq!((ledger::unpins() - before, ledger::total()), (4, 0));
}

/// Whether a piece goes on depends on it, not on a longer run that came before.
#[test]
fn the_last_extent_may_go_on() {
    let mut builder = Builder::new(0);
    assert_eq!(builder.open(), 0);
    for (pfn, npages, open) in [(100, 512, 512), (612, 1, 513), (700, 1, 1), (701, 2, 3)] {
        push(&mut builder, [pin_pages(pfn, npages)]).expect("nothing fails");
        assert_eq!(builder.open(), open);
    }
    drop(builder);
    assert_eq!(ledger::total(), 0);
}

#[test]
fn an_extent_grows_to_its_largest_size() {
    for (first, second, extents) in [
        (MAX_EXTENT_PAGES - 2, 1, 1),
        (MAX_EXTENT_PAGES - 1, 1, 1),
        (MAX_EXTENT_PAGES, 1, 2),
        (MAX_EXTENT_PAGES, MAX_EXTENT_PAGES, 2),
        (1, MAX_EXTENT_PAGES - 1, 1),
        (2, MAX_EXTENT_PAGES - 1, 2),
    ] {
        let total = first + second;
        let whole = pages(7, 7 + total - 1);
        let mut segments = fresh();
        let mut builder = Builder::new(7);
        for (pfn, npages) in [(1 << 30, first), ((1 << 30) + first, second)] {
            push(&mut builder, [pin_pages(pfn, npages)]).expect("nothing fails");
        }
        builder
            .finish(&mut segments, ignore)
            .expect("nothing fails");
        assert_eq!((segments.pinned(), ledger::total()), (total, total));
        assert_eq!(
            lists(&segments).len(),
            extents,
            "{first} and {second} pages"
        );

        // Cuts out single pages on both sides of the extents' border and inside each extent.
        for at in [7 + first - 1, 7 + first, 8, 7 + total - 1] {
            segments.cut(pages(at, at)).expect("nothing fails");
            let runs = segments.runs(pages(at, at));
            let found: Vec<_> = runs.map(|run| (run.phys(), run.npages())).collect();
            assert_eq!(found, [(((1 << 30) + at - 7) << PAGE_SHIFT, 1)]);
        }
        // A run continues across the border between the extents.
        let runs: Vec<_> = segments.runs(whole).map(|run| run.npages()).collect();
        assert_eq!(runs, [total]);
        assert_eq!(segments.discard_unused(whole), total);
        assert_eq!(ledger::total(), 0);
    }
}

#[test]
fn a_segment_has_a_limited_number_of_extents() {
    let most = MAX_EXTENTS as u64;
    // No two pages are physically contiguous.
    let pfn = |index: u64| 1000 + 2 * index;
    for count in [most - 1, most, most + 1, 2 * most, 2 * most + 1] {
        let mut segments = fresh();
        let mut builder = Builder::new(0);
        // Pushes all extents in one call, or up to 1000 per call.
        let batch = if count % 2 == 0 { count } else { 1000 };
        for first in (0..count).step_by(batch as usize) {
            let indexes = first..count.min(first + batch);
            let extents = indexes.map(|index| pin_pages(pfn(index), 1));
            push(&mut builder, extents).expect("nothing fails");
        }
        assert_eq!(builder.pages(), Some(pages(0, count - 1)));
        for _ in 0..2 {
            builder
                .finish(&mut segments, ignore)
                .expect("nothing fails");
        }
        assert_eq!((segments.pinned(), ledger::total()), (count, count));
        let whole = pages(0, count - 1);
        segments.get(whole);
        assert!(physical(&segments, whole)
            .into_iter()
            .eq((0..count).map(pfn)));

        // A cut allocates a node and two vectors, or one vector if one side keeps a single extent.
        // Between segments it allocates nothing.
        let last = 2 + u64::from(count >= most);
        for (at, allocations) in [(most / 2, 3), (most - 2, last), (most, 0)] {
            let before = fault::tried();
            segments
                .cut(pages(at, count.max(at + 1) - 1))
                .expect("nothing fails");
            assert_eq!(
                fault::tried() - before,
                allocations,
                "before {at} of {count}"
            );
        }
        assert_eq!(segments.put(whole).0, count);
        drop(segments);
        assert_eq!(ledger::total(), 0);
    }
}

/// A builder passes extents to the callback in order, also if it fails later. Extents that it has
/// not put into segments stay pinned until the builder is dropped, because the callback's owner may
/// still use them.
#[test]
fn what_is_complete_stays_pinned_until_the_builder_goes() {
    let memory = Memory((0..40).map(|n| (n, 100 + n * 2 - n % 3)).collect());
    let whole = pages(0, 39);
    for batch in [1, 7, 40] {
        for stop in 0..=40 {
            let mut segments = fresh();
            let mut builder = Builder::new(0);
            let mut told = Vec::new();
            let mut complete = |extents: &[Extent]| {
                told.extend(extents.iter().flat_map(pfns));
                if told.len() < stop {
                    Ok(())
                } else {
                    Err(EINVAL)
                }
            };
            let mut result = Ok(());
            for extents in memory.batches(whole, batch) {
                result = result.and_then(|()| builder.push(&mut extents.into_iter()));
            }
            let result = result.and_then(|()| builder.finish(&mut segments, &mut complete));
            assert_eq!(result, Err(EINVAL));
            assert!(told
                .iter()
                .copied()
                .eq((0..told.len() as u64).map(|index| memory.pfn(index))));
            for pfn in &told {
                assert_eq!(ledger::pins(*pfn), 1, "{pfn}");
            }
            drop(builder);
            drop(segments);
            assert_eq!(ledger::total(), 0);
        }
    }
}

/// An extent that the next batch continues is passed to the callback once, with all its pages.
#[test]
fn an_extent_grows_from_batch_to_batch() {
    let mut segments = fresh();
    let mut builder = Builder::new(0);
    let mut told = Vec::new();
    let mut complete = |extents: &[Extent]| {
        assert!(!extents.is_empty());
        told.extend(extents.iter().map(|extent| (extent.pfn(), extent.npages())));
        Ok(())
    };
    for batch in [
        vec![pin_pages(100, 4)],
        vec![pin_pages(104, 4)],
        vec![pin_pages(108, 1), pin_pages(300, 2), pin_pages(200, 1)],
        vec![],
        vec![pin_pages(201, 1), pin_pages(90, 1)],
    ] {
        let mut batch = batch.into_iter().map(Ok);
        builder.push(&mut batch).expect("nothing fails");
    }
    builder
        .finish(&mut segments, &mut complete)
        .expect("nothing fails");
    assert_eq!(told, [(100, 9), (300, 2), (200, 2), (90, 1)]);
    let whole = pages(0, 13);
    assert_eq!(lists(&segments).len(), 4);
    assert_eq!(segments.discard_unused(whole), 14);
    assert_eq!(ledger::total(), 0);
}

#[test]
fn a_builder_that_fails_unpins() {
    let segments = fresh();
    let mut builder = Builder::new(3);
    let runs = |pfns: &[u64]| {
        pfns.iter()
            .map(|pfn| pin_pages(*pfn, 2))
            .collect::<Vec<_>>()
    };
    push(&mut builder, runs(&[100, 200, 300])).expect("nothing fails");
    // Extents that could not be stored are unpinned; those stored before them stay pinned.
    let more = runs(&[400, 500]);
    let (result, failed) = fault::failing(0, || push(&mut builder, more));
    assert_eq!((result, failed), (Err(ENOMEM), true));
    assert_eq!((ledger::pins(500), ledger::pins(100)), (0, 1));
    drop(builder);
    assert_eq!(ledger::total(), 0);
    // An error of the source also leaves the extents before it pinned until the drop.
    let mut builder = Builder::new(3);
    let mut source = [Ok(pin_pages(100, 2)), Ok(pin_pages(200, 2)), Err(EFAULT)].into_iter();
    let result = builder.push(&mut source);
    assert_eq!((result, ledger::total()), (Err(EFAULT), 4));
    drop(builder);
    assert_eq!((segments.pinned(), ledger::total()), (0, 0));
}

/// Another task pins some of the pages that the builder has. Each page is pinned once then, and the
/// builder has unpinned what was pinned twice.
#[test]
fn what_others_have_pinned_is_unpinned() {
    let others = vec(ends(INDEXES), 0..=3);
    let inputs = (memory(), ends(INDEXES), 1..=INDEXES, others, 0..=6u64);
    for_all(300, inputs, |(memory, ours, batch, taken, failing)| {
        let Ends { first, last } = ours;
        let ours = pages(first, last);
        let mut segments = fresh();
        let mut builder = Builder::new(first);
        for extents in memory.batches(ours, batch) {
            builder
                .push(&mut extents.into_iter())
                .expect("nothing fails");
        }
        let mut others = Vec::new();
        for Ends { first, last } in taken {
            memory
                .pin_range(&mut segments, pages(first, last), INDEXES)
                .expect("nothing fails");
            others.push(pages(first, last));
        }
        let before = segments.pinned();
        let (added, failed) = fault::failing(failing, || builder.finish_around(&mut segments));
        match added {
            Ok(added) => {
                assert_eq!(segments.pinned(), before + added);
                segments.cut(ours).expect("nothing fails");
                segments.get(ours);
                assert!(physical(&segments, ours)
                    .into_iter()
                    .eq((first..=last).map(|index| memory.pfn(index))));
                drop(builder);
                assert_eq!(ledger::total(), segments.pinned());
                segments.put(ours);
            }
            Err(error) => {
                assert_eq!((error, failed), (ENOMEM, true));
                segments.discard_unused(ours);
                drop(builder);
            }
        }
        assert_eq!((segments.pinned(), ledger::total()), (before, before));
        others.into_iter().for_each(|range| {
            segments.put(range);
        });
        assert_eq!((segments.pinned(), ledger::total()), (0, 0));
    });
}
