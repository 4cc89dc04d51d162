// SPDX-License-Identifier: GPL-2.0-only

//! Memory sources: what a mapping maps.
//!
//! A [`Pages`] is a linear run of user memory, given by address or by memfd, that areas of any
//! number of IOASes share. It pins pages for whoever holds them and charges them to the process
//! that made it. Which pages are pinned is kept in [`Segments`].
//!
//! The lock (rank 30) is held while pages are pinned or mapped into a domain; the mmap lock and the
//! page tables' own locks are taken inside it. Several `Pages` are never locked at once.

use crate::ioas::access::Transfer;
use crate::ioas::mmio::Mmio;
use crate::ioas::segments::Builder;
use crate::ioas::segments::Segments;
use crate::kapi::dmabuf::Attachment;
use crate::kapi::dmabuf::DmaBuf;
use crate::kapi::fault;
use crate::kapi::file::PinnableFile;
use crate::kapi::locked_vm;
use crate::kapi::locked_vm::may_lock_without_limit;
use crate::kapi::locked_vm::Accounting;
use crate::kapi::locked_vm::Payer;
use crate::kapi::pin::Extent;
use crate::kapi::pin::Pinner;
use crate::kapi::pin::Sink;
use crate::kapi::units::page_offset;
use crate::kapi::units::to_u64;
use crate::kapi::units::to_usize;
use crate::kapi::units::PageRange;
use crate::kapi::units::PAGE_SHIFT;
use crate::kapi::units::PAGE_SIZE;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::MutexGuard;

