// SPDX-License-Identifier: GPL-2.0-only

//! Wrong counts of pins, charges and users are warned about.

use crate::{
    ioas::{
        segments::Segments,
        tally::Tally, //
    },
    tests::memory::{
        pages,
        Memory, //
    }, //
};

#[test]
fn what_was_added_is_taken_off() {
    let mut tally = Tally::new();
    for (more, fewer, left) in [(3, 1, 2), (0, 0, 2), (u64::MAX - 2, 2, u64::MAX - 2)] {
        tally.add(more);
        tally.sub(fewer);
        assert_eq!(tally.get(), left);
    }
    tally.sub(u64::MAX - 2);
}

#[test]
#[should_panic(expected = "a warning: left.is_none()")]
fn more_than_was_added_is_a_bug() {
    let mut tally = Tally::new();
    tally.add(2);
    tally.sub(3);
}

#[test]
#[should_panic(expected = "a warning: self.0 != 0")]
fn what_is_left_at_the_end_is_a_bug() {
    let mut tally = Tally::default();
    tally.add(1);
}

/// Segments with pages 0 to 3, which have one user.
fn four_pages() -> Segments {
    let mut segments = Segments::new();
    Memory(vec![(0, 100)])
        .pin_range(&mut segments, pages(0, 3), 20)
        .expect("nothing fails");
    segments
}

#[test]
fn pages_are_unpinned_before_their_owner_goes() {
    let mut segments = four_pages();
    assert_eq!(segments.put(pages(0, 3)).0, 4);
}

#[test]
#[should_panic(expected = "a warning: !self.map.is_empty()")]
fn pages_that_stay_pinned_are_a_bug() {
    drop(four_pages());
}

#[test]
#[should_panic(expected = "a warning: unpinned + left != range.len()")]
fn a_range_that_is_put_twice_is_a_bug() {
    let mut segments = four_pages();
    segments.put(pages(0, 3));
    segments.put(pages(0, 3));
}

#[test]
#[should_panic(expected = "a warning: segment.users == 0")]
fn another_range_than_the_users_is_a_bug() {
    let mut segments = four_pages();
    segments.get(pages(0, 3));
    segments.cut(pages(0, 1)).expect("nothing fails");
    segments.put(pages(0, 1));
}
