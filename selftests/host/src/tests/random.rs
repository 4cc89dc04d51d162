// SPDX-License-Identifier: GPL-2.0-only

//! Random cases, made by proptest. They are the same in each run.

use std::{
    fmt::{
        self,
        Debug,
        Formatter, //
    },
    ops::{
        Deref,
        RangeInclusive, //
    }, //
};

use proptest::{
    collection::vec,
    prelude::{
        Just,
        ProptestConfig,
        Rng,
        Strategy, //
    },
    test_runner::{
        RngAlgorithm,
        TestError,
        TestRng,
        TestRunner, //
    }, //
};

use crate::kapi::ledger;

/// Runs `test` with `count` inputs. If it fails with one, looks for the smallest that it fails with,
/// prints that, and fails as it does with that.
pub(crate) fn for_all<S: Strategy>(count: u32, inputs: S, test: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases: count * times(),
        failure_persistence: None,
        max_shrink_iters: 200_000,
        // In milliseconds.
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let result = runner.run(&inputs, |input| {
        let _forget = Forget;
        test(input);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("no input: {reason}"),
        Err(TestError::Fail(reason, input)) => {
            eprintln!("The smallest input that was found to fail: {input:?}");
            test(input);
            panic!("it does not fail again; it had failed so: {reason}");
        }
    }
}

/// Runs `test` with `count` different sources of numbers and prints the number of the one that made
/// it fail. If `HOST_TEST_CASE` is set to such a number, runs that case only.
///
/// This is for tests in which what can be done next depends on what was done before, so that of a
/// case nothing can be left out.
pub(crate) fn cases(count: u64, test: impl Fn(&mut Random)) {
    struct Case(u64);

    impl Drop for Case {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was HOST_TEST_CASE={}", self.0);
            }
        }
    }

    let only = variable("HOST_TEST_CASE");
    for number in 0..count * u64::from(times()) {
        if only.is_none_or(|only| only == number) {
            let case = Case(number);
            test(&mut Random::from(number));
            drop(case);
        }
    }
}

/// How many times as many cases as usual are run.
pub(crate) fn times() -> u32 {
    variable("HOST_TEST_TIMES").map_or(1, |times| times as u32)
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a variable for tests is no number"))
}

/// What a case that failed has left pinned is not pinned in the next one.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        if std::thread::panicking() {
            ledger::forget();
        }
    }
}

/// A source of random numbers.
pub(crate) struct Random(TestRng);

impl From<u64> for Random {
    fn from(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }
}

impl Random {
    /// Returns any 64-bit number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0.gen()
    }

    /// Returns a number of the range.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.gen_range(range)
    }

    /// Returns true with probability 1/`n`.
    pub(crate) fn one_in(&mut self, n: u32) -> bool {
        self.0.gen_ratio(1, n)
    }

    /// Returns a random element.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.0.gen_range(0..list.len())]
    }
}

/// What a function makes of random numbers. It is not made smaller.
pub(crate) fn made<T: Debug>(make: impl Fn(&mut Random) -> T) -> impl Strategy<Value = T> {
    Just(()).prop_perturb(move |(), random| make(&mut Random(random)))
}

/// What a function makes of random numbers, the list in it in hexadecimal. To make it smaller, elements
/// of the list are left out.
pub(crate) fn with_list<T: Clone + Debug, U: Clone + Debug>(
    make: impl Fn(&mut Random) -> (T, Vec<U>),
) -> impl Strategy<Value = (T, Hex<Steps<U>>)> {
    made(make).prop_flat_map(|(value, list)| {
        let is_left = vec(proptest::bool::weighted(1.0), list.len());
        (Just(value), is_left).prop_map(move |(value, is_left)| {
            let list = list.iter().zip(is_left).filter(|(_, is_left)| *is_left);
            (value, Hex(Steps(list.map(|(it, _)| it.clone()).collect())))
        })
    })
}

/// Two numbers in order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Ends {
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.numbers().contains(&number)
    }

    pub(crate) fn numbers(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }
}

impl Debug for Ends {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
    }
}

/// Any two numbers below `count`.
pub(crate) fn ends(count: u64) -> impl Strategy<Value = Ends> {
    (0..count, 0..count).prop_map(|(one, other)| Ends {
        first: one.min(other),
        last: one.max(other),
    })
}

/// At most `longest` numbers below `count`.
pub(crate) fn few(count: u64, longest: u64) -> impl Strategy<Value = Ends> {
    (0..count, 0..longest).prop_map(move |(first, more)| Ends {
        first,
        last: (count - 1).min(first + more),
    })
}

/// A list that is printed with a line for each element.
#[derive(Clone)]
pub(crate) struct Steps<T>(Vec<T>);

impl<T> Deref for Steps<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Steps<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Debug> Debug for Steps<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.0) {
            write!(f, "\n  {number}. ")?;
            step.fmt(f)?;
        }
        writeln!(f, "\n  no more")
    }
}

/// Up to `most` steps.
pub(crate) fn steps<S: Strategy>(step: S, most: usize) -> impl Strategy<Value = Steps<S::Value>> {
    vec(step, 0..=most).prop_map(Steps)
}

/// Prints numbers in hexadecimal.
#[derive(Clone, Copy)]
pub(crate) struct Hex<T>(pub(crate) T);

impl<T: Debug> Debug for Hex<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "in hex {:x?}", self.0)
    }
}
