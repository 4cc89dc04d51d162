// SPDX-License-Identifier: GPL-2.0-only

//! Address spaces, of which a model needs what is charged to them, and their mmap lock.

use core::mem;
use std::sync;

use loom::sync::{
    atomic::{
        AtomicUsize,
        Ordering::SeqCst, //
    },
    Mutex, //
};

/// A reference to an address space.
#[derive(Clone)]
pub struct Mm(sync::Arc<Space>);

struct Space {
    /// The mmap lock.
    lock: Mutex<()>,
    /// A thread changes this before it takes the lock, and one that takes time with it changes this again
    /// before it releases it. So there are orders in which others find the lock taken.
    turn: AtomicUsize,
    /// It has no order of its own: who changes it has a lock, or can do so at any time.
    locked: sync::Mutex<Locked>,
    limit: u64,
}

/// Numbers of pages that are charged.
#[derive(Default)]
struct Locked {
    now: u64,
    /// Of these, those that are to be uncharged by who takes the mmap lock next.
    fewer: u64,
}

impl Mm {
    /// Makes one to which so many pages can be charged.
    pub fn new(limit: u64) -> Self {
        Self(sync::Arc::new(Space {
            lock: Mutex::new(()),
            turn: AtomicUsize::new(0),
            locked: sync::Mutex::default(),
            limit,
        }))
    }

    /// Returns an address that identifies it.
    pub fn as_raw(&self) -> *const () {
        sync::Arc::as_ptr(&self.0).cast()
    }

    /// Calls `f` with the mmap lock, if need be after others have released it.
    pub fn with_lock<R>(&self, f: impl FnOnce() -> R) -> R {
        self.0.turn.fetch_add(1, SeqCst);
        let guard = self.0.lock.lock().expect("no holder panics");
        let result = f();
        self.0.turn.fetch_add(1, SeqCst);
        drop(guard);
        result
    }

    /// Calls `f` with the mmap lock if it is free.
    pub fn try_with_lock<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        self.0.turn.fetch_add(1, SeqCst);
        let guard = self.0.lock.try_lock().ok()?;
        let result = f();
        drop(guard);
        Some(result)
    }

    /// Returns how many pages can be charged.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    fn numbers(&self) -> sync::MutexGuard<'_, Locked> {
        self.0.locked.lock().expect("no holder panics")
    }

    /// Returns how many pages are charged, but for those that are to be uncharged.
    pub fn locked(&self) -> u64 {
        let locked = self.numbers();
        locked.now - locked.fewer
    }

    /// Charges pages, unless that exceeds the limit.
    pub fn add_locked(&self, npages: u64) -> bool {
        let mut locked = self.numbers();
        let fits = locked.now + npages <= self.0.limit;
        locked.now += if fits { npages } else { 0 };
        fits
    }

    /// Has pages be uncharged by [`Mm::settle`].
    pub fn sub_locked(&self, npages: u64) {
        let mut locked = self.numbers();
        locked.fewer += npages;
        assert!(locked.fewer <= locked.now, "pages are charged");
    }

    /// Uncharges what is to be.
    pub fn settle(&self) {
        let mut locked = self.numbers();
        locked.now -= mem::take(&mut locked.fewer);
    }
}
