// SPDX-License-Identifier: GPL-2.0-only

//! Segments over six pages, of which users pin ranges. With two users that is every case that there is: how the
//! pages lie in memory, any two ranges, a cut of one of them at any place or none, and all orders in which the
//! users go. With three it is any three ranges and all orders, in 4 of the 32 ways in which the pages may lie, and
//! without a cut. After each step a page is pinned once if it has a user, and else not, and segments do not overlap.
//! `small_areas.rs` has areas of an address space besides.

use crate::{
    ioas::segments::Segments,
    kapi::ledger,
    tests::{
        memory::{
            pages,
            Memory, //
        },
        segments::fresh, //
    }, //
};

pub(super) const PAGES: u64 = 6;

pub(super) type Range = (u64, u64);

/// All ranges of pages.
pub(super) fn ranges() -> Vec<Range> {
    let ends = |first| (first..PAGES).map(move |last| (first, last));
    (0..PAGES).flat_map(ends).collect()
}

/// Memory in which page N + 1 follows page N if bit N is set.
pub(super) fn layout(bits: u64) -> Memory {
    let mut runs = vec![(0, 100)];
    for index in 1..PAGES {
        if bits >> (index - 1) & 1 == 0 {
            runs.push((index, 100 + 10 * index));
        }
    }
    Memory(runs)
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for order in orders(count - 1) {
        for at in 0..count {
            let mut longer = order.clone();
            longer.insert(at, count - 1);
            all.push(longer);
        }
    }
    all
}

pub(super) fn check(segments: &Segments, memory: &Memory, users: &[Range]) {
    let held = |index: &u64| {
        users
            .iter()
            .any(|(first, last)| (first..=last).contains(&index))
    };
    let count = (0..PAGES).filter(held).count() as u64;
    assert_eq!(
        (segments.pinned(), ledger::total()),
        (count, count),
        "{users:?}"
    );
    let mut next = 0;
    for (range, _) in segments.lists() {
        assert!(range.start() >= next, "{users:?}");
        next = range.last() + 1;
    }
    for index in 0..PAGES {
        let found = segments
            .extents_in(pages(index, index))
            .map(|(first, extent)| extent.pfn() + (index - first))
            .next();
        let expected = held(&index).then_some(memory.pfn(index));
        assert_eq!(found, expected, "page {index} of {users:?}");
    }
}

/// Pins the ranges, divides the last one if that is asked for, and unpins in that order.
fn go(memory: &Memory, users: &[Range], cut: Option<u64>, order: &[usize]) {
    let mut segments = fresh();
    let mut left: Vec<Range> = Vec::new();
    for &(first, last) in users {
        memory
            .pin_range(&mut segments, pages(first, last), PAGES)
            .expect("nothing fails");
        left.push((first, last));
        check(&segments, memory, &left);
    }
    if let Some(page) = cut {
        segments.divide(page).expect("nothing fails");
        let (first, last) = left.pop().expect("there is one to be cut");
        left.extend([(first, page - 1), (page, last)]);
        check(&segments, memory, &left);
    }
    let all = left;
    for gone in 0..order.len() {
        let (first, last) = all[order[gone]];
        segments.put(pages(first, last));
        let left: Vec<Range> = order[gone + 1..].iter().map(|&user| all[user]).collect();
        check(&segments, memory, &left);
    }
    assert_eq!(segments.lists().count(), 0);
}

#[test]
fn two_users_and_a_cut_over_six_pages() {
    let (whole, halves) = (orders(2), orders(3));
    for bits in 0..1 << (PAGES - 1) {
        let memory = layout(bits);
        for first in ranges() {
            for second in ranges() {
                for order in &whole {
                    go(&memory, &[first, second], None, order);
                }
                for page in second.0 + 1..=second.1 {
                    for order in &halves {
                        go(&memory, &[first, second], Some(page), order);
                    }
                }
            }
        }
    }
}

#[test]
fn three_users_over_six_pages() {
    let orders = orders(3);
    // Scattered, contiguous, and two kinds of pairs.
    for memory in [0, 0b11111, 0b10101, 0b01010].map(layout) {
        for first in ranges() {
            for second in ranges() {
                for third in ranges() {
                    for order in &orders {
                        go(&memory, &[first, second, third], None, order);
                    }
                }
            }
        }
    }
}
