// SPDX-License-Identifier: GPL-2.0-only

//! Requests and ranges: what is refused, what is covered, and what is merged.

use std::cell::Cell;

use kernel::prelude::*;
use proptest::{
    prelude::{
        any,
        Just,
        Strategy, //
    },
    prop_oneof, //
};

use crate::{
    drivers::vtd::range::{
        Range,
        Request,
        ALL,
        LEAF, //
    },
    tests::random::{
        for_all,
        Hex, //
    }, //
};

/// The pages of a range: the first, and the one behind the last.
fn pages(range: &Range) -> (u128, u128) {
    let first = u128::from(range.addr >> 12);
    (first, first + (1 << range.order))
}

fn all(range: &Range) -> bool {
    range.order == ALL && range.addr == 0
}

/// Checks that the ranges of a request cover it, and by how much more.
fn check(first: u64, count: u64) {
    let request = Request::new([first << 12, count, LEAF.into()]).unwrap();
    let (one, other) = request.ranges();
    let asked = (u128::from(first), u128::from(first) + u128::from(count));
    let mut reached = asked.0;
    let mut covered = 0;
    for range in [Some(one), other].into_iter().flatten() {
        assert!(range.leaf);
        let (start, end) = pages(&range);
        assert_eq!(start % (end - start), 0, "{range:?} is not aligned");
        assert!(
            start <= reached,
            "{first:#x} {count}: a gap before {range:?}"
        );
        reached = reached.max(end);
        covered += end - start;
    }
    assert!(reached >= asked.1, "{first:#x} {count}: {one:?} {other:?}");
    assert!(
        covered <= 4 * u128::from(count),
        "{first:#x} {count}: {one:?} {other:?}"
    );
}

#[test]
fn small_requests() {
    for first in 0..70 {
        for count in 1..70 {
            check(first, count);
            check((1 << 51) - 40 + first, count);
        }
    }
}

#[test]
fn random_requests() {
    const PAGES: u64 = 1 << 52;
    let inputs = (13..=63u32, any::<u64>(), 0..PAGES).prop_map(|(shift, number, first)| {
        let count = 1 + (number >> shift).min(PAGES - 1);
        Hex((first % (PAGES - count + 1), count))
    });
    for_all(20_000, inputs, |Hex((first, count))| check(first, count));
}

/// Requests that name no addresses exactly invalidate everything.
#[test]
fn everything() {
    for (addr, pages) in [
        (0, u64::MAX),
        (0, 0),
        (0x1000, 0),
        (0, 1 << 52),
        (0x1000, (1 << 52) - 1),
        (0, (1 << 52) + 1),
        (0x1000, (1 << 52) + 1),
        (0x1000, 1 << 63),
        (!0xfff, 2),
    ] {
        let (range, further) = Request::new([addr, pages, 0]).unwrap().ranges();
        assert!(all(&range) && further.is_none(), "{addr:#x} {pages:#x}");
    }
}

#[test]
fn refused() {
    for bit in 1..32 {
        assert_eq!(Request::new([0, 1, 1 << bit]), Err(EOPNOTSUPP));
    }
    for bit in 0..32 {
        assert_eq!(Request::new([0, 1, 1 << (32 + bit)]), Err(EOPNOTSUPP));
    }
    for bit in 0..12 {
        assert_eq!(Request::new([1 << bit, 1, 0]), Err(EINVAL));
    }
    assert_eq!(Request::new([0x1000, u64::MAX, 0]), Err(EINVAL));
}

fn any_range() -> impl Strategy<Value = Range> {
    let part =
        (0..=4u32, 0..=63u64).prop_map(|(order, page)| (page >> order << order << 12, order));
    let place = prop_oneof![9 => part, 1 => Just((0, ALL))];
    (place, any::<bool>()).prop_map(|((addr, order), leaf)| Range { addr, order, leaf })
}

/// A merged range has the pages of both and no others, and keeps nothing that one does not keep.
#[test]
fn merged() {
    let count = Cell::new(0);
    for_all(20_000, (any_range(), any_range()), |(one, other)| {
        let Some(both) = one.merged(other) else {
            return;
        };
        count.set(count.get() + 1);
        assert_eq!(both.leaf, one.leaf && other.leaf);
        let (a, b, c) = (pages(&one), pages(&other), pages(&both));
        assert!(c.0 == a.0.min(b.0) && c.1 == a.1.max(b.1));
        // No page between them is in neither.
        assert!(a.0.max(b.0) <= a.1.min(b.1));
    });
    assert!(count.get() > 1000);
}

#[test]
fn merged_at_the_largest_orders() {
    let range = |addr, order| Range {
        addr,
        order,
        leaf: false,
    };
    let merged = range(0, 0).merged(range(0x1000, 0));
    assert_eq!(merged, Some(range(0, 1)));
    assert_eq!(range(0, 1).merged(range(0x2000, 1)), Some(range(0, 2)));
    // Neighbours that no single mask names.
    assert_eq!(range(0x1000, 0).merged(range(0x2000, 0)), None);
    let halves = range(0, 51).merged(range(1 << 63, 51));
    assert_eq!(halves, Some(range(0, ALL)));
}
