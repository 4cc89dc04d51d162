// SPDX-License-Identifier: GPL-2.0-only

//! Atomic numbers. Those that are 32 bits wide are loom's. Those of 64 bits are used for statistics,
//! on which nothing depends.

use core::{
    marker::PhantomData,
    sync::atomic::{
        AtomicU64,
        Ordering::SeqCst, //
    }, //
};

/// Memory orderings.
pub mod ordering {
    /// Orders nothing.
    pub struct Relaxed;
    /// What follows happens after what was released.
    pub struct Acquire;

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
pub struct Atomic<T>(AtomicU64, PhantomData<T>);

impl Atomic<u64> {
    /// Returns one with that value.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value), PhantomData)
    }

    /// Returns the value.
    pub fn load<O: ordering::Ordering>(&self, _: O) -> u64 {
        self.0.load(SeqCst)
    }

    /// Adds a number and returns the value before.
    pub fn fetch_add<O: ordering::Ordering>(&self, number: u64, _: O) -> u64 {
        self.0.fetch_add(number, SeqCst)
    }

    /// Subtracts a number and returns the value before.
    pub fn fetch_sub<O: ordering::Ordering>(&self, number: u64, _: O) -> u64 {
        self.0.fetch_sub(number, SeqCst)
    }
}
