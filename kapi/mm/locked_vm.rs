// SPDX-License-Identifier: GPL-2.0-only

//! Accounting of pinned pages, and access to the memory of another address space.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h) (`__account_locked_vm()`),
//! [`include/linux/sched/user.h`](srctree/include/linux/sched/user.h),
//! [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    task::Task, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        mm::uncharge::ProcessCharge,
        units::{
            to_isize,
            to_u64,
            to_usize, //
        }, //
    }, //
};

/// The limit that pinned pages count against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accounting {
    /// No limit: the process has `CAP_IPC_LOCK`.
    Unlimited,
    /// `RLIMIT_MEMLOCK`, compared with the pages that all processes of the user have locked.
    User,
    /// `RLIMIT_MEMLOCK`, compared with the pages that the process has locked, as VFIO's type1
    /// driver does.
    Process,
}

/// A `struct user_struct` on which the owner of this has a reference.
struct User(NonNull<bindings::user_struct>);

// SAFETY: Tasks of the user share the struct, which is changed by atomic operations only, and any
// task may put a reference.
unsafe impl Send for User {}
// SAFETY: Tasks of the user share the struct, which is changed by atomic operations only.
unsafe impl Sync for User {}

/// The address space, the process and the user that pinned pages are charged to.
///
/// # Invariants
///
/// A reference on each of the three is owned by this.
struct Accounts {
    mm: ManuallyDrop<ARef<Mm>>,
    task: ManuallyDrop<ARef<Task>>,
    user: User,
}

impl Drop for Accounts {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the references are ours, and they are not used after the
        // drop.
        unsafe {
            bindings::iommufd_rs_put_accounts(
                self.mm.as_raw(),
                self.task.as_ptr(),
                self.user.0.as_ptr(),
            )
        };
    }
}

impl Accounts {
    /// Returns those of the current process. Returns `EINVAL` in a kernel thread.
    fn current() -> Result<Self> {
        let mut mm = core::ptr::null_mut();
        let mut task = core::ptr::null_mut();
        let mut user = core::ptr::null_mut();
        // SAFETY: The three can be written.
        if !unsafe { bindings::iommufd_rs_get_accounts(&mut mm, &mut task, &mut user) } {
            return Err(EINVAL);
        }
        // INVARIANT: The function has counted a reference on each for us.
        // SAFETY:
        // - The function has returned true, so it has stored valid pointers.
        // - `Mm` and `Task` are transparent wrappers of the C structs.
        Ok(unsafe {
            Self {
                mm: ManuallyDrop::new(ARef::from_raw(NonNull::new_unchecked(mm.cast()))),
                task: ManuallyDrop::new(ARef::from_raw(NonNull::new_unchecked(task.cast()))),
                user: User(NonNull::new_unchecked(user)),
            }
        })
    }

    /// Returns whether they are those of the current process.
    fn are_current(&self) -> bool {
        // SAFETY: The pointers are compared only.
        unsafe {
            bindings::iommufd_rs_are_accounts(
                self.mm.as_raw(),
                self.task.as_ptr(),
                self.user.0.as_ptr(),
            )
        }
    }
}

/// The address space and the user that pinned pages are charged to.
///
/// # Examples
///
/// ```
/// use crate::kapi::mm::locked_vm::AccountedMm;
///
/// // A kernel thread has no address space to charge.
/// let none = AccountedMm::current(false, None);
/// assert!(none.is_err_and(|error| error == EINVAL));
/// # Ok::<(), Error>(())
/// ```
pub(crate) struct AccountedMm {
    accounts: Accounts,
    /// What [`Accounting::Process`] needs.
    process: Option<Arc<ProcessCharge>>,
}

impl AccountedMm {
    /// Returns that of the current process, also for [`Accounting::Process`] if `by_process` is true.
    /// `last` is another one, if there is any: if it is the same process, both uncharge it together.
    /// Returns `EINVAL` in a kernel thread, and `ENOMEM`.
    pub(crate) fn current(by_process: bool, last: Option<&Self>) -> Result<Self> {
        let accounts = Accounts::current()?;
        let process = if by_process {
            let same = last.filter(|last| core::ptr::eq(last.mm().as_raw(), accounts.mm.as_raw()));
            match same.and_then(|last| last.process.clone()) {
                None => Some(ProcessCharge::new((*accounts.mm).clone())?),
                process => process,
            }
        } else {
            None
        };
        Ok(Self { accounts, process })
    }

