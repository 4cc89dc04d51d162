// SPDX-License-Identifier: GPL-2.0-only

//! State that objects of a context share by number. The last user drops it.

use std::sync::{
    atomic::{
        AtomicU32,
        Ordering::SeqCst, //
    },
    Arc, //
};

use kernel::prelude::*;
use loom::cell::UnsafeCell;

use crate::{
    object::Registry,
    tests::{
        at_once,
        every_order, //
    }, //
};

const KEY: u64 = 7;

/// What was made and dropped.
#[derive(Clone, Default)]
struct Counts {
    made: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
}

/// A value whose memory is read by its users, and written when it is dropped.
struct Value {
    memory: UnsafeCell<u32>,
    dropped: Arc<AtomicU32>,
}

// SAFETY: Loom checks that nothing reads the memory while it is written.
unsafe impl Send for Value {}
// SAFETY: Loom checks that nothing reads the memory while it is written.
unsafe impl Sync for Value {}

impl Value {
    fn make(counts: &Counts) -> Result<Self> {
        counts.made.fetch_add(1, SeqCst);
        Ok(Self {
            memory: UnsafeCell::new(5),
            dropped: counts.dropped.clone(),
        })
    }

    fn touch(&self) {
        // SAFETY: The cell is there as long as the value.
        assert_eq!(self.memory.with(|memory| unsafe { *memory }), 5);
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: The cell is there until the end of the drop.
        self.memory.with_mut(|memory| unsafe { *memory = 0 });
        self.dropped.fetch_add(1, SeqCst);
    }
}

/// Of two users that release a value at once one removes it, and the registry has no value then.
#[test]
fn the_last_release_removes_a_value() {
    every_order(None, || {
        let registry = Arc::new(Registry::new().make().unwrap());
        let (other, counts) = (registry.clone(), Counts::default());
        let get = || registry.get_or_make(KEY, || Value::make(&counts)).unwrap();
        let (first, second) = (get(), get());
        at_once!(
            move || {
                second.touch();
                other.release(KEY, second);
            };
            || {
                first.touch();
                registry.release(KEY, first);
            }
        );
        assert!(!registry.any::<Value>(|_| true));
        assert_eq!(counts.made.load(SeqCst), 1);
        assert_eq!(counts.dropped.load(SeqCst), 1);
    });
}

/// A user comes while the last one goes: it gets the value, or another one, and none stays.
#[test]
fn a_user_comes_while_the_last_one_goes() {
    every_order(None, || {
        let registry = Arc::new(Registry::new().make().unwrap());
        let (other, counts) = (registry.clone(), Counts::default());
        let theirs = counts.clone();
        let first = registry.get_or_make(KEY, || Value::make(&counts)).unwrap();
        at_once!(
            move || {
                let value = other.get_or_make(KEY, || Value::make(&theirs)).unwrap();
                value.touch();
                other.release(KEY, value);
            };
            || {
                first.touch();
                registry.release(KEY, first);
            }
        );
        assert!(!registry.any::<Value>(|_| true));
        assert_eq!(counts.made.load(SeqCst), counts.dropped.load(SeqCst));
    });
}
