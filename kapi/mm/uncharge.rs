// SPDX-License-Identifier: GPL-2.0-only

//! Uncharging a process whose mmap lock another task has.
//!
//! The number of pages that a process has locked changes under its mmap lock. A task of the process
//! can hold that lock without a bound. A task that unpins pages cannot fail, and may hold locks that
//! other tasks wait for. So it only tries to take the mmap lock. If the lock is held, the pages stay
//! charged until a work item has taken it, or until pages are charged to the process the next time.

use core::{
    ptr::null_mut,
    sync::atomic::{
        AtomicPtr,
        Ordering::{
            Acquire,
            Release, //
        }, //
    }, //
};

use kernel::{
    error::to_result,
    impl_has_work,
    mm::{
        Mm,
        MmWithUser, //
    },
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    task::Task,
    workqueue::{
        Queue,
        Work,
        WorkItem, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        mm::alive::alive,
        sync::work_queue::UnboundQueue,
        units::to_usize, //
    }, //
};

/// The queue of the [`Uncharger`], or NULL while there is none.
static QUEUE: AtomicPtr<bindings::workqueue_struct> = AtomicPtr::new(null_mut());

/// Uncharges processes later. Dropping it waits until all are.
pub(crate) struct Uncharger {
    _queue: UnboundQueue,
}

impl Uncharger {
    /// Makes the only one. Returns `ENOMEM`.
    ///
    /// # Safety
    ///
    /// No other one may exist, and no page may be unpinned that is charged to a process when this one
    /// has been dropped.
    pub(crate) unsafe fn new() -> Result<Self> {
        let queue = UnboundQueue::new(c"iommufd_rs_uncharge")?;
        QUEUE.store(queue.as_ptr(), Release);
        Ok(Self { _queue: queue })
    }
}

impl Drop for Uncharger {
    fn drop(&mut self) {
        QUEUE.store(null_mut(), Release);
    }
}

/// The charge to a process: the number of pages that it has locked.
#[pin_data]
pub(super) struct ProcessCharge {
    mm: ARef<Mm>,
    /// The number of pages that are to be uncharged.
    fewer: Atomic<i64>,
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl HasWork<Self> for ProcessCharge { self.work }
}

impl WorkItem for ProcessCharge {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // Without users of the address space there is no account.
        if let Some(user) = alive(&this.mm) {
            // Nobody kills a task of the queue, and no limit is exceeded by no page more.
            this.change(&user, 0, current!(), true).ok();
        }
    }
}

impl ProcessCharge {
    /// Returns `ENOMEM` if there is no memory.
    pub(super) fn new(mm: ARef<Mm>) -> Result<Arc<Self>> {
        let init = pin_init!(Self {
            mm,
            fewer: Atomic::new(0),
            work <- new_work!("iommufd_rs_uncharge"),
        });
        Arc::pin_init(init, GFP_KERNEL_ACCOUNT)
    }

    /// Charges `npages` pages, unless that exceeds the limit of `task`. If it is to `wait`, waits for the
    /// mmap lock. Returns `EINVAL` if the address space has no users, `ENOMEM` if the limit is exceeded,
    /// `EINTR` if the current task is killed, and `EAGAIN` if it would have to wait and is not to.
    pub(super) fn charge(&self, npages: u64, task: &Task, wait: bool) -> Result {
        let user = alive(&self.mm).ok_or(EINVAL)?;
        self.change(&user, npages, task, wait)
    }

    /// Charges `npages` pages, and uncharges those that are to be.
    fn change(&self, user: &MmWithUser, npages: u64, task: &Task, wait: bool) -> Result {
        // SAFETY:
        // - `user` keeps the users of the address space.
        // - The counter is a 64-bit number that is accessed atomically only, as an `atomic64_t` is.
        // - The task is valid as long as it is borrowed.
        to_result(unsafe {
            bindings::iommufd_rs_charge_mm(
                user.as_raw(),
                to_usize(npages),
                self.fewer.as_ptr().cast(),
                task.as_ptr(),
                wait,
            )
        })
    }

    /// Uncharges `npages` pages: now if the mmap lock is free, otherwise later. Does not wait, and needs
    /// no memory.
    pub(super) fn uncharge(self: &Arc<Self>, npages: u64) {
        // Without users of the address space there is no account.
        let Some(user) = alive(&self.mm) else {
            return;
        };
        // SAFETY: `user` keeps the users of the address space.
        if unsafe { bindings::iommufd_rs_try_uncharge_mm(user.as_raw(), to_usize(npages)) } {
            return;
        }
        self.fewer.fetch_add(npages as i64, Relaxed);
        let queue = QUEUE.load(Acquire);
        if warn_on_once!(queue.is_null()) {
            return;
        }
        // SAFETY: The `Uncharger` exists while pages are charged to a process, as `Uncharger::new`
        // requires, and so does its queue.
        let queue = unsafe { Queue::from_raw(queue) };
        // If it is queued already it has not begun to run, and sees these pages as well.
        let _ = queue.enqueue(self.clone());
    }
}
