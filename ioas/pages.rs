// SPDX-License-Identifier: GPL-2.0-only

//! Memory sources: what a mapping maps.
//!
//! A [`Pages`] is a linear run of user memory, given by address or by memfd, that areas of any
//! number of IOASes share. It pins pages for their users and charges them to the process
//! that made it. Which pages are pinned is committed in [`Segments`].
//!
//! The lock (rank 30) is pinned while pages are pinned or mapped into a domain; the mmap lock and
//! the page tables' own locks are taken inside it. Several `Pages` are never locked at once.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        MutexGuard, //
    }, //
};

use crate::{
    ioas::{
        builder::Builder,
        mmio::Mmio,
        segments::Segments,
        transfer::Transfer, //
    },
    kapi::{
        dma_buf::import::{
            Attachment,
            DmaBuf, //
        },
        fault_injection,
        file::pinnable::PinnableFile,
        mm::{
            locked_vm::{
                self,
                may_lock_without_limit,
                AccountedMm,
                Accounting, //
            },
            pin::{
                Extent,
                PinnedRun,
                Pinner,
                Sink, //
            }, //
        },
        sync::chunks::Chunks,
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

/// Where the memory comes from.
pub(crate) enum Source {
    /// The owner's memory from this address, page aligned.
    User { addr: u64 },
    /// A memfd's memory from this byte, page aligned.
    File { file: PinnableFile, start: u64 },
    /// A dma-buf's memory from this byte, page aligned. It is not pinned or charged.
    Mmio { buf: Attachment<Mmio>, start: u64 },
}

/// A linear run of memory that can be pinned.
#[pin_data]
pub(crate) struct Pages {
    source: Source,
    /// Whether devices may be given permission to write.
    writable: bool,
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    owner: AccountedMm,
    accounting: Accounting,
    /// Everything here is charged to `owner`.
    segments: Segments,
    /// Who shall be `owner` next, and how many pages were charged to them as well.
    pending_owner: Option<(AccountedMm, u64)>,
}

impl Pages {
    /// `length` bytes of the caller's memory from `addr`, and the offset of the first byte into its
    /// page. `process` chooses the accounting of a caller that is limited. `EINVAL` for no bytes,
    /// `EOVERFLOW` where they pass the end of the address space, `ENOMEM`.
    pub(crate) fn from_user(
        addr: u64,
        length: u64,
        writable: bool,
        process: bool,
    ) -> Result<(Arc<Self>, u64)> {
        addr.checked_add(length).ok_or(EOVERFLOW)?;
        check_length(length)?;
        let offset = page_offset(addr);
        let source = Source::User {
            addr: addr - offset,
        };
        Ok((Self::new(source, writable, process)?, offset))
    }

    /// `length` bytes of a file or dma-buf from byte `start`, as [`Pages::from_user`]; also what
    /// [`PinnableFile::get`] and [`Mmio::attach`] fail with, and `EINVAL` where the dma-buf is
    /// shorter.
    pub(crate) fn from_file(
        fd: i32,
        start: u64,
        length: u64,
        writable: bool,
        process: bool,
    ) -> Result<(Arc<Self>, u64)> {
        let extra = length.checked_sub(1).ok_or(EINVAL)?;
        let last = start.checked_add(extra).ok_or(EOVERFLOW)?;
        let offset = page_offset(start);
        let source = match DmaBuf::get(fd) {
            Some(buf) => {
                if buf.size() <= last {
                    return Err(EINVAL);
                }
                check_length(length)?;
                Source::Mmio {
                    buf: Mmio::attach(buf)?,
                    start: start - offset,
                }
            }
            None => {
                let file = PinnableFile::get(fd)?;
                check_length(length)?;
                Source::File {
                    file,
                    start: start - offset,
                }
            }
        };
        Ok((Self::new(source, writable, process)?, offset))
    }

    fn new(source: Source, writable: bool, process: bool) -> Result<Arc<Self>> {
        let accounting = if may_lock_without_limit() {
            Accounting::Unlimited
        } else if process {
            Accounting::Process
        } else {
            Accounting::User
        };
        let owner = AccountedMm::current()?;
        Arc::pin_init(
            pin_init!(Self {
                source,
                writable,
                inner <- new_mutex!(
                    Inner {
                        owner,
                        accounting,
                        segments: Segments::new(),
                        pending_owner: None,
                    },
                    "Pages::inner"
                ),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Whether devices may be given permission to write.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// The address of the first byte, as far as alignment is concerned.
    pub(crate) fn origin(&self) -> u64 {
        match &self.source {
            Source::User { addr } => *addr,
            Source::File { start, .. } | Source::Mmio { start, .. } => *start,
        }
    }

    /// The memory's device side where it is a dma-buf, and the page that is our first.
    pub(crate) fn mmio(&self) -> Option<(&Mmio, u64)> {
        match &self.source {
            Source::Mmio { buf, start } => Some((buf.importer(), start >> PAGE_SHIFT)),
            _ => None,
        }
    }

    /// Begins to pin `range`. `ENOMEM`.
    pub(crate) fn begin_pin(&self, range: PageRange) -> Result<PendingPin<'_>> {
        let mut inner = self.inner.lock();
        inner.segments.cut(range)?;
        Ok(PendingPin {
            pages: self,
            inner,
            range,
            builder: Builder::new(range.start()),
            charged: 0,
            committed: false,
        })
    }

    /// Pins the pages of `range` that are not pinned, keeps all of it pinned until [`Pages::unpin`],
    /// and passes its physical memory to `each` in order. Returns the errors of [`PendingPin::pin`] and
    /// of `each`, and then nothing has changed.
    pub(crate) fn pin(
        &self,
        range: PageRange,
        mut each: impl FnMut(PinnedRun<'_>) -> Result,
    ) -> Result {
        let mut pending = self.begin_pin(range)?;
        if !pending.pin(|new| new.iter().try_for_each(|extent| each(extent.run())))? {
            pending.runs().try_for_each(each)?;
        }
        pending.commit();
        Ok(())
    }

    /// The memory of `range`, which the caller has pinned. It stays as it is while this exists.
    pub(crate) fn pinned(&self, range: PageRange) -> Pinned<'_> {
        Pinned {
            inner: self.inner.lock(),
            range,
        }
    }

    /// Makes two users of one, of the pages up to and from byte `at`: each unpins alone. A page
    /// that both have counts for both, if it is `pinned` at all. `ENOMEM`, and then nothing has
    /// changed.
    pub(crate) fn divide(&self, at: u64, pinned: bool) -> Result {
        if !pinned {
            return Ok(());
        }
        let shared = page_offset(at) != 0;
        self.inner.lock().segments.divide(at >> PAGE_SHIFT, shared)
    }

    /// Ends a [`Pages::pin`] of `range`.
    pub(crate) fn unpin(&self, range: PageRange) {
        let mut inner = self.inner.lock();
        let npages = inner.segments.put(range);
        inner.uncharge(npages);
    }

    /// The physical address of the first page of `range`, and how many of its pages follow on from
    /// there without a break. `None` where it is not pinned.
    pub(crate) fn contiguous(&self, range: PageRange) -> Option<(u64, u64)> {
        let inner = self.inner.lock();
        let run = inner.segments.runs(range).next()?;
        Some((run.phys(), run.npages()))
    }

    /// Whether the memory is a memfd's, which any process can map.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.source, Source::File { .. })
    }

    /// Charges what is pinned to `pending_owner` as well, once. The caller keeps pages from being
    /// pinned or unpinned until it calls [`Pages::commit_owner`] or [`Pages::revert_owner`].
    /// `ENOMEM` where that passes a limit, and then nothing has changed.
    pub(crate) fn charge_pending_owner(&self, pending_owner: &AccountedMm) -> Result {
        let mut inner = self.inner.lock();
        if inner.pending_owner.is_none() {
            let npages = if inner.owner.same_account(pending_owner, inner.accounting) {
                0
            } else {
                inner.segments.pinned()
            };
            pending_owner.charge_some(inner.accounting, npages)?;
            inner.pending_owner = Some((pending_owner.clone(), npages));
        }
        Ok(())
    }

    /// Makes the pending owner, if there is one, the owner: the charge of the old one ends.
    pub(crate) fn commit_owner(&self) {
        let mut inner = self.inner.lock();
        let old = inner.pending_owner.take().map(|(pending_owner, npages)| {
            let old = core::mem::replace(&mut inner.owner, pending_owner);
            old.uncharge_some(inner.accounting, npages);
            old
        });
        drop(inner);
        drop(old);
    }

    /// Takes back the charge of the pending owner, if there is one.
    pub(crate) fn revert_owner(&self) {
        let mut inner = self.inner.lock();
        let pending_owner = inner.pending_owner.take();
        if let Some((pending_owner, npages)) = &pending_owner {
            pending_owner.uncharge_some(inner.accounting, *npages);
        }
        drop(inner);
        drop(pending_owner);
    }

    /// Copies bytes from `start` on, counted from the first page. Returns `EFAULT` if there is no
    /// memory or its process may not access it like this, and `ENOMEM`; see
    /// [`Ioas::copy_bytes`](crate::ioas::Ioas::copy_bytes).
    pub(crate) fn copy_bytes(
        &self,
        start: u64,
        transfer: Transfer<'_>,
        borrow_mm: bool,
        slow: bool,
    ) -> Result {
        let inner = self.inner.lock();
        if let Source::User { addr } = self.source {
            // The owner's own address space, or one that may be borrowed, is as good as its pages.
            let here = inner.owner.is_current();
            if !slow && (here || borrow_mm) {
                if let Some(mm) = inner.owner.mm().mmget_not_zero() {
                    drop(inner);
                    return match transfer {
                        Transfer::Read(data) => locked_vm::read_mm(&mm, addr + start, data),
                        Transfer::Write(data) => locked_vm::write_mm(&mm, addr + start, data),
                    };
                }
            }
        }
        self.copy_pages(&inner, start, transfer)
    }

    /// Copies bytes through their pages. Those that are not pinned are pinned for the time of the
    /// copy, uncharged, and all of them before the first byte is copied.
    fn copy_pages(&self, inner: &Inner, start: u64, mut transfer: Transfer<'_>) -> Result {
        let last = start + to_u64(transfer.len()) - 1;
        let range = PageRange::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT).ok_or(EINVAL)?;
        let mut missing = Missing::default();
        for gap in inner.segments.gaps(range) {
            let mut pinner = Pinner::new(gap.len(), transfer.is_write())?.for_a_moment();
            missing.next = gap.start();
            self.source
                .pin(&mut pinner, &inner.owner, gap, &mut missing)?;
        }

        let mut missing = missing.extents.iter().peekable();
        let mut done = 0;
        while done < transfer.len() {
            let at = start + to_u64(done);
            let index = at >> PAGE_SHIFT;
            let len = to_usize(PAGE_SIZE - page_offset(at)).min(transfer.len() - done);
            let piece = transfer.part(done, len).ok_or(EINVAL)?;
            let found = inner.segments.extent_at(index).or_else(|| {
                while missing.next_if(|found| found.last < index).is_some() {}
                let found = missing.peek()?;
                Some((&found.extent, index.checked_sub(found.first)?))
            });
            let (extent, skip) = found.ok_or(EFAULT)?;
            copy_page(extent, (skip << PAGE_SHIFT) + page_offset(at), piece)?;
            done += len;
        }
        Ok(())
    }
}

impl Source {
    /// Pins `pages` of the memory and has `sink` take them. Returns `EFAULT` if there is no memory,
    /// `EINVAL` if a file is shorter or for device memory, `ENOMEM`, and what `sink` fails with.
    fn pin(
        &self,
        pinner: &mut Pinner,
        owner: &AccountedMm,
        pages: PageRange,
        sink: &mut impl Sink,
    ) -> Result {
        let before = pages.start() << PAGE_SHIFT;
        match self {
            Self::User { addr } => pinner.pin_user(owner.mm(), addr + before, pages.len(), sink),
            Self::File { file, start } => pinner.pin_file(file, start + before, pages.len(), sink),
            Self::Mmio { .. } => Err(EINVAL),
        }
    }
}

impl Inner {
    fn uncharge(&self, npages: u64) {
        self.owner.uncharge_some(self.accounting, npages);
    }
}

/// Pages go into segments, and to whoever else wants them.
struct ToSegments<'a, F> {
    builder: &'a mut Builder,
    segments: &'a mut Segments,
    each: &'a mut F,
}

impl<F: FnMut(&[Extent]) -> Result> Sink for ToSegments<'_, F> {
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
        self.builder.push(self.segments, pages, self.each)
    }
}

