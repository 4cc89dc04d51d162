// SPDX-License-Identifier: GPL-2.0-only

//! Charging pinned pages to whoever had them pinned.
//!
//! C headers: `include/linux/mm.h` (`__account_locked_vm`), `include/linux/sched/user.h`.

use core::ptr::NonNull;

use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

use crate::{
    ffi::bindings,
    kapi::units::{
        to_isize,
        to_usize, //
    }, //
};

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

impl Clone for User {
    fn clone(&self) -> Self {
        // SAFETY: It takes one more reference to a user that is alive.
        unsafe { bindings::iommufd_rs_get_user(self.0.as_ptr()) };
        Self(self.0)
    }
}

/// The process and user that pinned pages are charged to.
#[derive(Clone)]
pub(crate) struct AccountedMm {
    mm: ARef<Mm>,
    task: ARef<Task>,
    user: User,
}

impl AccountedMm {
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
        self.add_pinned(to_isize(npages));
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
        self.add_pinned(-to_isize(npages));
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

impl AccountedMm {
    /// Whether pages cost the same one as `other` what they cost this one.
    pub(crate) fn same_account(&self, other: &Self, accounting: Accounting) -> bool {
        // Every mode counts in the address space; see `charge`.
        core::ptr::eq(self.mm.as_raw(), other.mm.as_raw())
            && (accounting != Accounting::User || self.user.0 == other.user.0)
    }

    /// As [`AccountedMm::charge`], where there may be nothing to charge.
    pub(crate) fn charge_some(&self, accounting: Accounting, npages: u64) -> Result {
        if npages == 0 {
            return Ok(());
        }
        self.charge(accounting, npages)
    }

    /// As [`AccountedMm::uncharge`], where there may be nothing to take back.
    pub(crate) fn uncharge_some(&self, accounting: Accounting, npages: u64) {
        if npages != 0 {
            self.uncharge(accounting, npages);
        }
    }

    /// Whether the caller runs in this address space.
    pub(crate) fn is_current(&self) -> bool {
        current!()
            .mm()
            .is_some_and(|mm| core::ptr::eq(mm.as_raw(), self.mm.as_raw()))
    }
}

/// Reads memory of an address space, which is the caller's own or, for a kernel thread, borrowed.
/// `EFAULT`.
pub(crate) fn read_mm(mm: &MmWithUser, addr: u64, data: &mut [u8]) -> Result {
    // SAFETY: The address space has users, and `data` has room for its length.
    let left = unsafe {
        bindings::iommufd_rs_copy_from_mm(
            mm.as_raw(),
            data.as_mut_ptr().cast(),
            to_usize(addr),
            data.len(),
        )
    };
    if left == 0 {
        Ok(())
    } else {
        Err(EFAULT)
    }
}

/// Writes memory of an address space, as [`read_mm`].
pub(crate) fn write_mm(mm: &MmWithUser, addr: u64, data: &[u8]) -> Result {
    // SAFETY: As above.
    let left = unsafe {
        bindings::iommufd_rs_copy_to_mm(
            mm.as_raw(),
            to_usize(addr),
            data.as_ptr().cast(),
            data.len(),
        )
    };
    if left == 0 {
        Ok(())
    } else {
        Err(EFAULT)
    }
}

/// Whether the caller may lock memory without limit.
pub(crate) fn may_lock_without_limit() -> bool {
    // SAFETY: Always safe in process context.
    unsafe { bindings::capable(bindings::CAP_IPC_LOCK as c_int) }
}

/// Whether the caller may let devices reach memory that no IOMMU guards.
pub(crate) fn may_do_raw_io() -> bool {
    // SAFETY: Always safe in process context.
    unsafe { bindings::capable(bindings::CAP_SYS_RAWIO as c_int) }
}

/// Whether the caller may change resource limits.
pub(crate) fn may_change_limits() -> bool {
    // SAFETY: Always safe in process context.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as c_int) }
}
