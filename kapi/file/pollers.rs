// SPDX-License-Identifier: GPL-2.0-only

//! The tasks that poll a file.
//!
//! C header: [`include/linux/poll.h`](srctree/include/linux/poll.h)

use kernel::{
    fs::File,
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

use crate::ffi::bindings;

/// The tasks that wait until a file is ready, by poll(), select() or epoll.
///
/// It belongs to the value that a file owns, hence it exists until the file is released, and before
/// that the kernel removes the file's pollers. `kernel::sync::poll::PollCondVar` may be dropped
/// earlier than the file, and for that it waits for an RCU grace period, or needs memory of its own
/// which is freed after one.
///
/// # Examples
///
/// ```
/// use crate::kapi::file::pollers::new_pollers;
///
/// let pollers = KBox::pin_init(new_pollers!("example::pollers"), GFP_KERNEL)?;
/// pollers.wake_all();
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub(crate) struct Pollers {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: Any task may use a wait queue, which has a lock of its own.
unsafe impl Send for Pollers {}
// SAFETY: Any task may use a wait queue, which has a lock of its own.
unsafe impl Sync for Pollers {}

impl Pollers {
    /// There are none at first. `name` and `key` are for lockdep; [`new_pollers`] supplies them.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is valid memory for a wait queue, and both `name` and `key` are
            // static.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Wakes them, to look whether the file is ready.
    pub(crate) fn wake_all(&self) {
        // SAFETY: `new` initialised the queue, which stays in place because `self` is pinned.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                bindings::TASK_NORMAL,
                0,
                core::ptr::null_mut(),
            )
        };
    }

    /// Adds the task that polls `file`, if it waits. To be called by `poll` of the file's
    /// operations.
    ///
    /// # Safety
    ///
    /// `self` must exist until `file` is released.
    pub(super) unsafe fn add(&self, file: &File, table: *mut bindings::poll_table_struct) {
        // SAFETY:
        // - `new` initialised the queue, which by the safety requirements exists until the file is
        //   released.
        // - A task that polls keeps the file until it has removed itself from the queue.
        // - Those of epoll are removed by eventpoll_release(), which __fput() calls before
        //   `release`.
        unsafe { bindings::poll_wait(file.as_ptr(), self.head.get(), table) };
    }
}

/// Creates a [`Pollers`] initialiser with a name and a lockdep class of its own.
macro_rules! new_pollers {
    ($name:literal) => {
        $crate::kapi::file::pollers::Pollers::new(
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_pollers;
