// SPDX-License-Identifier: GPL-2.0-only

//! Compares the number of entries with a walk that makes one after the other.

use crate::{
    ioas::leaves::leaves,
    tests::random::cases, //
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

#[test]
fn as_many_as_a_walk_makes() {
    for sizes in [
        0x1000,
        0x4020_1000,
        0x20_1000,
        0x7_ffff_f000,
        0x4020_0000_1000,
    ] {
        cases(20_000, |random| {
            let page = |random: &mut crate::tests::random::Random, most| {
                // Often aligned to something large.
                let shift = random.within(0..=20);
                (random.within(0..=most) >> shift << shift) << 12
            };
            let (iova, phys) = (page(random, 1 << 22), page(random, 1 << 22));
            let length = (1 + random.within(0..=5000)) << 12;
            assert_eq!(
                counted(iova, phys, length, sizes),
                walk(iova, phys, length, sizes)
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
