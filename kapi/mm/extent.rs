// SPDX-License-Identifier: GPL-2.0-only

//! Runs of pinned pages.
//!
//! An [`Extent`] owns one pin on each of its pages, so a pin is neither leaked nor returned twice.
//! [`PinnedRun`] borrows a part of one. C code is given pages as [`PagePtr`].
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)
//!
//! Reference: <https://docs.kernel.org/core-api/pin_user_pages.html>

use core::{
    marker::PhantomData,
    num::NonZeroU64, //
};

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::{
        mm::phys::PhysPiece,
        trace::{
            self,
            emit,
            Event, //
        },
        units::{
            page_offset,
            to_u64,
            to_usize,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

const LEN_BITS: u32 = 23;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;
const WRITABLE: u64 = 1 << LEN_BITS;
pub(super) const PFN_SHIFT: u32 = LEN_BITS + 1;

/// A run of physically contiguous pinned pages, owned. Dropping it unpins the pages.
///
/// Pages that were pinned for writing are marked dirty when they are unpinned, since a device may
/// have written to them.
///
/// The extent has the size of a `u64`: the number of pages is in bits 0 to 22, bit 23 says that the
/// pages were pinned for writing, and the page frame number of the first page is above that, in 40
/// bits. This is enough for physical addresses of 52 bits.
///
/// # Invariants
///
/// The extent owns one pin on each of its pages, which were pinned with `FOLL_WRITE` if the bit is
/// set. There is at least one page.
#[repr(transparent)]
pub(crate) struct Extent(NonZeroU64);

/// The largest number of pages in an [`Extent`].
pub(crate) const MAX_EXTENT_PAGES: u64 = LEN_MASK;

impl Extent {
    /// Creates an extent of `npages` pages from the page frame number `pfn`.
    ///
    /// # Safety
    ///
    /// The caller must own a pin on each of the pages, taken with `FOLL_WRITE` if `writable`, and
    /// gives these pins away. `npages` must be at least 1 and at most [`MAX_EXTENT_PAGES`].
    pub(super) unsafe fn new(pfn: u64, npages: u64, writable: bool) -> Self {
        let raw = (pfn << PFN_SHIFT) | npages | if writable { WRITABLE } else { 0 };
        // INVARIANT: The caller gives the pins away.
        // SAFETY: `npages` is not 0, by the safety requirements.
        Self(unsafe { NonZeroU64::new_unchecked(raw) })
    }

    /// Adds the `npages` pages that follow in memory.
    ///
    /// # Safety
    ///
    /// The caller must own a pin on each of these pages, taken as those of the extent were, and
    /// gives these pins away. The extent must not exceed [`MAX_EXTENT_PAGES`].
    #[inline]
    pub(super) unsafe fn grow(&mut self, npages: u64) {
        // INVARIANT: The caller gives the pins away.
        // SAFETY: The number of pages stays within its bits, by the safety requirements.
        self.0 = unsafe { NonZeroU64::new_unchecked(self.0.get() + npages) };
    }

    /// Returns the page frame number, the number of pages and whether these were pinned for
    /// writing, without unpinning the pages. The pins belong to the caller.
    pub(super) fn into_parts(self) -> (u64, u64, bool) {
        let parts = (self.pfn(), self.npages(), self.is_writable());
        core::mem::forget(self);
        parts
    }

    /// Returns whether it has as many pages as the other, which were pinned alike.
    #[inline]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.0.get() ^ other.0.get()) & (LEN_MASK | WRITABLE) == 0
    }

    /// Returns the page frame number of the first page.
    pub(crate) fn pfn(&self) -> u64 {
        self.0.get() >> PFN_SHIFT
    }

    /// Returns the number of pages. It is not 0.
    pub(crate) fn npages(&self) -> u64 {
        self.0.get() & LEN_MASK
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.pfn() << PAGE_SHIFT
    }

    /// Returns whether the pages were pinned for writing.
    pub(crate) fn is_writable(&self) -> bool {
        self.0.get() & WRITABLE != 0
    }

    /// Hits the tracepoint for pages that were just pinned.
    pub(super) fn trace_pin(&self) {
        emit(|| trace::Pin {
            pfn: self.pfn(),
            npages: self.npages(),
            writable: self.is_writable(),
        });
    }

    /// Borrows all pages.
    pub(crate) fn run(&self) -> PinnedRun<'_> {
        PinnedRun {
            pfn: self.pfn(),
            npages: self.npages(),
            writable: self.is_writable(),
            _extent: PhantomData,
        }
    }

    /// Splits the extent before its page `at`, or returns it if `at` is 0 or not a page of it.
    pub(crate) fn split(self, at: u64) -> Result<(Self, Self), Self> {
        if at == 0 || at >= self.npages() {
            return Err(self);
        }
        let (pfn, npages, writable) = self.into_parts();
        // SAFETY: `into_parts` gave us the pins, of which the first `at` go here; `at` is not 0, as
        // was checked.
        let first = unsafe { Self::new(pfn, at, writable) };
        // SAFETY: The pins behind those go here, and there is one because `at` is below `npages`.
        let second = unsafe { Self::new(pfn + at, npages - at, writable) };
        Ok((first, second))
    }

    /// Appends the pages of `next` if they follow in memory and were pinned alike. Returns `next`
    /// otherwise, and if the extent would exceed [`MAX_EXTENT_PAGES`].
    #[inline]
    pub(crate) fn merge(&mut self, next: Self) -> Result<(), Self> {
        let npages = self.npages() + next.npages();
        if self.pfn() + self.npages() != next.pfn()
            || self.is_writable() != next.is_writable()
            || npages > MAX_EXTENT_PAGES
        {
            return Err(next);
        }
        let (_, more, _) = next.into_parts();
        // SAFETY: `into_parts` gave us the pins, and the checks above are what `grow` requires.
        unsafe { self.grow(more) };
        Ok(())
    }
}

