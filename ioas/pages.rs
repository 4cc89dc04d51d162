// SPDX-License-Identifier: GPL-2.0-only

//! Memory sources: the memory that is mapped.
//!
//! A [`Pages`] is a linear run of user memory, given by address or by memfd, or a dma-buf. Areas of
//! any number of address spaces share it. It pins pages for its users and charges them to the
//! process that made it. [`Segments`] has the pinned pages.
//!
//! The lock `Pages::inner` (rank 30) is held while a piece of memory is mapped into a domain, and not
//! while pinning may wait (`ioas/pin.rs`). The locks of page tables are taken inside it, and the mmap lock is
//! tried. No two of these locks are held at once.

use kernel::{
    mm::Mm,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex,
        MutexGuard, //
    }, //
};

use crate::{
    ioas::{
        division::SHORT,
        extents::Extents,
        missing::Missing,
        mmio::Mmio,
        segments::Segments,
        tally::Tally,
        transfer::Transfer, //
    },
    kapi::{
        bug::{
            debug_warn_on_once,
            some_or_warn,
            warn_on_once, //
        },
        dma_buf::import::DmaBuf,
        file::pinnable::PinnableFile,
        mm::{
            advance::Advance,
            alive::alive,
            locked_vm::{
                self,
                may_lock_without_limit,
                Accounting, //
            },
            pin::{
                Extent,
                Pinner,
                Sink, //
            },
            usage::{
                Account,
                Owner,
                Usage, //
            }, //
        },
        reason::{
            Because,
            Reason,
            Refusal,
            Result, //
        },
        sync::{
            killable::{
                let_waiters_in,
                lock_killable, //
            },
            shared::Shared,
            wait_queue::{
                new_wait_queue,
                WaitQueue, //
            }, //
        },
        units::{
            page_offset,
            to_u64,
            to_usize,
            PageRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The origin of the memory.
pub(super) enum Source {
    /// The owner's memory from this page-aligned address.
    User { addr: u64 },
    /// A memfd's memory from this page-aligned byte.
    File { file: PinnableFile, start: u64 },
    /// A dma-buf's memory from this page-aligned byte. It is neither pinned nor charged.
    Mmio { buf: Mmio, start: u64 },
}

/// A linear run of memory.
#[pin_data]
pub(crate) struct Pages {
    pub(super) source: Source,
    /// Whether devices may be given permission to write.
    writable: bool,
    #[pin]
    pub(super) inner: Mutex<Inner>,
    /// For tasks that wait until [`Inner::pins`] is less.
    #[pin]
    pub(super) pin_ended: WaitQueue,
}

/// A guard of [`Pages::inner`].
pub(super) type InnerGuard<'a> = MutexGuard<'a, Inner>;

/// See [`Pages::inner`].
pub(super) struct Inner {
    owner: Owner,
    accounting: Accounting,
    /// The pinned pages, all of which are charged to `owner`.
    pub(super) segments: Segments,
    /// The number of pages that are charged to `owner`.
    charged: Tally,
    /// The number of tasks that pin pages which are charged already.
    pub(super) pins: Tally,
    /// The next `owner`, and the number of pages that are charged to it as well.
    pending_owner: Option<(Owner, u64)>,
    /// Whether a task has pinned while there was a `pending_owner`: pages may have been charged twice.
    pinned_meanwhile: bool,
}

impl Pages {
    /// Creates a source of `length` bytes of the caller's memory from `addr`. Returns it with the
    /// offset of the first byte into its page. `account` says how pages are charged if the
    /// caller has a limit.
    ///
    /// Returns `EINVAL` if `length` is 0, `EOVERFLOW` if the range passes the end of the address
    /// space, and `ENOMEM`.
    pub(crate) fn from_user(
        addr: u64,
        length: u64,
        writable: bool,
        account: Account<'_>,
    ) -> Result<(Shared<Self>, u64)> {
        addr.checked_add(length)
            .ok_or(Reason::MapOverflow.with(addr))?;
        check_length(length)?;
        let offset = page_offset(addr);
        let source = Source::User {
            addr: addr - offset,
        };
        Ok((Self::new(source, writable, account)?, offset))
    }

    /// As [`Pages::from_user`], with `length` bytes of a file or dma-buf from byte `start`. Returns
    /// also the errors of [`PinnableFile::get`] and [`Mmio::attach`], and `EINVAL` if the dma-buf
    /// is shorter.
    pub(crate) fn from_file(
        fd: i32,
        start: u64,
        length: u64,
        writable: bool,
        account: Account<'_>,
    ) -> Result<(Shared<Self>, u64)> {
        let extra = length
            .checked_sub(1)
            .ok_or(Reason::MapLength.with(length))?;
        let last = start
            .checked_add(extra)
            .ok_or(Reason::MapOverflow.with(start))?;
        let offset = page_offset(start);
        let descriptor = u64::try_from(fd).unwrap_or(u64::MAX);
        let source = match DmaBuf::get(fd) {
            Some(buf) => {
                if buf.size() <= last {
                    return Err(Reason::MapFileEnd.with(buf.size()));
                }
                check_length(length)?;
                Source::Mmio {
                    buf: Mmio::attach(buf).because(Reason::MapDmaBuf, descriptor)?,
                    start: start - offset,
                }
            }
            None => {
                let file = PinnableFile::get(fd).because(Reason::MapFile, descriptor)?;
                check_length(length)?;
                Source::File {
                    file,
                    start: start - offset,
                }
            }
        };
        Ok((Self::new(source, writable, account)?, offset))
    }

    // Otherwise `source` is copied twice.
    #[inline(always)]
    fn new(source: Source, writable: bool, account: Account<'_>) -> Result<Shared<Self>> {
        let Account { usage, process } = account;
        let accounting = if may_lock_without_limit() {
            Accounting::Unlimited
        } else if process {
            Accounting::Process
        } else {
            Accounting::User
        };
        let owner = Usage::current_owner(usage, accounting)?;
        Ok(Shared::pin_init(
            try_pin_init!(Self {
                source,
                writable,
                inner <- new_mutex!(
                    Inner {
                        owner,
                        accounting,
                        segments: Segments::new(),
                        charged: Tally::new(),
                        pins: Tally::new(),
                        pending_owner: None,
                        pinned_meanwhile: false,
                    },
                    "Pages::inner"
                ),
                pin_ended <- new_wait_queue!("Pages::pin_ended"),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Whether devices may be given permission to write.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// Returns an address that is aligned as the first byte is.
    pub(crate) fn origin(&self) -> u64 {
        self.source.addr_of(0)
    }

    /// Returns the device memory and the index of our first page in it if this is a dma-buf.
    pub(crate) fn mmio(&self) -> Option<(&Mmio, u64)> {
        match &self.source {
            Source::Mmio { buf, start } => Some((buf, start >> PAGE_SHIFT)),
            _ => None,
        }
    }

    /// Locks the pinned pages. No task holds the lock while it waits for user memory or for an mmap lock,
    /// but one may map 1 GiB, so only what cannot fail uses this.
    pub(super) fn inner(&self) -> InnerGuard<'_> {
        self.inner.lock()
    }

    /// Locks the pinned pages if no other task has them locked.
    pub(super) fn try_inner(&self) -> Option<InnerGuard<'_>> {
        self.inner.try_lock()
    }

    /// As [`Pages::inner`]. Returns `EINTR` if the task is killed while it waits.
    pub(super) fn inner_killable(&self) -> Result<InnerGuard<'_>> {
        Ok(lock_killable(&self.inner)?)
    }

    /// Returns the origin of the memory.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Divides a user of pinned pages: one user has the pages before byte `at`, which is the first one of
    /// a page, and the other one those from there on. On failure nothing has changed. Returns `ENOMEM`,
    /// and `EINTR` if the task is killed.
    pub(crate) fn divide(&self, at: u64) -> Result {
        debug_warn_on_once!(page_offset(at) != 0);
        let mut inner = self.inner_killable()?;
        Ok(inner.segments.divide(at >> PAGE_SHIFT)?)
    }

    /// Removes a user of `range`: undoes [`Pages::pin`](crate::ioas::pin). The lock is released after some
    /// [`SHORT`] pages, and while pages are unpinned that are one segment.
    pub(crate) fn unpin(&self, range: PageRange) {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let mut inner = self.inner();
            let (piece, more) = inner.segments.divide_behind(range, SHORT);
            let unpinned = inner.unpin(piece);
            drop(inner);
            unpinned.unpin();
            rest = more;
            if rest.is_some() {
                let_waiters_in(&self.inner);
            }
        }
    }

    /// Returns the physical address of the first page of `range`, and the number of its pages that
    /// follow in memory. Returns `None` if the page is not pinned, and `EINTR` if the task is killed.
    pub(crate) fn contiguous(&self, range: PageRange) -> Result<Option<(u64, u64)>> {
        let inner = self.inner_killable()?;
        let run = inner.segments.runs(range).next();
        Ok(run.map(|run| (run.phys(), run.npages())))
    }

    /// Returns true if the memory is a memfd's, which any process can map.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.source, Source::File { .. })
    }

    /// Charges the pinned pages to `pending_owner` as well, once. Pages that are pinned or unpinned
    /// until [`Pages::commit_owner`] or [`Pages::revert_owner`] is called count for both. Adds to `wanted`
    /// how many pages [`Advance`] can pay for. Without an `advance`, and on failure, none is charged, and
    /// [`Pages::revert_owner`] must follow. Returns `ENOMEM` if that exceeds a limit, `EINTR` if the task is
    /// killed, and `EAGAIN` as [`Advance::charge`].
    pub(crate) fn charge_pending_owner(
        &self,
        pending_owner: &Owner,
        advance: Option<&mut Advance>,
        wanted: &mut u64,
    ) -> Result {
        let mut inner = self.inner_killable()?;
        if inner.pending_owner.is_some() {
            return Ok(());
        }
        let npages = if inner.owner.same_account(pending_owner, inner.accounting) {
            0
        } else {
            inner.charged.get()
        };
        if inner.accounting == Accounting::Process {
            *wanted += npages;
        }
        let charged = match advance {
            Some(advance) if npages != 0 => {
                charge(Some(advance), pending_owner, inner.accounting, npages).map(|()| true)
            }
            advance => Ok(advance.is_some()),
        };
        let pending = match charged {
            Ok(true) => (pending_owner.clone(), npages),
            // What is pinned or unpinned until this is removed counts for the owner alone.
            _ => (inner.owner.clone(), 0),
        };
        inner.pending_owner = Some(pending);
        inner.pinned_meanwhile = inner.pins.get() != 0;
        charged.map(|_| ())
    }

    /// Makes the pending owner, if there is one, the owner, and removes the charge to the old one.
    pub(crate) fn commit_owner(&self) {
        let mut inner = self.inner();
        let old = inner.pending_owner.take().map(|(pending_owner, npages)| {
            let old = core::mem::replace(&mut inner.owner, pending_owner);
            inner
                .owner
                .usage()
                .charge_to(&inner.owner, inner.accounting);
            old.uncharge_some(inner.accounting, npages);
            old
        });
        drop(inner);
        drop(old);
    }

    /// Removes the charge to the pending owner, if there is one. Returns whether pages may have been charged
    /// twice then, by tasks that pin: after [`Pages::wait_for_pin`] they may be no more.
    pub(crate) fn revert_owner(&self) -> bool {
        let mut inner = self.inner();
        let Some((pending_owner, npages)) = inner.pending_owner.take() else {
            // It was not come to, but may be charged to the same account.
            return inner.pins.get() != 0;
        };
        pending_owner.uncharge_some(inner.accounting, npages);
        let pinned_meanwhile = inner.pinned_meanwhile;
        drop(inner);
        drop(pending_owner);
        pinned_meanwhile
    }

    /// Waits until a task that pins has ended, if there is one. Returns `EINTR` if the task is killed.
    pub(crate) fn wait_for_pin(&self) -> Result {
        let inner = self.inner_killable()?;
        if inner.pins.get() != 0 {
            self.pin_ended.wait_killable(inner)?;
        }
        Ok(())
    }

    /// Copies bytes from byte `start` of the memory. See
    /// [`Ioas::copy_bytes`](crate::ioas::Ioas::copy_bytes). Returns `EFAULT` if there is no memory
    /// or its process may not access it in this way, `ENOMEM`, and `EINTR` if the task is killed.
    pub(crate) fn copy_bytes(
        &self,
        start: u64,
        transfer: Transfer<'_>,
        borrow_mm: bool,
        slow: bool,
    ) -> Result {
        let inner = self.inner_killable()?;
        if let Source::User { addr } = self.source {
            // The address space is accessed directly if it is the caller's or may be borrowed.
            let here = inner.owner.is_current();
            if !slow && (here || borrow_mm && locked_vm::can_adopt_mm()) {
                if let Some(mm) = alive(inner.owner.mm()) {
                    drop(inner);
                    return match transfer {
                        Transfer::Read(data) => locked_vm::read_mm(&mm, addr + start, data),
                        Transfer::Write(data) => locked_vm::write_mm(&mm, addr + start, data),
                    }
                    .because(Reason::AccessMemory, start);
                }
            }
        }
        self.copy_pages(inner, start, transfer)
    }

    /// Copies bytes through their pages. Pages that are not pinned are pinned during the copy,
    /// without a charge, and all of them before the first byte is copied. `inner` is released while
    /// they are.
    fn copy_pages<'a>(
        &'a self,
        inner: InnerGuard<'a>,
        start: u64,
        mut transfer: Transfer<'_>,
    ) -> Result {
        let last = start + to_u64(transfer.len()) - 1;
        let range = some_or_warn!(PageRange::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT))?;
        let mut missing = Missing::new();
        // It is dropped before `missing`: to unpin pages of a file may wait for the file's server.
        let mut inner = inner;
        while let Some(gap) = missing.gap(&inner.segments, range) {
            let mm = inner.other_mm();
            drop(inner);
            let mut pinner = Pinner::new(gap.len(), transfer.is_write())?.for_a_moment();
            self.source
                .pin(&mut pinner, mm.as_deref(), gap, &mut missing)
                .because(Reason::AccessMemory, gap.start() << PAGE_SHIFT)?;
            inner = self.inner_killable()?;
        }

        let mut pinned = inner.segments.extents_in(range).peekable();
        let mut done = 0;
        while done < transfer.len() {
            let at = start + to_u64(done);
            let index = at >> PAGE_SHIFT;
            let len = to_usize(PAGE_SIZE - page_offset(at)).min(transfer.len() - done);
            let piece = some_or_warn!(transfer.part(done, len))?;
            let before = |(first, extent): &(u64, &Extent)| first + extent.npages() <= index;
            while pinned.next_if(before).is_some() {}
            let pinned = pinned.peek().map(|(first, extent)| (*first, *extent));
            let found = Iterator::chain(pinned.into_iter(), missing.at(index))
                .find_map(|(first, extent)| Some((extent, index.checked_sub(first)?)));
            // Every gap was pinned above.
            let (extent, skip) = some_or_warn!(found)?;
            piece
                .copy(extent, (skip << PAGE_SHIFT) + page_offset(at))
                .because(Reason::AccessMemory, at)?;
            done += len;
        }
        Ok(())
    }
}

impl Source {
    /// Returns the address in its process, or the byte of its file, at which page `index` begins.
    pub(super) fn addr_of(&self, index: u64) -> u64 {
        let start = match self {
            Self::User { addr } => *addr,
            Self::File { start, .. } | Self::Mmio { start, .. } => *start,
        };
        start.wrapping_add(index << PAGE_SHIFT)
    }

    /// Pins `pages` of the memory and hands them to `sink`. `mm` is the address space of the owner, or
    /// `None` if it is the caller's. May wait for user memory. Returns `EFAULT` if there is no memory,
    /// `EINVAL` if a file is shorter or for device memory, `EINTR` if the task is being killed,
    /// `ENOMEM`, and the errors of `sink`.
    pub(super) fn pin(
        &self,
        pinner: &mut Pinner,
        mm: Option<&Mm>,
        pages: PageRange,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let before = pages.start() << PAGE_SHIFT;
        match self {
            Self::User { addr } => {
                let task = current!();
                let mm = mm.or_else(|| Some(task.mm()?)).ok_or(EFAULT)?;
                pinner.pin_user(mm, addr + before, pages.len(), sink)
            }
            Self::File { file, start } => pinner.pin_file(file, start + before, pages.len(), sink),
            // The callers handle device memory before they pin.
            Self::Mmio { .. } => {
                warn_on_once!(true);
                Err(EINVAL)
            }
        }
    }
}

impl Source {
    /// Returns whether [`Source::pin_present`] can pin memory of this kind.
    pub(super) fn may_be_present(&self) -> bool {
        matches!(self, Self::User { .. })
    }

    /// As [`Source::pin`], without waiting, if the owner is the caller. See [`Pinner::pin_present`].
    #[inline(always)]
    pub(super) fn pin_present(
        &self,
        pinner: &mut Pinner,
        pages: PageRange,
        sink: &mut impl Sink,
    ) -> Result<bool, Error> {
        let task = current!();
        let (Self::User { addr }, Some(mm)) = (self, task.mm()) else {
            return Ok(false);
        };
        let addr = addr + (pages.start() << PAGE_SHIFT);
        pinner.pin_present(mm, addr, pages.len(), sink)
    }
}

/// Charges `npages` pages. Returns the errors of [`Advance::charge`].
fn charge(
    advance: Option<&mut Advance>,
    owner: &Owner,
    accounting: Accounting,
    npages: u64,
) -> Result {
    let charged = match advance {
        Some(advance) => advance.charge(owner, accounting, npages),
        None => owner.try_charge(accounting, npages),
    };
    charged.map_err(|error| not_charged(owner, accounting, npages, error))
}

/// Returns why `npages` pages could not be charged, with `error`.
pub(super) fn not_charged(
    owner: &Owner,
    accounting: Accounting,
    npages: u64,
    error: Error,
) -> Refusal {
    match error {
        ENOMEM => Reason::MapLimit.with(owner.excess(accounting, npages)),
        EINTR | EAGAIN => error.into(),
        _ => Reason::MapProcessGone.errno(error, 0),
    }
}

impl Inner {
    /// A task that [`Inner::pins`] counts has ended. Who finds fewer of them finds that counted, too.
    pub(super) fn pin_ended(&mut self) {
        self.owner.usage().pin_ended();
        self.pins.sub(1);
    }

    /// Returns the address space of the owner, or `None` if it is the caller's.
    pub(super) fn other_mm(&self) -> Option<ARef<Mm>> {
        let is_other = !self.owner.is_current();
        is_other.then(|| self.owner.mm().into())
    }

    /// Returns true if the memory is the caller's, and charged to it alone.
    pub(super) fn charges_current(&self) -> bool {
        self.owner.is_current() && self.pending_owner.is_none()
    }

    /// Removes a user of `range`, and undoes the charge of the pages that have no other. They are unpinned
    /// when what this returns is dropped, if possible after the lock is released.
    #[must_use]
    pub(super) fn unpin(&mut self, range: PageRange) -> Extents {
        let (npages, unpinned) = self.segments.put(range);
        self.uncharge(npages);
        unpinned
    }

    /// Charges pages that are about to be pinned to the owner, and to the next one if that is
    /// decided. Without an `advance`, nothing was paid for. Returns the errors of [`Advance::charge`],
    /// and then nothing has changed.
    pub(super) fn charge(&mut self, npages: u64, mut advance: Option<&mut Advance>) -> Result {
        self.owner.usage().charge_to(&self.owner, self.accounting);
        charge(advance.as_deref_mut(), &self.owner, self.accounting, npages)?;
        if let Some((next, charged)) = &mut self.pending_owner {
            if !self.owner.same_account(next, self.accounting) {
                if let Err(refusal) = charge(advance, next, self.accounting, npages) {
                    // Then the task pays for the next owner in advance.
                    self.pinned_meanwhile |= refusal.error() == EAGAIN;
                    self.owner.uncharge_some(self.accounting, npages);
                    return Err(refusal);
                }
                *charged += npages;
            }
            self.pinned_meanwhile = true;
        }
        self.charged.add(npages);
        self.owner.usage().add(npages);
        Ok(())
    }

    /// Returns why `npages` pages could not be paid for in advance, with `error`.
    pub(super) fn not_paid(&self, npages: u64, error: Error) -> Refusal {
        not_charged(&self.owner, self.accounting, npages, error)
    }

    /// Undoes the charge of `npages` pages.
    pub(super) fn uncharge(&mut self, npages: u64) {
        self.owner.uncharge_some(self.accounting, npages);
        if let Some((next, charged)) = &mut self.pending_owner {
            if !self.owner.same_account(next, self.accounting) {
                next.uncharge_some(self.accounting, npages);
                warn_on_once!(*charged < npages);
                *charged = charged.saturating_sub(npages);
            }
        }
        self.charged.sub(npages);
        self.owner.usage().sub(npages);
    }
}

/// Checks a length, which is rounded up to pages later. Returns `EINVAL`.
fn check_length(length: u64) -> Result {
    if length == 0 || length > u64::MAX - PAGE_SIZE {
        Err(Reason::MapLength.with(length))
    } else {
        Ok(())
    }
}
