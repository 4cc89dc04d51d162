// SPDX-License-Identifier: GPL-2.0-only

//! Random cases that are the same in each run.

use std::ops::RangeInclusive;

/// A source of random numbers (SplitMix64).
pub(crate) struct Random(u64);

impl From<u64> for Random {
    /// Returns another source, seeded from this one.
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

impl Random {
    /// Returns any 64-bit number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of the range.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        match (last - first).checked_add(1) {
            Some(count) => first + self.number() % count,
            None => self.number(),
        }
    }

    /// Returns two numbers of the range, the smaller first.
    pub(crate) fn ends_within(&mut self, range: RangeInclusive<u64>) -> (u64, u64) {
        let (one, other) = (self.within(range.clone()), self.within(range));
        (one.min(other), one.max(other))
    }

    /// Returns true with probability 1/`n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.within(1..=n) == 1
    }

    /// Returns a random element.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.number() as usize % list.len()]
    }
}

/// Runs `test` with `count` different sources of numbers and prints the number of the one that made
/// it fail. If `HOST_TEST_CASE` is set to such a number, runs that case only.
pub(crate) fn cases(count: u64, test: impl Fn(&mut Random)) {
    struct Case(u64);

    impl Drop for Case {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was HOST_TEST_CASE={}", self.0);
            }
        }
    }

    let only = std::env::var("HOST_TEST_CASE").ok();
    let only = only.map(|text| text.parse::<u64>().expect("HOST_TEST_CASE is no number"));
    for number in 0..count {
        if only.is_none_or(|only| only == number) {
            let case = Case(number);
            test(&mut Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d)));
            drop(case);
        }
    }
}
