// SPDX-License-Identifier: GPL-2.0-only

//! Charging pinned pages to whoever had them pinned.
//!
//! C headers: `include/linux/mm.h` (`__account_locked_vm`), `include/linux/sched/user.h`.

use crate::ffi::bindings;
use crate::kapi::units::to_usize;
use core::ptr::NonNull;
use kernel::mm::Mm;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::task::Task;

/// Which limit pinned pages count against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accounting {
    /// None: the process had CAP_IPC_LOCK.
    Unlimited,
    /// RLIMIT_MEMLOCK over all that the user has locked.
    User,
    /// RLIMIT_MEMLOCK over what this process has locked, as VFIO's type1 driver counts.
    Process,
}

/// A counted reference to a `struct user_struct`.
struct User(NonNull<bindings::user_struct>);

// SAFETY: A `user_struct` is shared by all of the user's tasks and changed by atomics only.
unsafe impl Send for User {}
// SAFETY: As above.
unsafe impl Sync for User {}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: The reference is ours to give back.
        unsafe { bindings::free_uid(self.0.as_ptr()) };
    }
}

/// The process and user that pinned pages are charged to.
pub(crate) struct Payer {
    mm: ARef<Mm>,
    task: ARef<Task>,
    user: User,
}

impl Payer {
    /// Whoever calls. `EINVAL` for a kernel thread.
    pub(crate) fn current() -> Result<Self> {
        let task = current!();
        let mm: &Mm = task.mm().ok_or(EINVAL)?;
        // SAFETY: It takes a reference to the user of a live task.
        let user = unsafe { bindings::iommufd_rs_get_current_user() };
        Ok(Self {
            mm: mm.into(),
            task: task.group_leader().into(),
            user: User(NonNull::new(user).ok_or(EINVAL)?),
        })
    }

    /// The address space.
    pub(crate) fn mm(&self) -> &Mm {
        &self.mm
    }

    /// Charges `npages` pages. `ENOMEM` where that passes the limit, and then nothing is charged.
    pub(crate) fn charge(&self, accounting: Accounting, npages: u64) -> Result {
        match accounting {
            Accounting::Unlimited => {}
            Accounting::User => {
                // SAFETY: `user` and `task` are references of ours.
                let fits = unsafe {
                    bindings::iommufd_rs_charge_user(
                        self.user.0.as_ptr(),
                        self.task.as_ptr(),
                        to_usize(npages),
                    )
                };
                if !fits {
                    return Err(ENOMEM);
                }
            }
            Accounting::Process => self.account_mm(npages, true)?,
        }
        self.add_pinned(to_usize(npages).cast_signed());
        Ok(())
    }

    /// Takes back a charge.
    pub(crate) fn uncharge(&self, accounting: Accounting, npages: u64) {
        match accounting {
            Accounting::Unlimited => {}
            // SAFETY: `user` is a reference of ours.
            Accounting::User => unsafe {
                bindings::iommufd_rs_uncharge_user(self.user.0.as_ptr(), to_usize(npages))
            },
            // Fails only where the address space is gone, and its account with it.
            Accounting::Process => drop(self.account_mm(npages, false)),
        }
        self.add_pinned(-to_usize(npages).cast_signed());
    }

    fn account_mm(&self, npages: u64, more: bool) -> Result {
        let _user = self.mm.mmget_not_zero().ok_or(EINVAL)?;
        // SAFETY: The address space has users and `task` is a reference of ours.
        kernel::error::to_result(unsafe {
            bindings::iommufd_rs_account_mm(
                self.mm.as_raw(),
                to_usize(npages),
                more,
                self.task.as_ptr(),
            )
        })
    }

    fn add_pinned(&self, npages: isize) {
        // SAFETY: `mm` is a reference of ours; the counter is atomic.
        unsafe { bindings::iommufd_rs_add_pinned_vm(self.mm.as_raw(), npages) };
    }
}

/// Whether the caller may lock memory without limit.
pub(crate) fn may_lock_without_limit() -> bool {
    // SAFETY: Always safe in process context.
    unsafe { bindings::capable(bindings::CAP_IPC_LOCK as c_int) }
}

/// Whether the caller may change resource limits.
pub(crate) fn may_change_limits() -> bool {
    // SAFETY: Always safe in process context.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as c_int) }
}