/// An extent that is pinned for the time of a copy.
struct Found {
    /// Index of the first page.
    first: u64,
    /// Index of the last page.
    last: u64,
    extent: Extent,
}

/// Pages that are pinned for the time of a copy.
#[derive(Default)]
struct Missing {
    extents: Chunks<Found>,
    /// Index of the next page.
    next: u64,
}

impl Sink for Missing {
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
        for extent in pages {
            let extent = extent?;
            let (first, npages) = (self.next, extent.npages());
            self.next += npages;
            self.extents.push(Found {
                first,
                last: self.next - 1,
                extent,
            })?;
        }
        Ok(())
    }
}

/// Memory that is pinned, under the lock.
pub(crate) struct Pinned<'a> {
    inner: MutexGuard<'a, Inner>,
    range: PageRange,
}

impl Pinned<'_> {
    /// The physical memory in order, in runs that are as long as can be.
    pub(crate) fn runs(&self) -> impl Iterator<Item = PinnedRun<'_>> {
        self.inner.segments.runs(self.range)
    }
}

/// A pin of a range that is not complete, under the lock. Dropping it unpins what was pinned for
/// it, so the use of memory that `each` was given must end before.
pub(crate) struct PendingPin<'a> {
    pages: &'a Pages,
    inner: MutexGuard<'a, Inner>,
    range: PageRange,
    /// Pages that are pinned and in no segment yet.
    builder: Builder,
    /// How many pages were charged.
    charged: u64,
    committed: bool,
}

