// SPDX-License-Identifier: GPL-2.0-only

//! Compares `ioas/alignments.rs` with a list of all users.

use proptest::{
    prelude::Strategy,
    prop_oneof, //
};

use crate::{
    ioas::alignments::Alignments,
    kapi::units::PAGE_SHIFT,
    tests::random::{
        for_all,
        steps, //
    }, //
};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The logarithm of an alignment.
    Add(u32),
    /// The place among those that are there, which are counted again from the first.
    Remove(usize),
}

#[test]
fn the_largest_of_all_users_is_found() {
    let step = prop_oneof![
        (0..=PAGE_SHIFT).prop_map(Step::Add),
        (0..20usize).prop_map(Step::Remove),
    ];
    for_all(500, steps(step, 40), |steps| {
        let mut alignments = Alignments::new();
        let mut users = Vec::new();
        for step in steps {
            match step {
                Step::Add(shift) => {
                    users.push(1_u64 << shift);
                    alignments.add(1 << shift);
                }
                Step::Remove(place) if !users.is_empty() => {
                    alignments.remove(users.swap_remove(place % users.len()));
                }
                Step::Remove(_) => {}
            }
            let largest = users.iter().copied().max();
            assert_eq!(alignments.largest(), largest.unwrap_or(1), "{users:x?}");
        }
    });
}
