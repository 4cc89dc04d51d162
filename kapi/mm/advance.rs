// SPDX-License-Identifier: GPL-2.0-only

//! Charging processes without waiting under locks.
//!
//! To charge a process takes its mmap lock, which a task of it may have for long. Pages are charged under a
//! lock for which others wait, so [`Advance::charge`] only tries. Where the mmap lock is not free the caller
//! releases what it holds, and [`Advance::pay`] waits, and charges the pages in advance. Then the caller
//! begins again: the pages that are paid for are charged without the lock of the process.

use kernel::prelude::*;

use crate::kapi::{
    mm::{
        locked_vm::Accounting,
        usage::Owner, //
    },
    sync::signal, //
};

/// Pages that are charged to a process and not used yet.
struct Paid {
    owner: Owner,
    npages: u64,
    /// How many there are to be.
    wanted: u64,
}

impl Drop for Paid {
    fn drop(&mut self) {
        self.owner.uncharge_some(Accounting::Process, self.npages);
    }
}

/// What is charged to processes in advance. Dropping it uncharges what was not used, and does not wait.
///
/// # Examples
///
/// ```
/// use crate::kapi::mm::advance::Advance;
///
/// // There is nothing to pay for.
/// assert_eq!(Advance::new().pay(), Ok(()));
/// ```
pub(crate) struct Advance {
    /// Two, because memory whose process is being changed is charged to both.
    paid: [Option<Paid>; 2],
}

impl Advance {
    /// Nothing is charged.
    pub(crate) const fn new() -> Self {
        Self { paid: [None, None] }
    }

    /// Charges `npages` pages to `owner`, first those that are paid for. Does not wait. Returns `ENOMEM` if
    /// that exceeds the limit, `EINVAL` if the process has ended, and `EAGAIN` if its mmap lock is not
    /// free: then [`Advance::pay`] pays for as many. On failure nothing has changed.
    pub(crate) fn charge(&mut self, owner: &Owner, accounting: Accounting, npages: u64) -> Result {
        if accounting != Accounting::Process {
            return owner.try_charge(accounting, npages);
        }
        let mut paid = self.of(owner);
        let have = paid.as_ref().map_or(0, |paid| paid.npages.min(npages));
        if have != npages {
            match owner.try_charge(accounting, npages - have) {
                Err(EAGAIN) => {
                    self.want(owner, npages);
                    return Err(EAGAIN);
                }
                charged => charged?,
            }
        }
        if let Some(paid) = &mut paid {
            paid.npages -= have;
        }
        Ok(())
    }

    /// Charges what is wanted. The caller should hold no lock for which others wait, since this waits for
    /// mmap locks. Returns `ENOMEM` if that exceeds a limit, `EINVAL` if a process has ended, and `EINTR` if
    /// the task is killed.
    pub(crate) fn pay(&mut self) -> Result {
        signal::check_killed()?;
        for paid in self.paid.iter_mut().flatten() {
            let more = paid.wanted.saturating_sub(paid.npages);
            paid.wanted = 0;
            if more != 0 {
                paid.owner.charge(Accounting::Process, more, true)?;
                paid.npages += more;
            }
        }
        Ok(())
    }

    /// Uncharges what was not used. Does not wait.
    pub(crate) fn give_back(&mut self) {
        for paid in self.paid.iter_mut().flatten() {
            let npages = core::mem::take(&mut paid.npages);
            paid.owner.uncharge_some(Accounting::Process, npages);
        }
    }

    /// Returns what is paid for the process of `owner`.
    fn of(&mut self, owner: &Owner) -> Option<&mut Paid> {
        let mut all = self.paid.iter_mut().flatten();
        all.find(|paid| paid.owner.same_mm(owner))
    }

    /// Has [`Advance::pay`] pay for `wanted` pages of `owner` rather than for those of the last call that
    /// returned `EAGAIN`.
    pub(crate) fn want(&mut self, owner: &Owner, wanted: u64) {
        if let Some(paid) = self.of(owner) {
            paid.wanted = wanted;
            return;
        }
        // If neither is free the processes have changed, and the first one may be another one now.
        let free = self.paid.iter().position(Option::is_none).unwrap_or(0);
        if let Some(slot) = self.paid.get_mut(free) {
            *slot = Some(Paid {
                owner: owner.clone(),
                npages: 0,
                wanted,
            });
        }
    }
}
