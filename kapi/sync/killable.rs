// SPDX-License-Identifier: GPL-2.0-only

//! Locking of a mutex that a fatal signal ends, and releasing it for others now and then.
//!
//! C header: [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        lock::Guard,
        Mutex,
        MutexGuard, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::sync::signal, //
};

/// Locks a mutex that another task may hold while it waits for user memory. Returns `EINTR` if the
/// task is killed meanwhile.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::killable::lock_killable;
/// use kernel::{new_mutex, sync::Mutex};
///
/// fn add(sum: &Mutex<u32>, number: u32) -> Result {
///     *lock_killable(sum)? += number;
///     Ok(())
/// }
///
/// let sum = KBox::pin_init(new_mutex!(1, "example::sum"), GFP_KERNEL)?;
/// add(&sum, 2)?;
/// assert_eq!(*sum.lock(), 3);
/// # Ok::<(), Error>(())
/// ```
pub(crate) fn lock_killable<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    // SAFETY: The constructor of `Mutex` initialised the C mutex, which `mutex` borrows.
    to_result(unsafe { bindings::iommufd_rs_mutex_lock_killable(raw(mutex)) })?;
    // SAFETY: The task has just locked the mutex.
    Ok(unsafe { Guard::new(mutex, ()) })
}

/// Releases a mutex and locks it again. Gives a task that waits for it time to lock it before, even if it
/// spins. Costs nothing to speak of if no task waits. Returns `EINTR` if the task is being killed, and then
/// the mutex is released.
pub(crate) fn relock_killable<T>(guard: MutexGuard<'_, T>) -> Result<MutexGuard<'_, T>> {
    let mutex = guard.lock_ref();
    drop(guard);
    signal::check_killed()?;
    let_waiters_in(mutex);
    lock_killable(mutex)
}

/// Gives a task that waits for a mutex, which the caller has released and will lock again, time to lock it.
pub(crate) fn let_waiters_in<T>(mutex: &Mutex<T>) {
    // SAFETY: The constructor of `Mutex` initialised the C mutex, which `mutex` borrows.
    unsafe { bindings::iommufd_rs_mutex_let_waiters_in(raw(mutex)) };
}

/// Returns the C mutex.
fn raw<T>(mutex: &Mutex<T>) -> *mut bindings::mutex {
    // `kernel::sync::lock::Lock` is `repr(C)`, and its first field is the C mutex.
    core::ptr::from_ref(mutex)
        .cast_mut()
        .cast::<bindings::mutex>()
}

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
#[kunit_tests(iommufd_rs_killable)]
mod tests {
    use super::*;
    use kernel::new_mutex;

    #[test]
    fn it_is_the_mutex_of_the_kernel_crate() -> Result {
        let mutex = KBox::pin_init(new_mutex!(1_u8, "killable::tests"), GFP_KERNEL)?;
        {
            let mut guard = lock_killable(&mutex)?;
            assert!(mutex.try_lock().is_none());
            *guard = 2;
        }
        assert!(mutex.try_lock().is_some_and(|value| *value == 2));
        let mut guard = relock_killable(lock_killable(&mutex)?)?;
        assert!(mutex.try_lock().is_none());
        *guard = 3;
        drop(guard);
        assert!(mutex.try_lock().is_some_and(|value| *value == 3));
        let _guard = mutex.lock();
        Ok(())
    }
}
