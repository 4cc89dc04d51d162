// SPDX-License-Identifier: GPL-2.0-only

//! Counting allocations and making them fail. All of it is per thread, and each test has one.

use core::cell::Cell;

use crate::alloc::AllocError;

std::thread_local! {
    static TRIED: Cell<u64> = const { Cell::new(0) };
    /// How many more allocations go well.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// How many allocations this thread has tried.
pub fn tried() -> u64 {
    TRIED.get()
}

/// Runs `f` while its allocation number `nth`, counted from 0, fails. Says as well whether there
/// was one, so that `f` can be tried with every failure that it can meet.
pub fn failing<T>(nth: u64, f: impl FnOnce() -> T) -> (T, bool) {
    /// Ends the failure also where `f` panics.
    struct Disarm;

    impl Drop for Disarm {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }

    let disarm = Disarm;
    let before = tried();
    LEFT.set(Some(nth));
    let value = f();
    drop(disarm);
    (value, tried() - before > nth)
}

/// One allocation: whether it goes well.
pub(crate) fn allocate() -> Result<(), AllocError> {
    TRIED.set(TRIED.get() + 1);
    match LEFT.get() {
        Some(0) => {
            LEFT.set(None);
            Err(AllocError)
        }
        left => {
            LEFT.set(left.map(|n| n - 1));
            Ok(())
        }
    }
}
