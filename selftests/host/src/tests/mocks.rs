// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the stand-ins that the other tests rely on.

use kernel::{
    alloc::fault,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    }, //
};

use crate::kapi::{
    ledger,
    mm::pin,
    sync::vec, //
};

/// Returns the signatures of the public methods in the block that begins with `begin`, and the
/// lines that define `MAX_EXTENT_PAGES`.
fn interface<'a>(source: &'a str, begin: &str) -> Vec<&'a str> {
    let (_, from_begin) = source
        .split_once(&format!("\n{begin} {{\n"))
        .unwrap_or_else(|| panic!("no `{begin}`"));
    let (methods, _) = from_begin
        .split_once("\n}\n")
        .unwrap_or_else(|| panic!("no end of `{begin}`"));
    let all = source
        .lines()
        .filter(|line| line.contains("const MAX_EXTENT_PAGES"));
    let methods = methods
        .lines()
        .filter(|line| line.contains("pub(crate) fn "));
    let mut lines: Vec<_> = all.chain(methods).map(str::trim).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn pin_is_like_the_original() {
    let original = include_str!("../../../../kapi/mm/extent.rs");
    let ours = include_str!("../kapi/mm/pin.rs");
    // A method of the mock may take `self` as `mut`.
    let ours = ours.replace("(mut self", "(self");
    // The mock has no `struct page`.
    let without_pages = original.replace("pub(crate) fn pages(", "fn pages(");
    for begin in ["impl Extent", "impl<'a> PinnedRun<'a>"] {
        assert_eq!(interface(&ours, begin), interface(&without_pages, begin));
    }
    assert!(original.contains("const LEN_BITS: u32 = 23;"));
    assert_eq!(pin::MAX_EXTENT_PAGES, (1 << 23) - 1);
}

#[test]
fn the_ledger_counts_every_page() {
    ledger::pin(10, 10);
    ledger::pin(15, 10);
    assert_eq!(
        [9, 10, 14, 15, 19, 20, 24, 25].map(ledger::pins),
        [0, 1, 1, 2, 2, 1, 1, 0]
    );
    assert_eq!(ledger::total(), 20);
    ledger::unpin(12, 5);
    assert_eq!(
        [11, 12, 14, 15, 16, 17].map(ledger::pins),
        [1, 0, 0, 1, 1, 2]
    );
    assert_eq!(ledger::total(), 15);
    for (pfn, npages) in [(12, 1), (11, 2), (24, 2), (9, 2), (100, 1)] {
        let twice = std::panic::catch_unwind(|| ledger::unpin(pfn, npages));
        assert!(twice.is_err(), "{npages} pages from {pfn}");
    }
    assert_eq!(ledger::total(), 15);
    ledger::unpin(10, 2);
    ledger::unpin(15, 10);
    ledger::unpin(17, 3);
    assert_eq!(ledger::total(), 0);
}

#[test]
fn a_dropped_extent_unpins_each_page_once() {
    let mut first = pin::pin_pages(100, 4);
    assert!(first.merge(pin::pin_pages(104, 1)).is_ok());
    assert_eq!(ledger::total(), 5);
    let (head, tail) = first.split(2).expect("it has 5 pages");
    drop(head);
    assert_eq!([101, 102, 104].map(ledger::pins), [0, 1, 1]);
    // Extents that do not follow, or differ in write access, are returned and stay pinned.
    let mut tail = tail;
    for next in [
        pin::pin_pages(106, 1),
        pin::pin_pages(101, 1),
        pin::pin_read_only(105, 1),
    ] {
        assert!(tail.merge(next).is_err());
    }
    assert_eq!(ledger::total(), 3);
    for at in [0, 3, 4] {
        tail = tail.split(at).expect_err("that is not inside it");
    }
    drop(tail);
    assert_eq!(ledger::total(), 0);
}

