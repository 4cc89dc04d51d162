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

    /// Pins what of `range` is not pinned yet, keeps all of it pinned until [`Pages::release`], and
    /// gives its physical memory to `each` in order: byte address and page count. On failure
    /// nothing has changed. `ENOMEM` also where RLIMIT_MEMLOCK is reached, `EFAULT` where there is
    /// no memory, `EINVAL` where a file is shorter, or what `each` fails with.
    pub(crate) fn hold(
        &self,
        range: PageRange,
        mut each: impl FnMut(u64, u64) -> Result,
    ) -> Result {
        let mut inner = self.inner.lock();

        inner.segments.cut(range)?;
        self.pin_gaps(&mut inner, range)?;
        let mut extents = inner.segments.extents(range);
        let result = extents.try_for_each(|(phys, npages)| each(phys, npages));
        drop(extents);
        match result {
            Ok(()) => inner.segments.hold(range),
            Err(_) => inner.discard_unheld(range),
        }
        result
    }

    /// Gives the physical memory of `range`, which the caller holds, to `each` in order. Fails as
    /// `each` does.
    pub(crate) fn with_extents(
        &self,
        range: PageRange,
        mut each: impl FnMut(u64, u64) -> Result,
    ) -> Result {
        let inner = self.inner.lock();
        let mut extents = inner.segments.extents(range);
        let result = extents.try_for_each(|(phys, npages)| each(phys, npages));
        drop(extents);
        result
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
        let mut pinned = None;
        let mut sink = |extent| {
            pinned = Some(extent);
            Ok(())
        };
        let before = index << PAGE_SHIFT;
        match &self.source {
            Source::User { addr } => {
                pinner.pin_user(inner.payer.mm(), addr + before, 1, &mut sink)?;
            }
            Source::File { file, start } => pinner.pin_file(file, start + before, 1, &mut sink)?,
            Source::Mmio { .. } => return Err(EINVAL),
        }
        pinned.ok_or(EFAULT)
    }

    /// Pins and charges what of `range` is not pinned.
    fn pin_gaps(&self, inner: &mut Inner, range: PageRange) -> Result {
        let wanted: u64 = inner.segments.gaps(range).map(|gap| gap.len()).sum();
        if wanted == 0 {
            return Ok(());
        }
        // Charging first keeps a limited user from pinning beyond the limit even for a moment.
        fault::point(ENOMEM)?;
        inner.payer.charge(inner.accounting, wanted)?;
        let mut pinned = 0;
        let result = self.pin_charged(inner, range, wanted, &mut pinned);
        if result.is_err() {
            inner.uncharge(wanted - pinned);
            inner.discard_unheld(range);
        }
        result
    }

    /// The part of [`Pages::pin_gaps`] that may fail half-way: `pinned` counts the pages that made
    /// it into segments.
    fn pin_charged(
        &self,
        inner: &mut Inner,
        range: PageRange,
        wanted: u64,
        pinned: &mut u64,
    ) -> Result {
        let mut pinner = Pinner::new(wanted, self.writable)?;
        loop {
            let gap = inner.segments.gaps(range).next();
            let Some(gap) = gap else {
                return Ok(());
            };
            let before = gap.start() << PAGE_SHIFT;
            let Inner {
                payer, segments, ..
            } = inner;
            let mut builder = Builder::new(segments, gap.start());
            let result = match &self.source {
                Source::User { addr } => {
                    pinner.pin_user(payer.mm(), addr + before, gap.len(), &mut |extent| {
                        builder.push(extent)
                    })
                }
                Source::File { file, start } => {
                    pinner.pin_file(file, start + before, gap.len(), &mut |extent| {
                        builder.push(extent)
                    })
                }
                Source::Mmio { .. } => Err(EINVAL),
            }
            .and_then(|()| builder.flush());
            *pinned += builder.stored();
            result?;
        }
    }
}

impl Inner {
    fn uncharge(&self, npages: u64) {
        self.payer.uncharge_some(self.accounting, npages);
    }

    fn discard_unheld(&mut self, range: PageRange) {
        let npages = self.segments.discard_unheld(range);
        self.uncharge(npages);
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
