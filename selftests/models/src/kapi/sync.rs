// SPDX-License-Identifier: GPL-2.0-only

//! Locks, reference counts and containers. Those that call C are replaced.

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

/// Locking that a signal ends. No task of a model is killed.
pub(crate) mod killable {
    use kernel::{
        prelude::*,
        sync::{
            Guard,
            Mutex, //
        }, //
    };

    /// Locks a mutex.
    pub(crate) fn lock_killable<T>(mutex: &Mutex<T>) -> Result<Guard<'_, T>> {
        Ok(mutex.lock())
    }
}

/// Looking at what a mutex protects.
pub(crate) mod look {
    use kernel::sync::Mutex;

    /// Calls `f` with the value of a mutex.
    pub(crate) fn look<T, R>(mutex: &Mutex<T>, f: impl FnOnce(&T) -> R) -> R {
        f(&mutex.lock())
    }
}

/// Values that are found by a number.
pub(crate) mod members {
    use core::ops::Deref;
    use std::{
        collections::BTreeMap,
        sync::Arc as StdArc, //
    };

    use kernel::{
        init::By,
        prelude::*,
        sync::{
            Arc,
            Mutex, //
        }, //
    };

    /// Passes a value to a function.
    type Lend<T> = Box<dyn Fn(&mut dyn FnMut(&T)) + Send + Sync>;

    /// Members by their numbers.
    pub(crate) struct Tree<T: ?Sized>(BTreeMap<u32, Lend<T>>);

    impl<T: ?Sized> Tree<T> {
        /// Returns a tree without members.
        pub(crate) const fn new() -> Self {
            Self(BTreeMap::new())
        }
    }

    /// A set of values.
    pub(crate) struct Members<T: ?Sized>(Mutex<Tree<T>>);

    impl<T: ?Sized> Members<T> {
        /// Initialises a set.
        pub(crate) fn new(tree: impl PinInit<Mutex<Tree<T>>>) -> impl PinInit<Self> {
            By(move || Ok(Self(tree.make()?)))
        }

        /// Calls `f` with a member, under the lock.
        pub(crate) fn with<R>(&self, key: u32, f: impl FnOnce(&T) -> R) -> Option<R> {
            let tree = self.0.lock();
            let lend = tree.0.get(&key)?;
            let (mut f, mut result) = (Some(f), None);
            lend(&mut |value| result = f.take().map(|f| f(value)));
            result
        }
    }

    /// A value in a set.
    pub(crate) struct Member<V, T: ?Sized> {
        value: StdArc<V>,
        key: u32,
        members: Arc<Members<T>>,
    }

    impl<V: Send + Sync + 'static, T: ?Sized + 'static> Member<V, T> {
        /// Initialises a value and adds it to a set.
        pub(crate) fn new<E: From<Error>>(
            members: Arc<Members<T>>,
            key: u32,
            value: impl PinInit<V, E>,
            cast: fn(&V) -> &T,
        ) -> impl PinInit<Self, E> {
            By(move || {
                let value = StdArc::new(value.make()?);
                let lent = value.clone();
                let mut tree = members.0.lock();
                if tree.0.contains_key(&key) {
                    return Err(EEXIST.into());
                }
                tree.0.insert(key, Box::new(move |f| f(cast(&lent))));
                drop(tree);
                Ok(Self {
                    value,
                    key,
                    members,
                })
            })
        }
    }

    impl<V, T: ?Sized> Drop for Member<V, T> {
        fn drop(&mut self) {
            let removed = self.members.0.lock().0.remove(&self.key);
            assert!(removed.is_some());
        }
    }

    impl<V, T: ?Sized> Deref for Member<V, T> {
        type Target = V;

        fn deref(&self) -> &V {
            &self.value
        }
    }
}

/// Boxes of a slab allocator.
pub(crate) mod slab {
    pub(crate) use kernel::init::KBox as SlabBox;
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
