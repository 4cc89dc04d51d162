// SPDX-License-Identifier: GPL-2.0-only

//! Locks, reference counts and containers. Those that call C are replaced.

#[path = "../../../../kapi/sync/chunks.rs"]
pub(crate) mod chunks;
#[path = "../../../../kapi/sync/clear_on_drop.rs"]
pub(crate) mod clear_on_drop;
#[path = "../../../../kapi/sync/complete_on_drop.rs"]
pub(crate) mod complete_on_drop;
#[path = "../../../host/src/kapi/sync/range_tree.rs"]
pub(crate) mod range_tree;
#[path = "../../../../kapi/sync/raw_ref.rs"]
pub(crate) mod raw_ref;
#[path = "../../../../kapi/sync/room.rs"]
pub(crate) mod room;
#[path = "../../../../kapi/sync/shared.rs"]
pub(crate) mod shared;
#[path = "../../../host/src/kapi/sync/vec.rs"]
pub(crate) mod vec;

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
            Mutex,
            MutexGuard, //
        }, //
    };

    /// Locks a mutex.
    pub(crate) fn lock_killable<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
        Ok(mutex.lock())
    }

    /// Releases a mutex and locks it again.
    pub(crate) fn relock_killable<T>(guard: MutexGuard<'_, T>) -> Result<MutexGuard<'_, T>> {
        let mutex = guard.lock_ref();
        drop(guard);
        lock_killable(mutex)
    }

    /// Others come in any order anyway.
    pub(crate) fn let_waiters_in<T>(_mutex: &Mutex<T>) {}
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
        sync::Mutex, //
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

    /// A reference to a set.
    pub(crate) trait SetRef {
        /// What is in the set.
        type Value: ?Sized + 'static;

        /// Returns the set.
        fn set(&self) -> &Members<Self::Value>;
    }

    /// A value in a set.
    pub(crate) struct Member<V, S: SetRef> {
        value: StdArc<V>,
        key: u32,
        members: S,
    }

    impl<V: Send + Sync + 'static, S: SetRef> Member<V, S> {
        /// Initialises a value and adds it to a set.
        pub(crate) fn new<E: From<Error>>(
            members: S,
            key: u32,
            value: impl PinInit<V, E>,
            cast: fn(&V) -> &S::Value,
        ) -> impl PinInit<Self, E> {
            By(move || {
                let value = StdArc::new(value.make()?);
                let lent = value.clone();
                let mut tree = members.set().0.lock();
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

    impl<V, S: SetRef> Drop for Member<V, S> {
        fn drop(&mut self) {
            let removed = self.members.set().0.lock().0.remove(&self.key);
            assert!(removed.is_some());
        }
    }

    impl<V, S: SetRef> Deref for Member<V, S> {
        type Target = V;

        fn deref(&self) -> &V {
            &self.value
        }
    }
}

/// An allocator, which can free memory whose size it is not told.
pub(crate) mod slab {
    use core::{
        alloc::Layout,
        pin::Pin,
        ptr::NonNull, //
    };
    use std::alloc;

    use kernel::{
        alloc::{
            fault,
            AllocError,
            Allocator,
            Flags,
            NumaNode, //
        },
        prelude::*, //
    };

    /// The allocator. The layout of an allocation is in front of it.
    pub(crate) struct Slab;

    const FRONT: usize = 16;
    const _: () = assert!(size_of::<Layout>() <= FRONT);

    // SAFETY: The global allocator returns memory for the layout and what is in front.
    unsafe impl Allocator for Slab {
        fn alloc(layout: Layout, _: Flags, _: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
            fault::allocate()?;
            let whole =
                Layout::from_size_align(layout.size() + FRONT, FRONT).map_err(|_| AllocError)?;
            assert!(layout.align() <= FRONT);
            // SAFETY: The size is not 0.
            let start = NonNull::new(unsafe { alloc::alloc(whole) }).ok_or(AllocError)?;
            // SAFETY: There is room for a layout in front.
            unsafe { start.cast::<Layout>().write(whole) };
            // SAFETY: The allocation is longer than that.
            let memory = unsafe { start.add(FRONT) };
            Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
        }

        unsafe fn free(memory: NonNull<u8>, _: Layout) {
            // SAFETY: `alloc` returned an address with so much in front.
            let start = unsafe { memory.sub(FRONT) };
            // SAFETY: `alloc` has written it.
            let whole = unsafe { start.cast::<Layout>().read() };
            // SAFETY: The allocation was made with this layout.
            unsafe { alloc::dealloc(start.as_ptr(), whole) };
        }
    }

    /// A value in memory of [`Slab`], whose owner takes its address.
    pub(crate) struct SlabBox<T>(NonNull<T>);

    impl<T> SlabBox<T> {
        /// Allocates memory and makes a value in it.
        pub(crate) fn try_pin_init<E: From<AllocError>>(
            init: impl PinInit<T, E>,
            flags: Flags,
        ) -> Result<Pin<Self>, E> {
            let layout = Layout::new::<T>();
            let memory = Slab::alloc(layout, flags, NumaNode::NO_NODE)?.cast::<T>();
            match init.make() {
                Ok(value) => {
                    // SAFETY: It is memory for the value.
                    unsafe { memory.write(value) };
                    // SAFETY: The value is not moved.
                    Ok(unsafe { Pin::new_unchecked(Self(memory)) })
                }
                Err(error) => {
                    // SAFETY: The memory was just allocated.
                    unsafe { Slab::free(memory.cast(), layout) };
                    Err(error)
                }
            }
        }

        /// Returns the address of the value, which the caller frees.
        pub(crate) fn into_raw(this: Self) -> *mut T {
            this.0.as_ptr()
        }
    }

    impl<T> core::ops::Deref for SlabBox<T> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: The value exists until the address is taken.
            unsafe { self.0.as_ref() }
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

        /// Acquires it for writing, while another lock is held under which several may be acquired.
        pub(crate) fn write_under<G>(&self, _outer: &G) -> WriteGuard<'_, T> {
            self.write()
        }

        /// Others come in any order anyway.
        pub(crate) fn let_waiters_in(&self) {}
    }

    macro_rules! new_rwsem {
        ($value:expr, $name:literal) => {
            $crate::kapi::sync::rwsem::RwSem::new($value)
        };
    }
    pub(crate) use new_rwsem;
}

/// Signals. No task of a model is killed.
pub(crate) mod signal {
    use kernel::prelude::*;

    /// The current task is not killed.
    pub(crate) fn check_killed() -> Result {
        Ok(())
    }
}

/// Waiting until another task has changed something.
pub(crate) mod wait_queue {
    use kernel::prelude::*;
    use loom::sync::{
        Condvar,
        Mutex, //
    };

    /// A queue of tasks that wait. The lock makes a task be in the queue before it drops what it has given,
    /// and is held for that only.
    pub(crate) struct WaitQueue {
        entering: Mutex<()>,
        woken: Condvar,
    }

    impl WaitQueue {
        /// Creates an empty queue.
        pub(crate) fn new() -> impl PinInit<Self> {
            kernel::init::By(|| {
                Ok(Self {
                    entering: Mutex::new(()),
                    woken: Condvar::new(),
                })
            })
        }

        /// Drops `guard` and sleeps until [`WaitQueue::wake_all`] is called.
        pub(crate) fn wait_killable<G>(&self, guard: G) -> Result {
            let entering = self.entering.lock().expect("no holder panics");
            drop(guard);
            drop(self.woken.wait(entering).expect("no holder panics"));
            Ok(())
        }

        /// Wakes every task that waits.
        pub(crate) fn wake_all(&self) {
            drop(self.entering.lock().expect("no holder panics"));
            self.woken.notify_all();
        }
    }

    macro_rules! new_wait_queue {
        ($name:literal) => {
            $crate::kapi::sync::wait_queue::WaitQueue::new()
        };
    }
    pub(crate) use new_wait_queue;
}