    /// Returns whether [`AccountedMm::current`] would return an equal one.
    pub(super) fn is_as_current(&self, by_process: bool) -> bool {
        self.accounts.are_current() && (self.process.is_some() || !by_process)
    }

    /// Returns the address space.
    pub(crate) fn mm(&self) -> &Mm {
        &self.accounts.mm
    }

    fn task(&self) -> &Task {
        &self.accounts.task
    }

    fn user(&self) -> *mut bindings::user_struct {
        self.accounts.user.0.as_ptr()
    }

    /// Charges `npages` pages. On failure nothing is charged. Returns `ENOMEM` if this exceeds the
    /// limit, and `EINVAL` if the process has ended. While another task holds the mmap lock of the process
    /// it waits for that if it is to `wait`, and returns `EINTR` if the current task is killed meanwhile;
    /// otherwise it returns `EAGAIN`.
    pub(super) fn charge(&self, accounting: Accounting, npages: u64, wait: bool) -> Result {
        match accounting {
            Accounting::Unlimited => {}
            Accounting::User => {
                // SAFETY: `self` holds a reference to the user and one to the task.
                let fits = unsafe {
                    bindings::iommufd_rs_charge_user(
                        self.user(),
                        self.task().as_ptr(),
                        to_usize(npages),
                    )
                };
                if !fits {
                    return Err(ENOMEM);
                }
            }
            Accounting::Process => {
                // Whatever is charged so was prepared for it.
                warn_on_once!(self.process.is_none());
                let process = self.process.as_ref().ok_or(EINVAL)?;
                process.charge(npages, self.task(), wait)?;
            }
        }
        self.add_pinned(to_isize(npages));
        Ok(())
    }

    /// Charges `npages` pages, and does not wait. On failure nothing is charged. Returns `ENOMEM` if this
    /// exceeds the limit, `EINVAL` if the process has ended, and `EAGAIN` if its mmap lock is not free.
    pub(crate) fn try_charge(&self, accounting: Accounting, npages: u64) -> Result {
        self.charge(accounting, npages, false)
    }

    /// Returns by how many pages the limit is exceeded if `npages` more are charged now, or 1 if it
    /// is not exceeded any more.
    pub(crate) fn excess(&self, accounting: Accounting, npages: u64) -> u64 {
        let Some(limit) = self.limit(accounting) else {
            return 1;
        };
        let wanted = self.charged(accounting).saturating_add(npages);
        wanted.saturating_sub(limit).max(1)
    }

    /// Returns the limit in pages, or `None` if there is none.
    pub(crate) fn limit(&self, accounting: Accounting) -> Option<u64> {
        if accounting == Accounting::Unlimited {
            return None;
        }
        // SAFETY: `self` holds a reference to the task.
        let limit = unsafe { bindings::iommufd_rs_memlock_limit(self.task().as_ptr()) };
        Some(to_u64(limit))
    }

    /// Returns the number of pages that count against the limit: those that the user, or the
    /// process, has locked by whatever means. Without a limit it is the number of pages that are
    /// pinned for the process.
    pub(crate) fn charged(&self, accounting: Accounting) -> u64 {
        // SAFETY: `self` holds references to the user and to the address space.
        let charged = unsafe {
            match accounting {
                Accounting::Unlimited => bindings::iommufd_rs_pinned_vm(self.mm().as_raw()),
                Accounting::User => bindings::iommufd_rs_user_locked_vm(self.user()),
                Accounting::Process => bindings::iommufd_rs_locked_vm(self.mm().as_raw()),
            }
        };
        to_u64(charged)
    }

    /// Undoes the charge of `npages` pages. Does not wait: pages that are charged to the process stay so
    /// while another task has its mmap lock, see [`uncharge`](crate::kapi::mm::uncharge).
    pub(crate) fn uncharge(&self, accounting: Accounting, npages: u64) {
        match accounting {
            Accounting::Unlimited => {}
            // SAFETY: `self` holds a reference to the user.
            Accounting::User => unsafe {
                bindings::iommufd_rs_uncharge_user(self.user(), to_usize(npages))
            },
            Accounting::Process => {
                warn_on_once!(self.process.is_none());
                if let Some(process) = &self.process {
                    process.uncharge(npages);
                }
            }
        }
        self.add_pinned(-to_isize(npages));
    }

    fn add_pinned(&self, npages: isize) {
        // SAFETY: `self` holds a reference to the address space, whose counter is atomic.
        unsafe { bindings::iommufd_rs_add_pinned_vm(self.mm().as_raw(), npages) };
    }

