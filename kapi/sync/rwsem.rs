// SPDX-License-Identifier: GPL-2.0-only

//! Reader-writer semaphores that own what they protect.
//!
//! C header: `include/linux/rwsem.h`.

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

/// A value under a `struct rw_semaphore`: many readers or one writer, either may sleep.
#[pin_data]
pub(crate) struct RwSem<T> {
    #[pin]
    raw: Opaque<bindings::rw_semaphore>,
    #[pin]
    data: UnsafeCell<T>,
}

// SAFETY: Sending the lock sends the value; the lock itself may be used from any task.
unsafe impl<T: Send> Send for RwSem<T> {}
// SAFETY: `&RwSem<T>` gives `&T` to many tasks at once, hence `T: Sync`, and `&mut T` to one at a
// time, hence `T: Send`.
unsafe impl<T: Send + Sync> Sync for RwSem<T> {}

impl<T> RwSem<T> {
    /// Makes a semaphore with a name and a class for lockdep; see [`new_rwsem`].
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            data: UnsafeCell::new(data),
            // SAFETY: `slot` is valid memory for a semaphore, `name` and `key` live for ever.
            raw <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Waits for shared access.
    pub(crate) fn read(&self) -> ReadGuard<'_, T> {
        // SAFETY: `raw` was initialised by `new`.
        unsafe { bindings::down_read(self.raw.get()) };
        ReadGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Waits for exclusive access.
    pub(crate) fn write(&self) -> WriteGuard<'_, T> {
        // SAFETY: `raw` was initialised by `new`.
        unsafe { bindings::down_write(self.raw.get()) };
        WriteGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T> RwSem<T> {
    /// Waits for exclusive access while the caller may hold other semaphores of the same class.
    /// That cannot end in a deadlock because whoever holds more than one of them holds `outer`.
    pub(crate) fn write_under<O>(&self, outer: &WriteGuard<'_, O>) -> WriteGuard<'_, T> {
        // SAFETY: `raw` was initialised by `new`, and the guard is proof that `outer` is held.
        unsafe { bindings::iommufd_rs_down_write_under(self.raw.get(), outer.sem.raw.get()) };
        WriteGuard {
            sem: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// Shared access to what a [`RwSem`] protects.
#[must_use = "the semaphore is released as soon as the guard is dropped"]
pub(crate) struct ReadGuard<'a, T> {
    sem: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Readers hold the semaphore, so there is no `&mut T`.
        unsafe { &*self.sem.data.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard is proof that this task holds the semaphore for reading.
        unsafe { bindings::up_read(self.sem.raw.get()) };
    }
}

/// Exclusive access to what a [`RwSem`] protects.
#[must_use = "the semaphore is released as soon as the guard is dropped"]
pub(crate) struct WriteGuard<'a, T> {
    sem: &'a RwSem<T>,
    _not_send: NotThreadSafe,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The writer holds the semaphore alone.
        unsafe { &*self.sem.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The writer holds the semaphore alone, and `&mut self` is the only way here.
        unsafe { &mut *self.sem.data.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard is proof that this task holds the semaphore for writing.
        unsafe { bindings::up_write(self.sem.raw.get()) };
    }
}

/// A [`RwSem`] initialiser whose lockdep class is the place it is written at.
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
