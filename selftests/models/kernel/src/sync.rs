// SPDX-License-Identifier: GPL-2.0-only

//! Locks and reference counts.

pub mod aref;
pub mod atomic;

use core::ops::{
    Deref,
    DerefMut, //
};

use crate::{
    alloc::{
        fault,
        AllocError,
        Flags, //
    },
    error::Error,
    init::{
        By,
        PinInit, //
    }, //
};

use atomic::Count;

/// A value that one task at a time uses.
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// The stand-in has no interrupts, so this is the same.
pub type SpinLock<T> = Mutex<T>;

/// The right to use the value of a [`Mutex`].
pub struct MutexGuard<'a, T> {
    guard: loom::sync::MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
}

impl<'a, T> MutexGuard<'a, T> {
    /// Returns the lock.
    pub fn lock_ref(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Mutex<T> {
    /// Returns an initialiser of a lock that is free.
    pub fn new(value: T) -> impl PinInit<Self> {
        By(move || Ok(Self(loom::sync::Mutex::new(value))))
    }

    /// Waits until the lock is free, and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            guard: self.0.lock().expect("no holder of a lock panics"),
            mutex: self,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(MutexGuard {
            guard: self.0.try_lock().ok()?,
            mutex: self,
        })
    }
}

/// An initialiser of a lock with a name.
#[macro_export]
macro_rules! new_mutex {
    ($value:expr, $name:literal) => {
        $crate::sync::Mutex::new($value)
    };
}

/// An initialiser of a lock with a name.
#[macro_export]
macro_rules! new_spinlock {
    ($value:expr, $name:literal) => {
        $crate::sync::SpinLock::new($value)
    };
}

/// Something that happens once, for which tasks wait.
pub struct Completion {
    done: loom::sync::Mutex<bool>,
    completed: loom::sync::Condvar,
}

impl Completion {
    /// Returns an initialiser of one that has not happened.
    pub fn new() -> impl PinInit<Self, Error> {
        By(|| {
            Ok(Self {
                done: loom::sync::Mutex::new(false),
                completed: loom::sync::Condvar::new(),
            })
        })
    }

    /// It happens. Wakes every task that waits.
    pub fn complete_all(&self) {
        *self.done.lock().expect("no holder of a lock panics") = true;
        self.completed.notify_all();
    }

    /// Waits until it has happened.
    pub fn wait_for_completion(&self) {
        let mut done = self.done.lock().expect("no holder of a lock panics");
        while !*done {
            done = self
                .completed
                .wait(done)
                .expect("no holder of a lock panics");
        }
    }
}

/// A counted reference. Its count is not looked at by what is modelled, so it is not loom's.
pub struct Arc<T: ?Sized>(std::sync::Arc<T>);

impl<T> Arc<T> {
    /// Allocates a value.
    pub fn new(value: T, _flags: Flags) -> Result<Self, AllocError> {
        fault::allocate()?;
        Ok(Self(std::sync::Arc::new(value)))
    }

    /// Allocates a value, and has it initialised.
    pub fn pin_init<E: From<AllocError>>(
        init: impl PinInit<T, E>,
        _flags: Flags,
    ) -> Result<Self, E> {
        fault::allocate()?;
        Ok(Self(std::sync::Arc::new(init.make()?)))
    }
}

impl<T: ?Sized> Arc<T> {
    /// Whether two references are to the same value.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T: ?Sized> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A count of references, with the memory orderings of the kernel's `refcount_t`.
pub struct Refcount(Count);

impl Refcount {
    /// Returns a count.
    pub fn new(count: i32) -> Self {
        Self(Count::new(count))
    }

    /// Returns the number, to be read.
    pub fn as_atomic(&self) -> &Count {
        &self.0
    }

    /// Counts one more.
    pub fn inc(&self) {
        let before = self
            .0
            .raw()
            .fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
        assert!(before > 0, "a reference is made of none");
    }

    /// Counts one less. Whether it was the last one.
    pub fn dec_and_test(&self) -> bool {
        let before = self
            .0
            .raw()
            .fetch_sub(1, loom::sync::atomic::Ordering::Release);
        assert!(before > 0, "a reference is dropped that is not there");
        if before == 1 {
            loom::sync::atomic::fence(loom::sync::atomic::Ordering::Acquire);
        }
        before == 1
    }
}