    /// Returns whether pages that are charged to `other` count against the same limit as those that
    /// are charged to `self`.
    pub(crate) fn same_account(&self, other: &Self, accounting: Accounting) -> bool {
        // Every mode counts in the address space; see `charge`.
        core::ptr::eq(self.mm().as_raw(), other.mm().as_raw())
            && (accounting != Accounting::User || self.user() == other.user())
    }

    /// As [`AccountedMm::uncharge`], where `npages` may be 0.
    pub(crate) fn uncharge_some(&self, accounting: Accounting, npages: u64) {
        if npages != 0 {
            self.uncharge(accounting, npages);
        }
    }

    /// Returns whether `other` is the same address space.
    pub(super) fn same_mm(&self, other: &Self) -> bool {
        core::ptr::eq(self.mm().as_raw(), other.mm().as_raw())
    }

    /// Returns whether `other` is the same address space and user.
    pub(crate) fn is(&self, other: &Self) -> bool {
        core::ptr::eq(self.mm().as_raw(), other.mm().as_raw()) && self.user() == other.user()
    }

    /// Returns the id of the user as the current task sees it.
    pub(crate) fn uid(&self) -> u32 {
        // SAFETY: `self` holds a reference to the user.
        unsafe { bindings::iommufd_rs_uid(self.user()) }
    }

    /// Returns the id of the process as the current task sees it, or 0 if the process has ended or
    /// is in no PID namespace that the current task sees.
    pub(crate) fn pid(&self) -> i32 {
        // SAFETY: `self` holds a reference to the task.
        unsafe { bindings::iommufd_rs_tgid(self.task().as_ptr()) }
    }

    /// Returns whether the current task runs in this address space.
    pub(crate) fn is_current(&self) -> bool {
        is_current(self.mm())
    }
}

/// Returns whether the current task runs in the address space `mm`.
fn is_current(mm: &Mm) -> bool {
    current!()
        .mm()
        .is_some_and(|current| core::ptr::eq(current.as_raw(), mm.as_raw()))
}

/// Returns whether the current task is a kernel thread without an address space, which can adopt one.
/// A process that exits has none either when it closes its files, and cannot.
pub(crate) fn can_adopt_mm() -> bool {
    let task = Task::current_raw();
    // SAFETY: The current task exists during the call, and nothing else changes its flags.
    let flags = unsafe { (*task).flags };
    flags & bindings::PF_KTHREAD != 0 && current!().mm().is_none()
}

/// Returns `EFAULT` unless the current task can access the address space by user addresses: it is
/// that of the task, or the task is a kernel thread, which can adopt it.
fn check_access(mm: &Mm) -> Result {
    if is_current(mm) || can_adopt_mm() {
        Ok(())
    } else {
        Err(EFAULT)
    }
}

/// Copies from the address `addr` of an address space to `data`. It must be the address space of
/// the current task, or the task must be a kernel thread.
///
/// Returns `EFAULT` if it is neither, or if the memory cannot be read.
pub(crate) fn read_mm(mm: &MmWithUser, addr: u64, data: &mut [u8]) -> Result {
    check_access(mm)?;
    // SAFETY:
    // - `mm` has users, and `check_access` has found that the task may access it or adopt it.
    // - `data` can be written.
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

/// Copies `data` to the address `addr` of an address space, under the conditions of [`read_mm`].
///
/// Returns `EFAULT` if these do not hold, or if the memory cannot be written.
pub(crate) fn write_mm(mm: &MmWithUser, addr: u64, data: &[u8]) -> Result {
    check_access(mm)?;
    // SAFETY:
    // - `mm` has users, and `check_access` has found that the task may access it or adopt it.
    // - `data` can be read.
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

/// Returns whether the current task has a capability (`CAP_*`).
fn capable(capability: u32) -> bool {
    // SAFETY: The function may be called in any task.
    unsafe { bindings::capable(capability as c_int) }
}

/// Returns whether the current task may lock memory without limit (`CAP_IPC_LOCK`).
pub(crate) fn may_lock_without_limit() -> bool {
    capable(bindings::CAP_IPC_LOCK)
}

/// Returns whether the current task may use devices that no IOMMU confines (`CAP_SYS_RAWIO`).
pub(crate) fn may_do_raw_io() -> bool {
    capable(bindings::CAP_SYS_RAWIO)
}

/// Returns whether the current task may change resource limits (`CAP_SYS_RESOURCE`).
pub(crate) fn may_change_limits() -> bool {
    capable(bindings::CAP_SYS_RESOURCE)
}