/// Copying between the kernel and pinned pages.
impl Extent {
    /// Copies from the pages to `data`, from byte `offset` of the extent. The bytes must lie in one
    /// page. Returns `EINVAL` if they do not.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> Result {
        self.check(offset, data.len())?;
        // SAFETY: The page is pinned, so it is memory of the kernel's map, and `check` has found
        // that the bytes lie inside it.
        unsafe {
            bindings::iommufd_rs_copy_from_phys(
                data.as_mut_ptr().cast(),
                self.phys() + offset,
                data.len(),
            )
        };
        Ok(())
    }

    /// Copies `data` to the pages, from byte `offset` of the extent. The bytes must lie in one
    /// page. Returns `EINVAL` if they do not, and `EFAULT` if the pages were pinned for reading
    /// only: one of these may be the zero page or a page of a file that is not to be changed.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result {
        self.check(offset, data.len())?;
        if !self.is_writable() {
            return Err(EFAULT);
        }
        // SAFETY: The page is pinned for writing, and `check` has found that the bytes lie inside
        // it.
        unsafe {
            bindings::iommufd_rs_copy_to_phys(
                self.phys() + offset,
                data.as_ptr().cast(),
                data.len(),
            )
        };
        Ok(())
    }

    /// Returns `EINVAL` unless the `len` bytes from `offset` lie in one page of the extent.
    fn check(&self, offset: u64, len: usize) -> Result {
        let in_page = page_offset(offset).saturating_add(to_u64(len)) <= PAGE_SIZE;
        if offset >> PAGE_SHIFT < self.npages() && in_page {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }
}

impl Drop for Extent {
    #[inline]
    fn drop(&mut self) {
        // INVARIANT: It takes over the pins of `self`, which is not used any more.
        let pins = Self(self.0);
        if trace::Unpin::is_read() {
            return pins.unpin_traced();
        }
        pins.unpin();
    }
}

/// Unpinning. The extent is given away by value, so that a caller need not keep it for the tracepoint.
impl Extent {
    #[inline(always)]
    fn unpin(self) {
        let (pfn, npages, writable) = self.into_parts();
        // SAFETY: `into_parts` gave us a pin on each of these pages.
        unsafe { bindings::iommufd_rs_unpin(to_usize(pfn), to_usize(npages), writable) };
    }

    #[cold]
    #[inline(never)]
    fn unpin_traced(self) {
        trace::Unpin {
            pfn: self.pfn(),
            npages: self.npages(),
            writable: self.is_writable(),
        }
        .record();
        self.unpin();
    }
}

/// Physically contiguous pinned pages, borrowed from one or more [`Extent`]s.
///
/// # Invariants
///
/// During `'a` the pages are pinned, for writing if `writable`. There is at least one.
#[derive(Clone, Copy)]
pub(crate) struct PinnedRun<'a> {
    pfn: u64,
    npages: u64,
    writable: bool,
    _extent: PhantomData<&'a Extent>,
}

#[allow(dead_code, reason = "a complete interface; some of it only tests use")]
impl<'a> PinnedRun<'a> {
    /// Returns the number of pages. It is not 0.
    pub(crate) fn npages(&self) -> u64 {
        self.npages
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.pfn << PAGE_SHIFT
    }

    /// Returns `npages` of the pages from page `at`, or as many as there are. Returns `None` if
    /// that is no page.
    pub(crate) fn part(self, at: u64, npages: u64) -> Option<Self> {
        let rest = self.npages.checked_sub(at)?;
        let npages = npages.min(rest);
        // INVARIANT: The pages are pages of `self`, and there is at least one.
        (npages != 0).then_some(Self {
            pfn: self.pfn + at,
            npages,
            ..self
        })
    }

    /// Joins the pages of `next` if they follow in memory and were pinned alike. Returns `None`
    /// otherwise.
    pub(crate) fn join(self, next: Self) -> Option<Self> {
        // INVARIANT: During `'a` the pages of both are pinned.
        let follows = self.pfn + self.npages == next.pfn && self.writable == next.writable;
        follows.then_some(Self {
            npages: self.npages + next.npages,
            ..self
        })
    }

    /// Returns the pages in order.
    pub(crate) fn pages(self) -> impl Iterator<Item = PagePtr> + 'a {
        (self.pfn..self.pfn + self.npages).map(|pfn| {
            // SAFETY: It computes an address; nothing is read.
            PagePtr(unsafe { bindings::iommufd_rs_pfn_to_page(to_usize(pfn)) })
        })
    }
}

impl<'a> From<PinnedRun<'a>> for PhysPiece<'a> {
    fn from(run: PinnedRun<'a>) -> Self {
        // SAFETY:
        // - By the type invariants of `PinnedRun` the pages are pinned during `'a`, and there is at
        //   least one.
        // - Physical addresses have at most 52 bits, so the sum does not overflow.
        unsafe { Self::new(run.phys(), run.npages << PAGE_SHIFT, run.writable) }
    }
}

/// A `struct page *` for C code.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PagePtr(*mut bindings::page);

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl PagePtr {
    /// Returns the pointer.
    pub(crate) fn as_ptr(self) -> *mut bindings::page {
        self.0
    }

    /// Returns a null pointer.
    pub(crate) fn null() -> Self {
        Self(core::ptr::null_mut())
    }
}