impl PendingPin<'_> {
    /// Pins the pages of the range that are not pinned.
    ///
    /// If none was pinned before, passes the physical memory to `each` in order, as soon as it is
    /// pinned, and returns true. Returns false if `each` has not been called; [`PendingPin::runs`] has
    /// the memory then.
    ///
    /// Returns `ENOMEM` also if RLIMIT_MEMLOCK is reached, `EFAULT` if there is no memory, `EINVAL` if
    /// a file is shorter, and the errors of `each`.
    pub(crate) fn pin(&mut self, mut each: impl FnMut(&[Extent]) -> Result) -> Result<bool> {
        let Inner {
            owner,
            accounting,
            segments,
            ..
        } = &mut *self.inner;
        let wanted: u64 = segments.gaps(self.range).map(|gap| gap.len()).sum();
        if wanted == 0 {
            return Ok(false);
        }
        // Charging first keeps a limited user from pinning beyond the limit even for a moment.
        fault_injection::point(ENOMEM)?;
        owner.charge(*accounting, wanted)?;
        self.charged = wanted;

        // Runs that are pinned in part already are not cut where that part begins and ends.
        let all = wanted == self.range.len();
        let mut each = |extents: &[Extent]| if all { each(extents) } else { Ok(()) };
        let mut pinner = Pinner::new(wanted, self.pages.writable)?;
        let mut rest = Some(self.range);
        while let Some(gap) = rest.and_then(|rest| segments.gaps(rest).next()) {
            self.builder = Builder::new(gap.start());
            let mut sink = ToSegments {
                builder: &mut self.builder,
                segments,
                each: &mut each,
            };
            self.pages.source.pin(&mut pinner, owner, gap, &mut sink)?;
            self.builder.finish(segments, &mut each)?;
            let next = gap.last().checked_add(1);
            rest = next.and_then(|start| PageRange::new(start, self.range.last()));
        }
        Ok(all)
    }

    /// The physical memory of the range, as [`Pinned::runs`].
    pub(crate) fn runs(&self) -> impl Iterator<Item = PinnedRun<'_>> {
        self.inner.segments.runs(self.range)
    }

    /// Keeps the range pinned until [`Pages::unpin`].
    pub(crate) fn commit(mut self) {
        self.inner.segments.get(self.range);
        self.committed = true;
    }
}

impl Drop for PendingPin<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        self.builder = Builder::new(0);
        // What was pinned just now has no users; what was pinned before has.
        self.inner.segments.discard_unused(self.range);
        self.inner.uncharge(self.charged);
    }
}

/// Copies bytes of one page, `offset` bytes into an extent.
fn copy_page(extent: &Extent, offset: u64, transfer: Transfer<'_>) -> Result {
    match transfer {
        Transfer::Read(data) => extent.read(offset, data),
        Transfer::Write(data) => extent.write(offset, data),
    }
}

/// Lengths are rounded up to pages later.
fn check_length(length: u64) -> Result {
    if length == 0 || length > u64::MAX - PAGE_SIZE {
        Err(EINVAL)
    } else {
        Ok(())
    }
}
