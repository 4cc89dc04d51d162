// SPDX-License-Identifier: GPL-2.0-only

//! Compares `ioas/alignments.rs` with a list of all users.

use crate::{
    ioas::alignments::Alignments,
    kapi::units::PAGE_SHIFT,
    tests::random::cases, //
};

#[test]
fn the_largest_of_all_users_is_found() {
    cases(500, |random| {
        let mut alignments = Alignments::new();
        let mut users = Vec::new();
        for _ in 0..random.within(1..=40) {
            if users.is_empty() || random.one_in(2) {
                let alignment = 1_u64 << random.within(0..=PAGE_SHIFT.into());
                users.push(alignment);
                alignments.add(alignment);
            } else {
                let place = random.within(0..=users.len() as u64 - 1);
                alignments.remove(users.swap_remove(place as usize));
            }
            let largest = users.iter().copied().max();
            assert_eq!(alignments.largest(), largest.unwrap_or(1), "{users:x?}");
        }
    });
}
