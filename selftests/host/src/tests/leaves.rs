// SPDX-License-Identifier: GPL-2.0-only

//! Compares the number of entries with a walk that makes one after the other.

use proptest::prelude::Strategy;

use crate::{
    ioas::leaves::leaves,
    tests::random::{
        for_all,
        Hex, //
    }, //
};

/// Returns the numbers of entries by the logarithm of their size, of a walk.
fn walk(iova: u64, phys: u64, length: u64, sizes: u64) -> [u64; 64] {
    let mut counts = [0; 64];
    let mut done = 0;
    while done < length {
        let both = iova.wrapping_add(done) | phys.wrapping_add(done);
        let fits = |bit: &u32| {
            let size = 1_u64 << bit;
            sizes & size != 0 && both % size == 0 && size <= length - done
        };
        let Some(bit) = (0..64).rev().find(fits) else {
            break;
        };
        counts[bit as usize] += 1;
        done += 1 << bit;
    }
    counts
}

fn counted(iova: u64, phys: u64, length: u64, sizes: u64) -> [u64; 64] {
    let mut counts = [0; 64];
    leaves(iova, phys, length, sizes, |size, count| {
        assert!(size.is_power_of_two() && count != 0);
        counts[size.trailing_zeros() as usize] += count;
    });
    counts
}

/// The address of a page below 16 GiB, often aligned to something large.
fn page() -> impl Strategy<Value = Hex<u64>> {
    (0..=20u32, 0..=1u64 << 22).prop_map(|(shift, page)| Hex((page >> shift << shift) << 12))
}

#[test]
fn as_many_as_a_walk_makes() {
    for sizes in [
        0x1000,
        0x4020_1000,
        0x20_1000,
        0x7_ffff_f000,
        0x4020_0000_1000,
    ] {
        let length = (1..=5001u64).prop_map(|pages| Hex(pages << 12));
        let inputs = (page(), page(), length);
        for_all(20_000, inputs, |(Hex(iova), Hex(phys), Hex(length))| {
            assert_eq!(
                counted(iova, phys, length, sizes),
                walk(iova, phys, length, sizes),
                "sizes {sizes:#x}"
            );
        });
    }
}

#[test]
fn at_the_end_of_the_address_space() {
    let (iova, length) = (u64::MAX - (3 << 20) + 1, 3 << 20);
    let counts = counted(iova, 1 << 20, length, 0x4020_1000);
    assert_eq!((counts[12], counts[21]), (256, 1));
}
