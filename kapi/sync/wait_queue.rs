// SPDX-License-Identifier: GPL-2.0-only

//! Waiting until another task has changed what a lock protects.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use kernel::{
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::sync::signal, //
};

/// A queue of tasks that wait for a change of a value that a lock protects.
///
/// A task that waits looks at the value while it holds the lock exclusively, and gives the guard to
/// [`WaitQueue::wait_killable`]. A task that changes the value calls [`WaitQueue::wake_all`] after it has
/// released the lock. No wake-up is lost: the first task is in the queue before it releases the
/// lock, and so before the other one can acquire it. `kernel::sync::CondVar` does the same for the
/// locks of the `kernel` crate, and has no wait that only a fatal signal ends.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::{
///     rwsem::RwSem,
///     wait_queue::{new_wait_queue, WaitQueue},
/// };
///
/// fn wait_for_zero(users: &RwSem<u32>, changed: &WaitQueue) -> Result {
///     loop {
///         let users = users.write();
///         if *users == 0 {
///             return Ok(());
///         }
///         changed.wait_killable(users)?;
///     }
/// }
///
/// fn release(users: &RwSem<u32>, changed: &WaitQueue) {
///     *users.write() -= 1;
///     changed.wake_all();
/// }
/// # let users = KBox::pin_init(crate::kapi::sync::rwsem::new_rwsem!(1, "ex::users"), GFP_KERNEL)?;
/// # let changed = KBox::pin_init(new_wait_queue!("example::changed"), GFP_KERNEL)?;
/// # release(&users, &changed);
/// # wait_for_zero(&users, &changed)?;
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: Any task may use a wait queue, which has a lock of its own.
unsafe impl Send for WaitQueue {}
// SAFETY: Any task may use a wait queue, which has a lock of its own.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Creates an empty queue. `name` and `key` are for lockdep; [`new_wait_queue`] supplies them.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid memory for a wait queue, and both `name` and `key` are
            // static.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Drops `guard` and sleeps until [`WaitQueue::wake_all`] is called. May return earlier. Returns
    /// `EINTR` if the task is being killed.
    pub(crate) fn wait_killable<G>(&self, guard: G) -> Result {
        let state = bindings::TASK_WAKEKILL | bindings::TASK_UNINTERRUPTIBLE;
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();

        // SAFETY: `entry` can be written.
        unsafe { bindings::init_wait(entry.get()) };
        // SAFETY:
        // - `new` initialised the queue, which stays in place because `self` is pinned.
        // - `entry` was initialised, and stays in place until `finish_wait`.
        unsafe { bindings::prepare_to_wait(self.head.get(), entry.get(), state as c_int) };
        drop(guard);
        // SAFETY: The task may sleep: it has released the lock on whose value it waits.
        unsafe { bindings::schedule_timeout(c_long::MAX) };
        // SAFETY: `entry` was added to this queue.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
        signal::check_killed()
    }

    /// Wakes every task that waits. The caller must have released the lock after its change.
    pub(crate) fn wake_all(&self) {
        // SAFETY: `new` initialised the queue, which stays in place because `self` is pinned.
        unsafe { bindings::iommufd_rs_wake_up_all(self.head.get()) };
    }
}

/// Creates a [`WaitQueue`] initialiser with a name and a lockdep class of its own.
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::kapi::sync::wait_queue::WaitQueue::new(
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_wait_queue;
