// SPDX-License-Identifier: GPL-2.0-only

//! Where pieces end.

use proptest::prelude::{
    any,
    Strategy, //
};

use crate::{
    ioas::division::{
        Division,
        LARGEST,
        PIECE, //
    },
    tests::random::for_all, //
};

/// A phase, and the first and the last page of a range of at most so many pages and one.
fn divided(most: u64) -> impl Strategy<Value = (u64, u64, u64)> {
    (any::<u64>(), 0..=1u64 << 40, 0..=most)
        .prop_map(|(phase, first, more)| (phase, first, first + more))
}

/// The pieces of a range: the first page of each, and the one behind it. `run` tells how long the
/// contiguous memory before a page is.
fn pieces(division: Division, first: u64, last: u64, run: impl Fn(u64) -> u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let (mut begin, mut start) = (first, first);
    while start <= last {
        let next = division.piece_last(start, last) + 1;
        assert!(next > start && next - start <= PIECE);
        if next > last || !division.goes_on(next, run(next).min(next - begin)) {
            found.push((begin, next));
            begin = next;
        }
        start = next;
    }
    found
}

#[test]
fn scattered_memory_has_pieces_of_one_size() {
    for_all(500, divided(5 * PIECE), |(phase, first, last)| {
        for (_, end) in pieces(Division::new(phase), first, last, |_| PIECE - 1) {
            assert!(end == last + 1 || end.wrapping_add(phase) % PIECE == 0);
        }
    });
}

#[test]
fn contiguous_memory_has_pieces_of_the_largest_page() {
    for_all(500, divided(3 * LARGEST), |(phase, first, last)| {
        let found = pieces(Division::new(phase), first, last, |end| end);
        for (number, (_, end)) in found.iter().enumerate() {
            let whole = end.wrapping_add(phase) % LARGEST == 0;
            // Fewer pages than a piece before a border are no part of a larger page.
            let short = number == 0 && *end <= first + PIECE;
            assert!(*end == last + 1 || whole || short, "{first} {phase} {end}");
        }
    });
}

#[test]
fn a_long_run_does_not_make_later_pieces_longer() {
    // Contiguous memory, and behind it single pages.
    let run = |end: u64| if end <= 2 * PIECE { end } else { 1 };
    let found = pieces(Division::new(0), 0, 5 * PIECE - 1, run);
    let ends: Vec<u64> = found.iter().map(|(_, end)| end / PIECE).collect();
    assert_eq!(ends, [3, 4, 5]);
}

#[test]
fn no_piece_is_longer_than_the_largest_page() {
    for_all(500, divided(3 * LARGEST), |(phase, first, last)| {
        let found = Division::new(phase).longest_last(first, last);
        assert!((first..=last).contains(&found) && found - first < LARGEST);
        assert!(found == last || (found + 1).wrapping_add(phase) % LARGEST == 0);
    });
}

#[test]
fn the_last_pages_of_64_bits() {
    let division = Division::new(0);
    assert_eq!(division.piece_last(u64::MAX - 1, u64::MAX), u64::MAX);
    assert_eq!(
        division.piece_last(u64::MAX - PIECE, u64::MAX),
        u64::MAX - PIECE
    );
    assert_eq!(division.longest_last(u64::MAX - 1, u64::MAX), u64::MAX);
    assert_eq!(
        division.longest_last(u64::MAX - LARGEST, u64::MAX),
        u64::MAX - LARGEST
    );
}
