// SPDX-License-Identifier: GPL-2.0-only

//! Counts allocations and makes them fail. The state is per thread, and each test runs in a thread
//! of its own.

use core::cell::Cell;

use crate::alloc::AllocError;

std::thread_local! {
    static TRIED: Cell<u64> = const { Cell::new(0) };
    /// How many more allocations succeed.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// How many allocations this thread has tried.
pub fn tried() -> u64 {
    TRIED.get()
}

/// Runs `f` with its allocation number `nth`, counted from 0, failing. Returns the result of `f`
/// and whether an allocation failed, so that a test can try each allocation of `f` in turn.
pub fn failing<T>(nth: u64, f: impl FnOnce() -> T) -> (T, bool) {
    /// Disarms the failure, also if `f` panics.
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

/// Counts one allocation and returns whether it succeeds.
pub fn allocate() -> Result<(), AllocError> {
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
