// SPDX-License-Identifier: GPL-2.0-only

//! Reader-writer semaphores.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    }, //
};

use kernel::{
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

use crate::ffi::bindings;

/// A value protected by a `struct rw_semaphore`.
///
/// Any number of tasks may hold the semaphore for reading, or one task may hold it for writing. A
/// task that waits for it sleeps.
///
/// # Invariants
///
/// `data` is borrowed mutably only by the task that holds `raw` for writing, and otherwise only by
/// tasks that hold `raw`.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::rwsem::new_rwsem;
///
/// let sem = KBox::pin_init(new_rwsem!(1, "example::sem"), GFP_KERNEL)?;
/// {
///     let first = sem.read();
///     let second = sem.read();
///     assert_eq!(*first + *second, 2);
/// }
/// *sem.write() += 4;
/// assert_eq!(*sem.read(), 5);
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub(crate) struct RwSem<T> {
    #[pin]
    raw: Opaque<bindings::rw_semaphore>,
    #[pin]
    data: UnsafeCell<T>,
}

// SAFETY: Sending the semaphore sends the value, which is `Send`, and any task may use a
// `rw_semaphore`.
unsafe impl<T: Send> Send for RwSem<T> {}
// SAFETY: A shared `RwSem` gives `&T` to several tasks at once, hence `T: Sync`, and `&mut T` to
// one task at a time, hence `T: Send`.
unsafe impl<T: Send + Sync> Sync for RwSem<T> {}

impl<T> RwSem<T> {
    /// Creates a semaphore. `name` and `key` are for lockdep; [`new_rwsem`] supplies them.
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            data: UnsafeCell::new(data),
            // SAFETY: `slot` is valid memory for a `rw_semaphore`, and both `name` and `key` are
            // static.
            raw <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Acquires the semaphore for reading.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: `new` initialised the semaphore, and it stays in place because `self` is pinned.
        unsafe { bindings::down_read(self.raw.get()) };
        // INVARIANT: The semaphore was just acquired for reading.
        ReadGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Acquires the semaphore for reading if no task waits for it or holds it for writing.
    #[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
    pub(crate) fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        // SAFETY: `new` initialised the semaphore, and it stays in place because `self` is pinned.
        let acquired = unsafe { bindings::down_read_trylock(self.raw.get()) } != 0;
        // INVARIANT: The semaphore was just acquired for reading.
        acquired.then(|| ReadGuard {
            sem: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Acquires the semaphore for writing.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: `new` initialised the semaphore, and it stays in place because `self` is pinned.
        unsafe { bindings::down_write(self.raw.get()) };
        // INVARIANT: The semaphore was just acquired for writing.
        WriteGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Gives tasks that wait for the semaphore time to acquire it. A task that has released it, and will
    /// acquire it again at once, calls this in between: otherwise those that spin or are being woken
    /// may wait for as long as it goes on so. May sleep. Costs nothing to speak of if no task waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::kapi::sync::rwsem::RwSem;
    ///
    /// fn clear(sem: &RwSem<KVec<u64>>) {
    ///     while sem.write().pop().is_some() {
    ///         sem.let_waiters_in();
    ///     }
    /// }
    /// ```
    pub(crate) fn let_waiters_in(&self) {
        // SAFETY: `new` initialised the semaphore, and it stays in place because `self` is pinned.
        unsafe { bindings::iommufd_rs_rwsem_let_waiters_in(self.raw.get()) };
    }

    /// Acquires the semaphore for writing while the caller may hold other semaphores of the same
    /// class.
    ///
    /// Lockdep accepts this because every task that holds more than one of them must hold `outer`,
    /// so that two tasks cannot wait for each other.
    pub(crate) fn write_under<O>(&self, outer: &WriteGuard<'_, O>) -> WriteGuard<'_, T> {
        // SAFETY: `new` initialised both semaphores, and the caller holds `outer`, as its guard
        // proves.
        unsafe { bindings::iommufd_rs_down_write_under(self.raw.get(), outer.sem.raw.get()) };
        // INVARIANT: The semaphore was just acquired for writing.
        WriteGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// Shared access to the value of an [`RwSem`]. Dropping it releases the semaphore.
///
/// # Invariants
///
/// This task holds `sem` for reading.
#[must_use = "the semaphore is released when the guard is dropped"]
pub(crate) struct ReadGuard<'a, T> {
    sem: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the semaphore is held for reading, so no task has a
        // mutable reference to the value.
        unsafe { &*self.sem.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this task holds the semaphore for reading.
        unsafe { bindings::up_read(self.sem.raw.get()) };
    }
}

/// Exclusive access to the value of an [`RwSem`]. Dropping it releases the semaphore.
///
/// # Invariants
///
/// This task holds `sem` for writing.
#[must_use = "the semaphore is released when the guard is dropped"]
pub(crate) struct WriteGuard<'a, T> {
    sem: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY:
        // - By the type invariants no other task holds the semaphore.
        // - `self` is borrowed, so this task has no mutable reference to the value.
        unsafe { &*self.sem.data.get() }
    }
}

// The value is pinned, so it must not be moved out by `&mut T` unless it is `Unpin`.
impl<T: Unpin> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY:
        // - By the type invariants no other task holds the semaphore.
        // - `self` is borrowed mutably, so this task has no other reference to the value.
        unsafe { &mut *self.sem.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this task holds the semaphore for writing.
        unsafe { bindings::up_write(self.sem.raw.get()) };
    }
}

/// Creates a [`RwSem`] initialiser with a name and a lockdep class of its own.
macro_rules! new_rwsem {
    ($data:expr, $name:literal) => {
        $crate::kapi::sync::rwsem::RwSem::new(
            $data,
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_rwsem;

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
#[kunit_tests(iommufd_rs_rwsem)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_excludes() -> Result {
        let sem = KBox::pin_init(new_rwsem!(0, "tests::sem"), GFP_KERNEL)?;
        let reader = sem.read();
        // SAFETY: The semaphore was initialised.
        assert!(unsafe { bindings::down_read_trylock(sem.raw.get()) } == 1);
        // SAFETY: `down_read_trylock` acquired it.
        unsafe { bindings::up_read(sem.raw.get()) };
        // SAFETY: The semaphore was initialised.
        assert!(unsafe { bindings::down_write_trylock(sem.raw.get()) } == 0);
        drop(reader);

        let writer = sem.write();
        // SAFETY: The semaphore was initialised.
        assert!(unsafe { bindings::down_read_trylock(sem.raw.get()) } == 0);
        drop(writer);
        Ok(())
    }
}