/// Where the memory comes from.
pub(crate) enum Source {
    /// The payer's memory from this address, page aligned.
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
    payer: Payer,
    accounting: Accounting,
    /// Everything here is charged to `payer`.
    segments: Segments,
    /// Who shall be `payer` next, and how many pages were charged to them as well.
    heir: Option<(Payer, u64)>,
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
        let payer = Payer::current()?;
        Arc::pin_init(
            pin_init!(Self {
                source,
                writable,
                inner <- new_mutex!(
                    Inner {
                        payer,
                        accounting,
                        segments: Segments::new(),
                        heir: None,
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

    /// Begins to hold `range`. `ENOMEM`.
    pub(crate) fn begin_hold(&self, range: PageRange) -> Result<Holding<'_>> {
        let mut inner = self.inner.lock();
        inner.segments.cut(range)?;
        Ok(Holding {
            pages: self,
            inner,
            range,
            builder: Builder::new(range.start()),
            charged: 0,
            kept: false,
        })
    }

    /// Pins what of `range` is not pinned yet, keeps all of it pinned until [`Pages::release`], and
    /// gives its physical memory to `each`. Fails as [`Holding::pin`], and then nothing has changed.
    pub(crate) fn hold(&self, range: PageRange, each: impl FnMut(&[Extent]) -> Result) -> Result {
        let mut holding = self.begin_hold(range)?;
        holding.pin(each)?;
        holding.keep();
        Ok(())
    }

    /// Gives the physical memory of `range`, which the caller holds, to `each` in order. Fails as
    /// `each` does.
    pub(crate) fn with_extents(
        &self,
        range: PageRange,
        each: impl FnMut(&[Extent]) -> Result,
    ) -> Result {
        self.inner.lock().segments.whole(range).try_for_each(each)
    }

    /// Makes two holders of one, of the pages up to and from byte `at`: each lets go alone. A page
    /// that both have counts for both, if it is `held` at all. `ENOMEM`, and then nothing has
    /// changed.
    pub(crate) fn divide(&self, at: u64, held: bool) -> Result {
        let page = PageRange::from_len(at >> PAGE_SHIFT, 1)?;
        let mut inner = self.inner.lock();
        if page_offset(at) == 0 {
            return inner.segments.cut_before(page.start());
        }
        inner.segments.cut(page)?;
        if held {
            inner.segments.hold(page);
        }
        Ok(())
    }

    /// Lets go of `range`, which the caller held.
    pub(crate) fn release(&self, range: PageRange) {
        let mut inner = self.inner.lock();
        let npages = inner.segments.release(range);
        inner.uncharge(npages);
    }

    /// The physical address of the first page of `range`, and how many of its pages follow on from
    /// there without a break. `None` where it is not pinned.
    pub(crate) fn contiguous(&self, range: PageRange) -> Option<(u64, u64)> {
        let inner = self.inner.lock();
        let mut extents = inner.segments.extents(range);
        let (phys, mut npages) = extents.next()?;
        for (next, more) in extents {
            if next != phys + (npages << PAGE_SHIFT) {
                break;
            }
            npages += more;
        }
        Some((phys, npages))
    }

    /// Whether the memory is a memfd's, which any process can map.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.source, Source::File { .. })
    }

    /// Charges what is pinned to `heir` as well, once. The caller keeps pages from being pinned or
    /// let go until it accepts or declines. `ENOMEM` where that passes a limit, and then nothing
    /// has changed.
    pub(crate) fn offer(&self, heir: &Payer) -> Result {
        let mut inner = self.inner.lock();
        if inner.heir.is_none() {
            let npages = if inner.payer.pays_as(heir, inner.accounting) {
                0
            } else {
                inner.segments.pinned()
            };
            heir.charge_some(inner.accounting, npages)?;
            inner.heir = Some((heir.clone(), npages));
        }
        Ok(())
    }

    /// Lets the heir, if there is one, pay alone.
    pub(crate) fn accept(&self) {
        let mut inner = self.inner.lock();
        let old = inner.heir.take().map(|(heir, npages)| {
            let old = core::mem::replace(&mut inner.payer, heir);
            old.uncharge_some(inner.accounting, npages);
            old
        });
        drop(inner);
        drop(old);
    }

    /// Takes back from the heir, if there is one, what was charged.
    pub(crate) fn decline(&self) {
        let mut inner = self.inner.lock();
        let heir = inner.heir.take();
        if let Some((heir, npages)) = &heir {
            heir.uncharge_some(inner.accounting, *npages);
        }
        drop(inner);
        drop(heir);
    }

    /// Copies bytes from `start` on, counted from the first page. `EFAULT` where there is no memory,
    /// `ENOMEM`; see [`Ioas::copy_bytes`](crate::ioas::Ioas::copy_bytes).
    pub(crate) fn copy_bytes(
        &self,
        start: u64,
        mut transfer: Transfer<'_>,
        borrow_mm: bool,
        slow: bool,
    ) -> Result {
        let mut inner = self.inner.lock();
        if let Source::User { addr } = self.source {
            // The owner's own address space, or one that may be borrowed, is as good as its pages.
            let here = inner.payer.is_current();
            if !slow && (here || borrow_mm) {
                if let Some(mm) = inner.payer.mm().mmget_not_zero() {
                    drop(inner);
                    return match transfer {
                        Transfer::Read(data) => locked_vm::read_mm(&mm, addr + start, data),
                        Transfer::Write(data) => locked_vm::write_mm(&mm, addr + start, data),
                    };
                }
            }
        }
        let write = transfer.is_write();
        let mut done = 0;
        while done < transfer.len() {
            let at = start + to_u64(done);
            let index = at >> PAGE_SHIFT;
            let len = to_usize(PAGE_SIZE - page_offset(at)).min(transfer.len() - done);
            let piece = transfer.part(done, len).ok_or(EINVAL)?;
            if let Some((extent, skip)) = inner.segments.extent_at(index) {
                copy_page(extent, (skip << PAGE_SHIFT) + page_offset(at), piece)?;
            } else {
                let extent = self.pin_one(&mut inner, index, write)?;
                copy_page(&extent, page_offset(at), piece)?;
            }
            done += len;
        }
        Ok(())
    }

    /// Pins a page for a moment, uncharged.
    fn pin_one(&self, inner: &mut Inner, index: u64, write: bool) -> Result<Extent> {
        let mut pinner = Pinner::new(1, write)?;
        let mut page = OnePage(None);
        let before = index << PAGE_SHIFT;
        match &self.source {
            Source::User { addr } => {
                pinner.pin_user(inner.payer.mm(), addr + before, 1, &mut page)?;
            }
            Source::File { file, start } => pinner.pin_file(file, start + before, 1, &mut page)?,
            Source::Mmio { .. } => return Err(EINVAL),
        }
        page.0.ok_or(EFAULT)
    }
}

impl Inner {
    fn uncharge(&self, npages: u64) {
        self.payer.uncharge_some(self.accounting, npages);
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

/// The only page that is pinned.
struct OnePage(Option<Extent>);

impl Sink for OnePage {
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
        self.0 = pages.next().transpose()?;
        Ok(())
    }
}

/// Pages that somebody begins to hold, under the lock. Dropping it unpins again what was pinned for
/// that, so whoever was given memory must be done with it before.
pub(crate) struct Holding<'a> {
    pages: &'a Pages,
    inner: MutexGuard<'a, Inner>,
    range: PageRange,
    /// Pages that are pinned and in no segment yet.
    builder: Builder,
    /// How many pages were charged.
    charged: u64,
    kept: bool,
}

impl Holding<'_> {
    /// Pins what is not pinned and gives all of the range's physical memory to `each` in order, as soon
    /// as it is pinned. `ENOMEM` also where RLIMIT_MEMLOCK is reached, `EFAULT` where there is no memory,
    /// `EINVAL` where a file is shorter, or what `each` fails with.
    pub(crate) fn pin(&mut self, mut each: impl FnMut(&[Extent]) -> Result) -> Result {
        let Inner {
            payer,
            accounting,
            segments,
            ..
        } = &mut *self.inner;
        let wanted: u64 = segments.gaps(self.range).map(|gap| gap.len()).sum();
        if wanted == 0 {
            return segments.whole(self.range).try_for_each(each);
        }
        // Charging first keeps a limited user from pinning beyond the limit even for a moment.
        fault::point(ENOMEM)?;
        payer.charge(*accounting, wanted)?;
        self.charged = wanted;

        let mut pinner = Pinner::new(wanted, self.pages.writable)?;
        let mut rest = Some(self.range);
        while let Some(range) = rest {
            segments.whole(range).try_for_each(&mut each)?;
            let Some(gap) = segments.gaps(range).next() else {
                break;
            };
            self.builder = Builder::new(gap.start());
            let mut sink = ToSegments {
                builder: &mut self.builder,
                segments,
                each: &mut each,
            };
            let before = gap.start() << PAGE_SHIFT;
            match &self.pages.source {
                Source::User { addr } => {
                    pinner.pin_user(payer.mm(), addr + before, gap.len(), &mut sink)?;
                }
                Source::File { file, start } => {
                    pinner.pin_file(file, start + before, gap.len(), &mut sink)?;
                }
                Source::Mmio { .. } => return Err(EINVAL),
            }
            self.builder.finish(segments, &mut each)?;
            rest = gap
                .last()
                .checked_add(1)
                .and_then(|start| PageRange::new(start, range.last()));
        }
        Ok(())
    }

    /// Keeps the range pinned until [`Pages::release`].
    pub(crate) fn keep(mut self) {
        self.inner.segments.hold(self.range);
        self.kept = true;
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.builder = Builder::new(0);
        // Nobody holds what was pinned just now, and anybody what was before.
        self.inner.segments.discard_unheld(self.range);
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
