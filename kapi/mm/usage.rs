// SPDX-License-Identifier: GPL-2.0-only

//! How much memory a context has pinned, and whom it is charged to.
//!
//! The lock (rank 63) is held for a few instructions.

use core::ops::Deref;

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc,
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
        Reason, //
    },
    sync::clear_on_drop::Clear, //
};

/// What pages of a context are charged to, and where that counts them.
///
/// Every mapping has one, and most are of the same process. They share what takes four references.
#[derive(Clone)]
pub(crate) struct Owner(Arc<Charged>);

struct Charged {
    mm: AccountedMm,
    usage: Arc<Usage>,
}

impl Deref for Owner {
    type Target = AccountedMm;

    fn deref(&self) -> &AccountedMm {
        &self.0.mm
    }
}

impl Owner {
    /// Returns where the context counts pinned pages.
    pub(crate) fn usage(&self) -> &Usage {
        &self.0.usage
    }
}

/// The pinned pages of a context.
#[pin_data(PinnedDrop)]
pub(crate) struct Usage {
    /// The number of pinned pages that are charged.
    pinned: Atomic<u64>,
    /// How often a task has ended a pin, for which pages may have been charged twice.
    pins_ended: Atomic<u64>,
    #[pin]
    accounts: SpinLock<Accounts>,
}

/// Each refers to the [`Usage`], so both are dropped with the context ([`Clear`]). Only calls set them,
/// which have a reference to the context.
struct Accounts {
    /// What the memory that was pinned last is charged to.
    charged: Option<(Owner, Accounting)>,
    /// What [`Usage::current_owner`] has made last.
    made: Option<Owner>,
}

impl Usage {
    /// Initialises it: nothing is pinned.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pinned: Atomic::new(0),
            pins_ended: Atomic::new(0),
            accounts <- new_spinlock!(
                Accounts { charged: None, made: None },
                "Usage::accounts"
            ),
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

    /// Counts that a task has ended a pin. Who sees that by [`Usage::pins_ended`] sees what the task
    /// has uncharged before.
    pub(crate) fn pin_ended(&self) {
        self.pins_ended.fetch_add(1, Release);
    }

    /// Returns how often that was counted.
    pub(crate) fn pins_ended(&self) -> u64 {
        self.pins_ended.load(Acquire)
    }

    /// Returns the number of pages.
    pub(crate) fn pinned(&self) -> u64 {
        self.pinned.load(Relaxed)
    }

    /// Records what pages are charged to from now on.
    pub(crate) fn charge_to(&self, owner: &Owner, accounting: Accounting) {
        let mut accounts = self.accounts.lock();
        match &accounts.charged {
            Some((old, as_before)) if *as_before == accounting && old.is(owner) => {}
            _ => {
                let old = accounts.charged.replace((owner.clone(), accounting));
                drop(accounts);
                // Dropping it may free the address space.
                drop(old);
            }
        }
    }

    /// Returns what pages of the current process are charged to from now on. Returns `EINVAL` in a
    /// kernel thread, and `ENOMEM` if there is no memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::kapi::mm::{
    ///     locked_vm::Accounting,
    ///     usage::Usage, //
    /// };
    /// use kernel::sync::Arc;
    ///
    /// // A kernel thread has no address space to charge.
    /// let usage = Arc::pin_init(Usage::new(), GFP_KERNEL)?;
    /// let none = Usage::current_owner(&usage, Accounting::User);
    /// assert!(none.is_err_and(|refusal| refusal.error() == EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    #[inline]
    pub(crate) fn current_owner(this: &Arc<Self>, accounting: Accounting) -> reason::Result<Owner> {
        let by_process = accounting == Accounting::Process;
        // In most calls it is the process of the call before.
        if let Some(owner) = &this.accounts.lock().made {
            if owner.is_as_current(by_process) {
                return Ok(owner.clone());
            }
        }
        Self::make_owner(this, by_process)
    }

    /// Makes what [`Usage::current_owner`] returns from now on in the same process.
    #[cold]
    fn make_owner(this: &Arc<Self>, by_process: bool) -> reason::Result<Owner> {
        let last = this.accounts.lock().made.clone();
        let mm =
            AccountedMm::current(by_process, last.as_deref()).map_err(|error| match error {
                EINVAL => Reason::MapNoProcess.with(0),
                error => error.into(),
            })?;
        let usage = this.clone();
        let owner = Owner(Arc::new(Charged { mm, usage }, GFP_KERNEL_ACCOUNT)?);
        let old = this.accounts.lock().made.replace(owner.clone());
        // Dropping it may free the address space.
        drop(old);
        Ok(owner)
    }

    /// Returns what pages are charged to, or `None` if nothing was pinned yet.
    pub(crate) fn account(&self) -> Option<(Owner, Accounting)> {
        self.accounts.lock().charged.clone()
    }
}

impl Clear for Arc<Usage> {
    fn clear(&self) {
        let mut accounts = self.accounts.lock();
        let dropped = (accounts.charged.take(), accounts.made.take());
        drop(accounts);
        drop(dropped);
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
pub(crate) struct Account<'a> {
    /// Where the context counts it.
    pub(crate) usage: &'a Arc<Usage>,
    /// Whether it is accounted to the process rather than to the user, if there is a limit.
    pub(crate) process: bool,
}
