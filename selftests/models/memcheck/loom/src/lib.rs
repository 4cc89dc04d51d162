// SPDX-License-Identifier: GPL-2.0-only

//! A stand-in for loom, whose threads and locks are those of the standard library. A model runs in some
//! orders, as they happen.

pub use std::thread_local;

/// Locks and atomic numbers.
pub mod sync {
    pub use std::sync::{
        atomic,
        Condvar,
        Mutex,
        MutexGuard,
        RwLock,
        RwLockReadGuard,
        RwLockWriteGuard, //
    };
}

/// Threads.
pub mod thread {
    pub use std::thread::{
        spawn,
        yield_now,
        JoinHandle, //
    };
}

/// Memory that one thread at a time writes.
pub mod cell {
    /// Memory, of which nothing is checked.
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Makes a cell.
        pub fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `f` with the address, to be read.
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with the address, to be written.
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

/// Running models.
pub mod model {
    /// How often a model runs.
    const TIMES: usize = 100;

    /// Runs a model. Has the fields of loom's builder, which models set, and ignores both.
    pub struct Builder {
        pub preemption_bound: Option<usize>,
        pub max_branches: usize,
    }

    impl Builder {
        /// Makes one.
        #[expect(
            clippy::new_without_default,
            reason = "loom's has one, which no model uses"
        )]
        pub fn new() -> Self {
            Self {
                preemption_bound: None,
                max_branches: 0,
            }
        }

        /// Runs a model.
        pub fn check(&self, model: impl Fn() + Sync + Send + 'static) {
            (0..TIMES).for_each(|_| model());
        }
    }
}
