// SPDX-License-Identifier: GPL-2.0-only

//! Compares ranges and alignment near the limits of 64 bits with 128-bit arithmetic.

use kernel::prelude::*;

use crate::kapi::units::{
    align_up,
    page_offset,
    to_u64,
    to_usize,
    IovaRange,
    PAGE_SHIFT,
    PAGE_SIZE, //
};

const MAX: u64 = u64::MAX;

/// Numbers near which 64-bit arithmetic may overflow.
const EDGES: [u64; 17] = [
    0,
    1,
    2,
    PAGE_SIZE - 1,
    PAGE_SIZE,
    PAGE_SIZE + 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 63) + 1,
    MAX - PAGE_SIZE - 1,
    MAX - PAGE_SIZE,
    MAX - PAGE_SIZE + 1,
    MAX - PAGE_SIZE + 2,
    MAX - 2,
    MAX - 1,
    MAX,
];

/// Returns every range between two of the edges.
fn ranges() -> impl Iterator<Item = IovaRange> {
    let ends = EDGES
        .iter()
        .flat_map(|start| EDGES.iter().map(|last| (*start, *last)));
    ends.filter_map(|(start, last)| IovaRange::new(start, last))
}

#[test]
fn a_range_is_never_empty() {
    for start in EDGES {
        for last in EDGES {
            let range = IovaRange::new(start, last);
            assert_eq!(range.is_some(), start <= last, "{start:#x} to {last:#x}");
            if let Some(range) = range {
                assert_eq!((range.start(), range.last()), (start, last));
            }
        }
    }
    assert_eq!(IovaRange::new(0, MAX), Some(IovaRange::ALL));
}

#[test]
fn from_len_checks_that_the_range_exists() {
    let table = [
        (0, 0, Err(EINVAL)),
        (MAX, 0, Err(EINVAL)),
        (0, 1, Ok(0)),
        (0, MAX, Ok(MAX - 1)),
        (1, MAX - 1, Ok(MAX - 1)),
        (1, MAX, Ok(MAX)),
        (2, MAX, Err(EOVERFLOW)),
        (MAX, 1, Ok(MAX)),
        (MAX, 2, Err(EOVERFLOW)),
        (MAX, MAX, Err(EOVERFLOW)),
        (MAX - PAGE_SIZE + 1, PAGE_SIZE - 1, Ok(MAX - 1)),
        (MAX - PAGE_SIZE + 1, PAGE_SIZE, Ok(MAX)),
        (MAX - PAGE_SIZE + 1, PAGE_SIZE + 1, Err(EOVERFLOW)),
    ];
    for (start, len, last) in table {
        let range = IovaRange::from_len(start, len);
        assert_eq!(range.map(|r| r.last()), last, "{len:#x} from {start:#x}");
        if let Ok(range) = range {
            assert_eq!((range.start(), range.len()), (start, len));
        }
    }
}

#[test]
fn the_full_range_counts_as_one_less() {
    assert_eq!(IovaRange::ALL.len(), MAX);
    for range in ranges().filter(|range| *range != IovaRange::ALL) {
        let len = u128::from(range.last()) - u128::from(range.start()) + 1;
        assert_eq!(u128::from(range.len()), len, "{range:#x?}");
    }
}

#[test]
fn two_ranges_have_in_common_what_is_in_both() {
    for a in ranges() {
        for b in ranges() {
            let start = a.start().max(b.start());
            let last = a.last().min(b.last());
            let common = (start <= last).then_some((start, last));
            let found = a.intersection(&b).map(|r| (r.start(), r.last()));
            assert_eq!(found, common, "{a:#x?} and {b:#x?}");
            assert_eq!(a.contains(&b), found == Some((b.start(), b.last())));
        }
    }
}

#[test]
fn align_up_stays_in_64_bits() {
    for value in EDGES {
        for shift in 0..64 {
            let size = 1u128 << shift;
            let aligned = u128::from(value).div_ceil(size) * size;
            // The module may return `None` already if the sum would overflow.
            let sum = u128::from(value) + size - 1;
            let expected = u64::try_from(sum).ok().and(u64::try_from(aligned).ok());
            assert_eq!(
                align_up(value, 1 << shift),
                expected,
                "{value:#x} to {size:#x}"
            );
            if expected.is_none() {
                assert!(aligned > u128::from(MAX), "{value:#x} to {size:#x}");
            }
        }
    }
}

#[test]
fn pages_have_the_kernels_size() {
    assert_eq!(PAGE_SIZE, to_u64(kernel::page::PAGE_SIZE));
    assert_eq!(1 << PAGE_SHIFT, PAGE_SIZE);
    let table = [
        (0, 0),
        (1, 1),
        (PAGE_SIZE - 1, PAGE_SIZE - 1),
        (PAGE_SIZE, 0),
        (PAGE_SIZE + 1, 1),
        (MAX, PAGE_SIZE - 1),
    ];
    for (value, offset) in table {
        assert_eq!(page_offset(value), offset, "{value:#x}");
    }
    assert!(EDGES.iter().all(|value| to_u64(to_usize(*value)) == *value));
}

/// The parts follow each other, cover the range, and no multiple of the unit is inside one of them.
#[test]
fn a_range_is_divided_at_multiples() {
    for range in ranges() {
        for unit in [1_u64, 1 << 30, 1 << 62, 1 << 63] {
            if range.len() / unit > 64 {
                continue;
            }
            let mut next = Some(range.start());
            for part in range.divided(unit) {
                assert_eq!(Some(part.start()), next, "{range:x?} by {unit:#x}");
                assert!(range.contains(&part));
                assert_eq!(part.start() / unit, part.last() / unit);
                let at_multiple = part.last() == range.last() || part.last() % unit == unit - 1;
                assert!(at_multiple, "{part:x?} of {range:x?} by {unit:#x}");
                next = part.last().checked_add(1);
            }
            assert_eq!(next, range.last().checked_add(1));
        }
    }
}
