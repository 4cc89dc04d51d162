// SPDX-License-Identifier: GPL-2.0-only

//! How much memory a context has pinned, and whom it is charged to.
//!
//! The lock (rank 63) is held for a few instructions.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        SpinLock, //
    }, //
};

use crate::kapi::{
    bug::warn_on_once,
    mm::locked_vm::{
        AccountedMm,
        Accounting, //
    },
    reason::{
        self,
        Because,
        Reason, //
    }, //
};

/// The pinned pages of a context.
#[pin_data(PinnedDrop)]
pub(crate) struct Usage {
    /// The number of pinned pages that are charged.
    pinned: Atomic<u64>,
    /// What the memory that was pinned last is charged to.
    #[pin]
    account: SpinLock<Option<(AccountedMm, Accounting)>>,
}

impl Usage {
    /// Initialises it: nothing is pinned.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pinned: Atomic::new(0),
            account <- new_spinlock!(None, "Usage::account"),
        })
    }

    /// Counts `npages` more pages.
    pub(crate) fn add(&self, npages: u64) {
        self.pinned.fetch_add(npages, Relaxed);
    }

    /// Counts `npages` fewer pages.
    pub(crate) fn sub(&self, npages: u64) {
        warn_on_once!(self.pinned.fetch_sub(npages, Relaxed) < npages);
    }

    /// Returns the number of pages.
    pub(crate) fn pinned(&self) -> u64 {
        self.pinned.load(Relaxed)
    }

    /// Records what pages are charged to from now on.
    pub(crate) fn charge_to(&self, owner: &AccountedMm, accounting: Accounting) {
        let mut account = self.account.lock();
        match &*account {
            Some((old, as_before)) if *as_before == accounting && old.is(owner) => {}
            _ => {
                let old = account.replace((owner.clone(), accounting));
                drop(account);
                // Dropping it may free the address space.
                drop(old);
            }
        }
    }

    /// Returns what pages of the current process are charged to from now on. Returns `EINVAL` in a
    /// kernel thread, and `ENOMEM` if there is no memory.
    #[inline(always)]
    pub(crate) fn current_owner(&self, accounting: Accounting) -> reason::Result<AccountedMm> {
        let mut owner = AccountedMm::current().because(Reason::MapNoProcess, 0)?;
        if accounting == Accounting::Process {
            let last = self.account();
            owner.prepare(last.as_ref().map(|(last, _)| last))?;
        }
        Ok(owner)
    }

    /// Returns what pages are charged to, or `None` if nothing was pinned yet.
    pub(crate) fn account(&self) -> Option<(AccountedMm, Accounting)> {
        self.account.lock().clone()
    }
}

#[pinned_drop]
impl PinnedDrop for Usage {
    fn drop(self: Pin<&mut Self>) {
        // Memory that was pinned refers to this until it is unpinned.
        warn_on_once!(self.pinned() != 0);
    }
}

/// How memory that is mapped is charged.
pub(crate) struct Account {
    /// Where the context counts it.
    pub(crate) usage: kernel::sync::Arc<Usage>,
    /// Whether it is accounted to the process rather than to the user, if there is a limit.
    pub(crate) process: bool,
}
