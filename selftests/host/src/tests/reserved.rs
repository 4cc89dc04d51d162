// SPDX-License-Identifier: GPL-2.0-only

//! Compares reserved ranges with a model that keeps a list of them.

use kernel::{
    alloc::fault,
    prelude::*, //
};
use proptest::{
    array::uniform6,
    prelude::Strategy,
    prop_oneof, //
};

use crate::{
    ioas::reserved::Reserved,
    kapi::units::IovaRange,
    tests::random::{
        ends,
        few,
        for_all,
        steps,
        Ends, //
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

fn range_of(cells: Ends) -> IovaRange {
    IovaRange::new(address(cells.first), address(cells.last)).expect("in order")
}

fn any_cells() -> impl Strategy<Value = Ends> {
    prop_oneof![few(CELLS, 4), ends(CELLS)]
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

/// Compares what is said of a part, and which gaps of a length are found in it.
fn compare(reserved: &mut Reserved, list: &[IovaRange], within: IovaRange, least: u64) {
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

    let found: Vec<_> = reserved.room().gaps(within, least).collect();
    assert!(
        found.iter().all(|gap| expected.contains(gap)),
        "{within:x?} in {list:x?}"
    );
    let enough = expected.iter().filter(|gap| gap.len() >= least);
    let left_out = enough.filter(|gap| !found.contains(gap));
    assert_eq!(left_out.count(), 0, "{within:x?} in {list:x?}");
}

/// Users of ranges are counted from the first one on, and from there again.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add(Ends),
    AddThatOf { user: usize },
    Remove { user: usize },
    AddAndFail { cells: Ends, allocation: u64 },
    LookAt { cells: Ends, least: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_cells().prop_map(Step::Add),
        2 => (0..20usize).prop_map(|user| Step::AddThatOf { user }),
        3 => (0..20usize).prop_map(|user| Step::Remove { user }),
        1 => (any_cells(), 0..=3u64)
            .prop_map(|(cells, allocation)| Step::AddAndFail { cells, allocation }),
        30 => (any_cells(), 1..=6u64).prop_map(|(cells, least)| Step::LookAt { cells, least }),
    ]
}

#[test]
fn a_range_is_reserved_while_it_has_a_user() {
    for_all(2000, steps(any_step(), 240), |steps| {
        let mut reserved = Reserved::new();
        let mut list: Vec<IovaRange> = Vec::new();

        for step in steps {
            match step {
                Step::Add(cells) => {
                    let range = range_of(cells);
                    assert_eq!(reserved.add(range), Ok(()));
                    list.push(range);
                }
                Step::AddThatOf { user } if !list.is_empty() => {
                    let range = list[user % list.len()];
                    let (result, failed) = fault::failing(0, || reserved.add(range));
                    assert_eq!(
                        (result, failed),
                        (Ok(()), false),
                        "a range costs memory once"
                    );
                    list.push(range);
                }
                Step::Remove { user } if !list.is_empty() => {
                    let range = list.swap_remove(user % list.len());
                    let ((), failed) = fault::failing(0, || reserved.remove(range));
                    assert!(!failed, "giving back needs no memory");
                }
                Step::AddThatOf { .. } | Step::Remove { .. } => continue,
                Step::AddAndFail { cells, allocation } => {
                    let range = range_of(cells);
                    let (result, failed) = fault::failing(allocation, || reserved.add(range));
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                    if !failed {
                        list.push(range);
                    }
                }
                Step::LookAt { cells, least } => {
                    compare(&mut reserved, &list, range_of(cells), least);
                    continue;
                }
            }
            assert_eq!(
                reserved.gaps(IovaRange::ALL).collect::<Vec<_>>(),
                gaps(&list, IovaRange::ALL),
                "{list:x?}"
            );
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
    for_all(500, uniform6(any_cells()), |cells| {
        let ranges = cells.map(range_of);
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
