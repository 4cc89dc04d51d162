// SPDX-License-Identifier: GPL-2.0-only

//! Atomic numbers. Counts of references are loom's. The others are used for statistics, on which
//! nothing depends, and for what changes under a lock that is modelled.

use core::ops::{
    Add,
    Sub, //
};
use std::sync::Mutex;

/// Memory orderings.
pub mod ordering {
    /// Orders nothing.
    pub struct Relaxed;
    /// What follows happens after what was released.
    pub struct Acquire;
    /// What came before happens before what acquires it.
    pub struct Release;
    /// What came before happens before what follows.
    pub struct Full;

    /// A memory ordering.
    pub trait Ordering {
        /// The ordering as loom has it.
        const IS: loom::sync::atomic::Ordering;
    }

    impl Ordering for Relaxed {
        const IS: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Relaxed;
    }

    impl Ordering for Acquire {
        const IS: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Acquire;
    }

    impl Ordering for Release {
        const IS: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::Release;
    }

    impl Ordering for Full {
        const IS: loom::sync::atomic::Ordering = loom::sync::atomic::Ordering::SeqCst;
    }
}

/// A number of 32 bits that is a count of references.
pub struct Count(loom::sync::atomic::AtomicI32);

impl Count {
    /// Returns one with that value.
    pub fn new(value: i32) -> Self {
        Self(loom::sync::atomic::AtomicI32::new(value))
    }

    /// Returns the value.
    pub fn load<O: ordering::Ordering>(&self, _: O) -> i32 {
        self.0.load(O::IS)
    }

    pub(super) fn raw(&self) -> &loom::sync::atomic::AtomicI32 {
        &self.0
    }
}

/// A number that several tasks use.
pub struct Atomic<T>(Mutex<T>);

impl<T> Atomic<T> {
    /// Returns one with that value.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn update(&self, f: impl FnOnce(T) -> T) -> T
    where
        T: Copy,
    {
        let mut value = self.0.lock().expect("no holder panics");
        let before = *value;
        *value = f(before);
        before
    }
}

impl<T: Copy> Atomic<T> {
    /// Returns the value.
    pub fn load<O: ordering::Ordering>(&self, _: O) -> T {
        self.update(|value| value)
    }

    /// Replaces the value.
    pub fn store<O: ordering::Ordering>(&self, value: T, _: O) {
        self.update(|_| value);
    }

    /// Returns the value, which nobody else uses.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect("no holder panics")
    }
}

impl<T: Copy + Add<Output = T> + Sub<Output = T>> Atomic<T> {
    /// Adds a number.
    pub fn add<O: ordering::Ordering>(&self, number: T, _: O) {
        self.update(|value| value + number);
    }

    /// Adds a number and returns the value before.
    pub fn fetch_add<O: ordering::Ordering>(&self, number: T, _: O) -> T {
        self.update(|value| value + number)
    }

    /// Subtracts a number and returns the value before.
    pub fn fetch_sub<O: ordering::Ordering>(&self, number: T, _: O) -> T {
        self.update(|value| value - number)
    }
}
