// SPDX-License-Identifier: GPL-2.0-only

//! Locks, reference counts and containers. `ida` and `rwsem`, which are C's, are replaced.

#[path = "../../../../kapi/sync/chunks.rs"]
pub(crate) mod chunks;
#[path = "../../../../kapi/sync/clear_on_drop.rs"]
pub(crate) mod clear_on_drop;
#[path = "../../../../kapi/sync/raw_ref.rs"]
pub(crate) mod raw_ref;
#[path = "../../../../kapi/sync/shared.rs"]
pub(crate) mod shared;

/// Allocation of ids.
pub(crate) mod ida {
    use core::ops::RangeInclusive;
    use std::collections::BTreeSet;

    use kernel::{
        prelude::*,
        sync::Mutex, //
    };

    /// A set of ids that are taken. It has a lock of its own.
    pub(crate) struct Ida(Mutex<BTreeSet<u32>>);

    impl Ida {
        /// Returns an empty set.
        pub(crate) fn new() -> impl PinInit<Self> {
            kernel::init::By(|| Ok(Self(Mutex::new(BTreeSet::new()).make()?)))
        }

        /// Takes the lowest free id.
        pub(crate) fn alloc(&self, ids: RangeInclusive<u32>) -> Result<u32> {
            let mut taken = self.0.lock();
            let id = { ids }.find(|id| !taken.contains(id)).ok_or(ENOSPC)?;
            taken.insert(id);
            Ok(id)
        }

        /// Frees an id.
        pub(crate) fn free(&self, id: u32) {
            assert!(self.0.lock().remove(&id), "the id is taken");
        }
    }
}

/// Reader-writer semaphores.
pub(crate) mod rwsem {
    use kernel::prelude::*;

    pub(crate) type ReadGuard<'a, T> = loom::sync::RwLockReadGuard<'a, T>;
    pub(crate) type WriteGuard<'a, T> = loom::sync::RwLockWriteGuard<'a, T>;

    /// A value that several tasks read, or one writes.
    pub(crate) struct RwSem<T>(loom::sync::RwLock<T>);

    impl<T> RwSem<T> {
        /// Returns an initialiser of a semaphore that is free.
        pub(crate) fn new(value: T) -> impl PinInit<Self> {
            kernel::init::By(move || Ok(Self(loom::sync::RwLock::new(value))))
        }

        /// Acquires it for reading.
        pub(crate) fn read(&self) -> ReadGuard<'_, T> {
            self.0.read().expect("no holder panics")
        }

        /// Acquires it for writing.
        pub(crate) fn write(&self) -> WriteGuard<'_, T> {
            self.0.write().expect("no holder panics")
        }
    }

    macro_rules! new_rwsem {
        ($value:expr, $name:literal) => {
            $crate::kapi::sync::rwsem::RwSem::new($value)
        };
    }
    pub(crate) use new_rwsem;
}