#[test]
fn allocations_are_counted_and_fail_when_told() {
    let pushes = |count: u64| {
        let mut vec = KVec::new();
        for n in 0..count {
            vec.push(n, GFP_KERNEL)?;
        }
        Ok::<_, Error>(vec)
    };
    // Capacities of 1, 2, 4 and 8 elements.
    for (count, allocations) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4)] {
        let before = fault::tried();
        assert_eq!(pushes(count).expect("nothing fails").len() as u64, count);
        assert_eq!(fault::tried() - before, allocations, "{count} pushes");
        for nth in 0..allocations {
            let (result, failed) = fault::failing(nth, || pushes(count));
            assert_eq!(result.err(), Some(ENOMEM));
            assert!(failed);
        }
        let (result, failed) = fault::failing(allocations, || pushes(count));
        assert!(result.is_ok() && !failed);
    }
    // The failure is disarmed when the call ends, also if it did not occur.
    assert!(pushes(8).is_ok());
    let (result, _) = fault::failing(0, || {
        RBTreeNodeReservation::<u64, u64>::new(GFP_KERNEL).map(drop)
    });
    assert_eq!(result.err(), Some(ENOMEM));
}

#[test]
fn vectors_give_back_what_does_not_fit() {
    let mut vec = KVec::with_capacity(2, GFP_KERNEL).expect("nothing fails");
    assert!(vec.insert_within_capacity(1, 'a').is_err());
    assert!(vec.push_within_capacity('b').is_ok());
    assert!(vec.insert_within_capacity(0, 'a').is_ok());
    assert!(vec.push_within_capacity('c').is_err());
    assert!(vec.insert_within_capacity(0, 'c').is_err());
    assert_eq!(*vec, ['a', 'b']);
}

#[test]
fn vectors_are_filled_and_fitted() {
    for (capacity, most, source, expected) in [
        (4, 9, 9, (Ok(true), 4)),
        (4, 2, 9, (Ok(true), 2)),
        (4, 9, 3, (Ok(false), 3)),
        (0, 9, 3, (Ok(true), 0)),
    ] {
        let mut list = KVec::with_capacity(capacity, GFP_KERNEL).expect("nothing fails");
        let mut numbers = (0..source).map(Ok);
        let result = vec::fill(&mut list, most, &mut numbers);
        assert_eq!((result, list.len()), expected);
        let before = fault::tried();
        assert_eq!(vec::fit(&mut list), Ok(()));
        assert_eq!(list.capacity(), expected.1);
        assert_eq!(
            fault::tried() - before,
            u64::from(expected.1 != 0 && expected.1 != capacity)
        );
        assert!(list.iter().copied().eq(0..expected.1 as u64));
    }
    let mut list = KVec::with_capacity(4, GFP_KERNEL).expect("nothing fails");
    let mut failing = [Ok(1), Err(EFAULT), Ok(2)].into_iter();
    assert_eq!(vec::fill(&mut list, 4, &mut failing), Err(EFAULT));
    assert_eq!(*list, [1]);
}

#[test]
fn cursors_begin_at_the_lower_bound() {
    let mut tree = RBTree::new();
    for key in [10u64, 20, u64::MAX] {
        assert!(tree
            .try_create_and_insert(key, key / 10, GFP_KERNEL)
            .is_ok());
    }
    let table = [
        (0, Some(10), None),
        (10, Some(10), None),
        (11, Some(20), Some(10)),
        (20, Some(20), Some(10)),
        (21, Some(u64::MAX), Some(20)),
        (u64::MAX, Some(u64::MAX), Some(20)),
    ];
    for (key, current, before) in table {
        let cursor = tree.cursor_lower_bound(&key);
        assert_eq!(cursor.as_ref().map(|c| *c.current().0), current);
        assert_eq!(cursor.and_then(|c| c.peek_prev().map(|(k, _)| *k)), before);
    }
    assert_eq!(tree.remove(&u64::MAX), Some(u64::MAX / 10));
    assert!(tree.cursor_lower_bound(&21).is_none());
    assert_eq!(tree.cursor_back().map(|c| *c.current().1), Some(2));
}
