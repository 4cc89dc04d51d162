// SPDX-License-Identifier: GPL-2.0-only

//! Compares reserved ranges with a model that keeps a list of them.

use kernel::{
    alloc::fault,
    prelude::*, //
};

use crate::{
    ioas::reserved::Reserved,
    kapi::units::IovaRange,
    tests::random::{
        cases,
        Random, //
    }, //
};

/// The ends of ranges: at both ends of 64 bits.
const CELLS: u64 = 32;

fn address(cell: u64) -> u64 {
    if cell < CELLS / 2 {
        cell
    } else {
        u64::MAX - (CELLS - 1 - cell)
    }
}

fn random_range(random: &mut Random) -> IovaRange {
    let (first, mut last) = random.ends_within(0..=CELLS - 1);
    if random.one_in(2) {
        last = last.min(first + 3);
    }
    IovaRange::new(address(first), address(last)).expect("in order")
}

/// Returns the parts of `within` that are in no range of the list.
fn gaps(list: &[IovaRange], within: IovaRange) -> Vec<IovaRange> {
    let mut sorted: Vec<_> = list
        .iter()
        .filter_map(|range| range.intersection(&within))
        .collect();
    sorted.sort_unstable_by_key(|range| range.start());
    let mut gaps = Vec::new();
    let mut from = Some(within.start());
    for range in sorted {
        let Some(start) = from else { break };
        let gap = range
            .start()
            .checked_sub(1)
            .and_then(|last| IovaRange::new(start, last));
        gaps.extend(gap);
        from = range.last().checked_add(1).map(|end| end.max(start));
    }
    gaps.extend(from.and_then(|start| IovaRange::new(start, within.last())));
    gaps
}

fn compare(reserved: &mut Reserved, list: &[IovaRange], random: &mut Random) {
    assert_eq!(
        reserved.gaps(IovaRange::ALL).collect::<Vec<_>>(),
        gaps(list, IovaRange::ALL),
        "{list:x?}"
    );
    for _ in 0..4 {
        let within = random_range(random);
        let expected = gaps(list, within);
        let longest = expected.iter().map(IovaRange::len).max().unwrap_or(0);
        let conflicts = list
            .iter()
            .any(|range| range.intersection(&within).is_some());
        assert_eq!(
            reserved.conflict(within).is_some(),
            conflicts,
            "{within:x?} in {list:x?}"
        );
        assert_eq!(
            reserved.room().largest_gap(within),
            longest,
            "{within:x?} in {list:x?}"
        );

        let least = random.within(1..=6);
        let found: Vec<_> = reserved.room().gaps(within, least).collect();
        assert!(
            found.iter().all(|gap| expected.contains(gap)),
            "{within:x?} in {list:x?}"
        );
        let enough = expected.iter().filter(|gap| gap.len() >= least);
        let left_out = enough.filter(|gap| !found.contains(gap));
        assert_eq!(left_out.count(), 0, "{within:x?} in {list:x?}");
    }
}

#[test]
fn a_range_is_reserved_while_it_has_a_user() {
    cases(1500, |random| {
        let mut reserved = Reserved::new();
        let mut list: Vec<IovaRange> = Vec::new();

        for _ in 0..40 {
            match random.within(0..=9) {
                0..=3 => {
                    let range = random_range(random);
                    assert_eq!(reserved.add(range), Ok(()));
                    list.push(range);
                }
                4..=5 if !list.is_empty() => {
                    // The same range again.
                    let range = *random.pick(&list);
                    let (result, failed) = fault::failing(0, || reserved.add(range));
                    assert_eq!(
                        (result, failed),
                        (Ok(()), false),
                        "a range costs memory once"
                    );
                    list.push(range);
                }
                6..=8 if !list.is_empty() => {
                    let at = random.within(0..=list.len() as u64 - 1) as usize;
                    let range = list.swap_remove(at);
                    let ((), failed) = fault::failing(0, || reserved.remove(range));
                    assert!(!failed, "giving back needs no memory");
                }
                _ => {
                    let range = random_range(random);
                    let (result, failed) = fault::failing(random.within(0..=3), || {
                        reserved.add(range) //
                    });
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                    if !failed {
                        list.push(range);
                    }
                }
            }
            compare(&mut reserved, &list, random);
        }
        while let Some(range) = list.pop() {
            reserved.remove(range);
        }
        assert_eq!(
            reserved.gaps(IovaRange::ALL).collect::<Vec<_>>(),
            [IovaRange::ALL]
        );
        assert_eq!(reserved.pieces(), 0);
    });
}

#[test]
fn what_is_kept_depends_on_the_present_ranges_only() {
    cases(500, |random| {
        let ranges: Vec<_> = (0..6).map(|_| random_range(random)).collect();
        let (mut once, mut often) = (Reserved::new(), Reserved::new());
        for range in &ranges[..3] {
            once.add(*range).expect("nothing fails");
        }
        for range in &ranges {
            often.add(*range).expect("nothing fails");
        }
        for range in &ranges[3..] {
            often.remove(*range);
        }
        assert_eq!(once.pieces(), often.pieces(), "{ranges:x?}");
    });
}

#[test]
fn many_devices_with_one_window_cost_one_piece() {
    let mut reserved = Reserved::new();
    let window = IovaRange::new(0xfee0_0000, 0xfeef_ffff).expect("in order");
    let before = fault::tried();
    for _ in 0..4096 {
        reserved.add(window).expect("nothing fails");
    }
    assert_eq!((reserved.pieces(), fault::tried() - before), (1, 1));
    for left in (0..4096).rev() {
        assert_eq!(reserved.conflict(window), Some(window));
        reserved.remove(window);
        assert_eq!(reserved.conflict(window).is_some(), left != 0);
    }
}
