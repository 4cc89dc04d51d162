// SPDX-License-Identifier: GPL-2.0-only

//! Accounting of pinned pages. A process is its address space.

use kernel::{
    mm::Mm,
    prelude::*, //
};

/// The limit that pinned pages count against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accounting {
    /// No limit.
    Unlimited,
    /// That of the user. Each process has one of its own.
    User,
    /// That of the process, whose mmap lock is needed.
    Process,
}

/// The address space that pinned pages are charged to.
pub(crate) struct AccountedMm {
    mm: Mm,
}

impl AccountedMm {
    /// Returns that of the current process. All of one process uncharge it together.
    pub(crate) fn current(_by_process: bool, _last: Option<&Self>) -> Result<Self> {
        Ok(Self {
            mm: current!().mm().ok_or(EINVAL)?.clone(),
        })
    }

    /// Returns whether [`AccountedMm::current`] would return an equal one.
    pub(super) fn is_as_current(&self, _by_process: bool) -> bool {
        self.is_current()
    }

    /// Returns the address space.
    pub(crate) fn mm(&self) -> &Mm {
        &self.mm
    }

    /// Charges pages. Returns `ENOMEM` if that exceeds the limit, and `EAGAIN` if the mmap lock is not free
    /// and it is not to `wait` for it.
    pub(super) fn charge(&self, accounting: Accounting, npages: u64, wait: bool) -> Result {
        let charge = || {
            self.mm.settle();
            self.mm.add_locked(npages)
        };
        let charged = match accounting {
            Accounting::Unlimited => true,
            Accounting::User => self.mm.add_locked(npages),
            Accounting::Process if wait => self.mm.with_lock(charge),
            Accounting::Process => self.mm.try_with_lock(charge).ok_or(EAGAIN)?,
        };
        if charged {
            Ok(())
        } else {
            Err(ENOMEM)
        }
    }

    /// Charges pages, and does not wait.
    pub(crate) fn try_charge(&self, accounting: Accounting, npages: u64) -> Result {
        self.charge(accounting, npages, false)
    }

    /// Undoes the charge of pages: with the mmap lock, if need be when it is taken the next time.
    pub(crate) fn uncharge(&self, accounting: Accounting, npages: u64) {
        match accounting {
            Accounting::Unlimited => {}
            Accounting::User => {
                self.mm.sub_locked(npages);
                self.mm.settle();
            }
            Accounting::Process => {
                self.mm.sub_locked(npages);
                self.mm.try_with_lock(|| self.mm.settle());
            }
        }
    }

    /// As [`AccountedMm::uncharge`], where `npages` may be 0.
    pub(crate) fn uncharge_some(&self, accounting: Accounting, npages: u64) {
        if npages != 0 {
            self.uncharge(accounting, npages);
        }
    }

    /// Returns by how many pages the limit is exceeded.
    pub(crate) fn excess(&self, _accounting: Accounting, _npages: u64) -> u64 {
        1
    }

    /// Returns whether both count against the same limit.
    pub(crate) fn same_account(&self, other: &Self, _accounting: Accounting) -> bool {
        self.same_mm(other)
    }

    /// Returns whether both are the same address space.
    pub(super) fn same_mm(&self, other: &Self) -> bool {
        self.mm.as_raw() == other.mm.as_raw()
    }

    /// Returns whether both are the same process.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.same_mm(other)
    }

    /// Returns whether the current task runs in the address space.
    pub(crate) fn is_current(&self) -> bool {
        let task = current!();
        task.mm().is_some_and(|mm| mm.as_raw() == self.mm.as_raw())
    }
}

/// No task may exceed its limit.
pub(crate) fn may_lock_without_limit() -> bool {
    false
}

/// No task is a kernel thread.
pub(crate) fn can_adopt_mm() -> bool {
    false
}

/// Is not called: memory is copied by its pages.
pub(crate) fn read_mm(_mm: &Mm, _addr: u64, _data: &mut [u8]) -> Result {
    unreachable!()
}

/// Is not called: memory is copied by its pages.
pub(crate) fn write_mm(_mm: &Mm, _addr: u64, _data: &[u8]) -> Result {
    unreachable!()
}
