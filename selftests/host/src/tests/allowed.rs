// SPDX-License-Identifier: GPL-2.0-only

//! Adds ranges in any order, and compares with a set that has an element for each address.

use proptest::collection::vec;

use crate::{
    ioas::{
        allowed::Allowed,
        interval::Vacancy,
        reserved::Reserved, //
    },
    kapi::units::IovaRange,
    tests::random::{
        few,
        for_all,
        steps,
        Ends, //
    }, //
};

const END: u64 = 64;

fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(start, last).expect("in order")
}

fn add(allowed: &mut Allowed, start: u64, last: u64) -> bool {
    let vacancy = Vacancy::new().expect("nothing fails");
    allowed.add(vacancy, range(start, last)).is_ok()
}

fn listed(allowed: &Allowed) -> Vec<(u64, u64)> {
    let ranges = allowed.iter_in(range(0, u64::MAX));
    ranges.map(|range| (range.start(), range.last())).collect()
}

#[test]
fn ranges_that_meet_are_one() {
    let mut allowed = Allowed::new();
    assert!(allowed.is_empty());
    assert!(add(&mut allowed, 10, 19));
    assert!(add(&mut allowed, 30, 39));
    assert_eq!(listed(&allowed), [(10, 19), (30, 39)]);
    assert!(add(&mut allowed, 20, 29));
    assert!(add(&mut allowed, 0, 9));
    assert!(add(&mut allowed, 40, u64::MAX));
    assert_eq!(listed(&allowed), [(0, u64::MAX)]);
    assert!(!add(&mut allowed, 15, 15));
}

#[test]
fn ranges_are_runs_of_what_was_added() {
    let inputs = (steps(few(END, 7), 40), vec(few(END, 5), 0..=6));
    for_all(2000, inputs, |(pieces, reserved)| {
        let mut allowed = Allowed::new();
        let mut set = [false; END as usize + 2];
        for piece in pieces {
            let part = &mut set[piece.first as usize..=piece.last as usize];
            let disjoint = part.iter().all(|there| !there);
            assert_eq!(add(&mut allowed, piece.first, piece.last), disjoint);
            if disjoint {
                part.fill(true);
            }
        }
        let mut runs = Vec::new();
        let mut begin = None;
        for (at, there) in set.iter().enumerate() {
            match (begin, there) {
                (None, true) => begin = Some(at as u64),
                (Some(start), false) => {
                    runs.push((start, at as u64 - 1));
                    begin = None;
                }
                _ => (),
            }
        }
        assert_eq!(listed(&allowed), runs);
        conflicts(&reserved, &allowed, &set);
    });
}

/// Looks for the first address that is allowed and reserved.
fn conflicts(pieces: &[Ends], allowed: &Allowed, set: &[bool]) {
    let mut reserved = Reserved::new();
    for piece in pieces {
        let added = reserved.add(range(piece.first, piece.last));
        added.expect("nothing fails");
    }
    let both = |at: &u64| set[*at as usize] && reserved.conflict(IovaRange::at(*at)).is_some();
    let first = (0..END).find(both);
    let piece = first.and_then(|at| reserved.conflict(IovaRange::at(at)));
    let found = allowed.conflict(&reserved);
    assert_eq!(found.map(|p| p.start()), piece.map(|p| p.start()));
}
