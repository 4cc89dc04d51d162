// SPDX-License-Identifier: GPL-2.0-only

//! Pinning user memory.
//!
//! [`Pinner`] pins pages of an address space or of a memfd and hands them out as [`Extent`]s, runs
//! of physically contiguous pages. An extent owns its pins: dropping it unpins the pages, so pins
//! can neither be leaked nor returned twice.
//!
//! C headers: `include/linux/mm.h`; rules: `Documentation/core-api/pin_user_pages.rst`.

use core::{
    ffi::c_void,
    mem::MaybeUninit,
    num::NonZeroU64, //
};

use kernel::{
    mm::Mm,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        fault_injection,
        file::pinnable::PinnableFile,
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
const DIRTY: u64 = 1 << LEN_BITS;
const PFN_SHIFT: u32 = LEN_BITS + 1;

/// A run of physically contiguous pinned pages, owned.
///
/// Eight bytes: the number of pages in bits 0 to 22, in bit 23 whether a device may have written to
/// them, and above that the first page's PFN: 40 bits, enough for physical addresses of 52.
///
/// # Invariants
///
/// The extent owns one pin on each of its pages. There is at least one page.
pub(crate) struct Extent(NonZeroU64);

/// The most pages that one extent can hold.
pub(crate) const MAX_EXTENT_PAGES: u64 = LEN_MASK;

impl Extent {
    /// # Safety
    ///
    /// The caller gives away a pin on each of `npages` pages from `pfn`, and
    /// `1 <= npages <= MAX_EXTENT_PAGES`.
    unsafe fn new(pfn: u64, npages: u64, dirty: bool) -> Self {
        let raw = (pfn << PFN_SHIFT) | npages | if dirty { DIRTY } else { 0 };
        // SAFETY: `npages` is not 0, by the caller's promise.
        Self(unsafe { NonZeroU64::new_unchecked(raw) })
    }

    /// Takes over `npages` pages more.
    ///
    /// # Safety
    ///
    /// The caller gives away a pin on each of the pages behind ours; together there are at most
    /// `MAX_EXTENT_PAGES`.
    #[inline]
    unsafe fn grow(&mut self, npages: u64) {
        // SAFETY: The number of pages is in the lowest bits and stays in them, by the caller's
        // promise.
        self.0 = unsafe { NonZeroU64::new_unchecked(self.0.get() + npages) };
    }

    /// Forgets the extent without unpinning, for making others from its pins.
    fn into_parts(self) -> (u64, u64, bool) {
        let parts = (self.pfn(), self.npages(), self.dirty());
        core::mem::forget(self);
        parts
    }

    /// The first page's frame number.
    pub(crate) fn pfn(&self) -> u64 {
        self.0.get() >> PFN_SHIFT
    }

    /// How many pages, never 0.
    pub(crate) fn npages(&self) -> u64 {
        self.0.get() & LEN_MASK
    }

    /// The first byte's physical address.
    pub(crate) fn phys(&self) -> u64 {
        self.pfn() << PAGE_SHIFT
    }

    fn dirty(&self) -> bool {
        self.0.get() & DIRTY != 0
    }

    /// Cuts the extent before its page `at`, or gives it back where that is not inside it.
    pub(crate) fn split(self, at: u64) -> Result<(Self, Self), Self> {
        if at == 0 || at >= self.npages() {
            return Err(self);
        }
        let (pfn, npages, dirty) = self.into_parts();
        // SAFETY: The pins are divided between the two, and neither is empty.
        Ok(unsafe {
            (
                Self::new(pfn, at, dirty),
                Self::new(pfn + at, npages - at, dirty),
            )
        })
    }

    /// Takes over the pages of `next` where they continue ours, else gives it back.
    #[inline]
    pub(crate) fn merge(&mut self, next: Self) -> Result<(), Self> {
        let npages = self.npages() + next.npages();
        if self.pfn() + self.npages() != next.pfn()
            || self.dirty() != next.dirty()
            || npages > MAX_EXTENT_PAGES
        {
            return Err(next);
        }
        let (_, more, _) = next.into_parts();
        // SAFETY: The pins are ours now, and the length was checked.
        unsafe { self.grow(more) };
        Ok(())
    }
}

/// Copying between the kernel and pinned pages.
impl Extent {
    /// Reads bytes from `offset` on, which lie in one of the pages.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) -> Result {
        self.check(offset, data.len())?;
        // SAFETY: The page is pinned and the bytes lie inside it.
        unsafe {
            bindings::iommufd_rs_copy_from_phys(
                data.as_mut_ptr().cast(),
                self.phys() + offset,
                data.len(),
            )
        };
        Ok(())
    }

    /// Writes bytes from `offset` on, which lie in one of the pages.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result {
        self.check(offset, data.len())?;
        // SAFETY: The page is pinned and the bytes lie inside it.
        unsafe {
            bindings::iommufd_rs_copy_to_phys(
                self.phys() + offset,
                data.as_ptr().cast(),
                data.len(),
            )
        };
        Ok(())
    }

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
    fn drop(&mut self) {
        // SAFETY: By the invariant we own a pin on each of these pages.
        unsafe {
            bindings::unpin_user_page_range_dirty_lock(
                bindings::iommufd_rs_pfn_to_page(to_usize(self.pfn())),
                to_usize(self.npages()),
                self.dirty(),
            )
        };
    }
}

/// A page, for C code to use: `struct page *`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PagePtr(*mut bindings::page);

impl PagePtr {
    /// The page at a physical address. It is for whoever knows that there is one.
    pub(crate) fn from_phys(phys: u64) -> Self {
        // SAFETY: It is arithmetic; nothing is read.
        Self(unsafe { bindings::iommufd_rs_pfn_to_page(to_usize(phys >> PAGE_SHIFT)) })
    }

    /// The pointer.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn as_ptr(self) -> *mut bindings::page {
        self.0
    }

    /// No page.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn null() -> Self {
        Self(core::ptr::null_mut())
    }
}

/// Where the kernel writes the pages it has pinned: small requests need no allocation.
enum Scratch {
    Few([MaybeUninit<*mut c_void>; 16], usize),
    /// Without elements: it is the capacity that counts.
    Many(KVec<*mut c_void>),
}

impl Scratch {
    /// Room for `npages` pointers, or fewer where that is a lot or memory is short.
    fn new(npages: u64) -> Result<Self> {
        const LEAST: usize = PAGE_SIZE as usize / size_of::<*mut c_void>();

        let most = (fault_injection::temp_memory() / size_of::<*mut c_void>()).max(1);
        let wanted = usize::try_from(npages).map_or(most, |n| n.min(most));
        if wanted <= 16 {
            return Ok(Self::Few([MaybeUninit::uninit(); 16], wanted.max(1)));
        }
        let vec = KVec::with_capacity(wanted, GFP_KERNEL | __GFP_NOWARN)
            .or_else(|_| KVec::with_capacity(LEAST.min(wanted), GFP_KERNEL))?;
        Ok(Self::Many(vec))
    }

    fn room(&mut self) -> &mut [MaybeUninit<*mut c_void>] {
        match self {
            Self::Few(array, len) => array.get_mut(..*len).unwrap_or(&mut []),
            Self::Many(vec) => vec.spare_capacity_mut(),
        }
    }
}

/// Where each `struct page` is in the kernel's memory map. The map is virtually contiguous
/// (SPARSEMEM_VMEMMAP, which x86-64 and arm64 have), so neighbours in it are neighbours in memory.
#[derive(Clone, Copy)]
struct MemoryMap {
    start: usize,
}

impl MemoryMap {
    fn get() -> Self {
        // SAFETY: It is arithmetic; nothing is read.
        let first = unsafe { bindings::iommufd_rs_pfn_to_page(0) };
        Self {
            start: first.addr(),
        }
    }

    /// The frame number of a page, or of a folio's first page.
    #[inline]
    fn pfn(self, page: *const c_void) -> u64 {
        to_u64(page.addr().wrapping_sub(self.start) / size_of::<bindings::page>())
    }
}

/// Pins memory, batch after batch.
pub(crate) struct Pinner {
    scratch: Scratch,
    write: bool,
}

impl Pinner {
    /// Prepares to pin about `npages` pages; `write` says whether devices may write to them.
    /// `ENOMEM`.
    pub(crate) fn new(npages: u64, write: bool) -> Result<Self> {
        Ok(Self {
            scratch: Scratch::new(npages)?,
            write,
        })
    }

    /// Pins `npages` pages of `mm` from the page-aligned address `addr` and has `sink` take them in
    /// order, some at a time and those completely. `EFAULT` where there is no such memory or not
    /// with that permission, `ENOMEM`, or what `sink` fails with; what it took until then is its
    /// own.
    pub(crate) fn pin_user(
        &mut self,
        mm: &Mm,
        mut addr: u64,
        mut npages: u64,
        sink: &mut impl Sink,
    ) -> Result {
        let flags = bindings::FOLL_LONGTERM | if self.write { bindings::FOLL_WRITE } else { 0 };
        let here = current!()
            .mm()
            .is_some_and(|ours| ours.as_raw() == mm.as_raw());
        // Memory of another process is there only while it has users.
        let user = if here {
            None
        } else {
            Some(mm.mmget_not_zero().ok_or(EFAULT)?)
        };

        while npages != 0 {
            fault_injection::point(EFAULT)?;
            let write = self.write;
            let pages = self.scratch.room();
            let batch = pages
                .len()
                .min(usize::try_from(npages).unwrap_or(usize::MAX));
            let pinned = match &user {
                // SAFETY: `pages` has room for `batch` pointers.
                None => unsafe {
                    bindings::pin_user_pages_fast(
                        to_usize(addr),
                        batch as c_int,
                        flags,
                        pages.as_mut_ptr().cast(),
                    ) as isize
                },
                Some(user) => {
                    let _guard = user.mmap_read_lock();
                    // SAFETY: `pages` has room for `batch` pointers, the address space has users
                    // and its lock is held; a NULL `locked` keeps it held.
                    unsafe {
                        bindings::pin_user_pages_remote(
                            mm.as_raw(),
                            to_usize(addr),
                            batch,
                            flags,
                            pages.as_mut_ptr().cast(),
                            core::ptr::null_mut(),
                        )
                    }
                }
            };
            if pinned < 0 {
                return Err(Error::from_errno(pinned as c_int));
            }
            let pinned = (pinned as usize).min(batch);
            if pinned == 0 {
                return Err(EFAULT);
            }
            // SAFETY: The first `pinned` pointers are pages on which we now own a pin each.
            sink.take(&mut PinnedPages(unsafe { Runs::new(pages, pinned, write) }))?;
            npages -= to_u64(pinned);
            // The caller's range was checked not to wrap.
            addr = addr.wrapping_add(to_u64(pinned) << PAGE_SHIFT);
        }
        Ok(())
    }

    /// Pins `npages` pages of `file` from the page-aligned byte `start` and has `sink` take them as
    /// [`Pinner::pin_user`] does. `EINVAL` where the file is shorter, `ENOMEM`, or what `sink`
    /// fails with.
    pub(crate) fn pin_file(
        &mut self,
        file: &PinnableFile,
        mut start: u64,
        mut npages: u64,
        sink: &mut impl Sink,
    ) -> Result {
        while npages != 0 {
            fault_injection::point(EFAULT)?;
            let folios = self.scratch.room();
            let last = npages
                .checked_mul(PAGE_SIZE)
                .and_then(|len| start.checked_add(len - 1))
                .and_then(|last| i64::try_from(last).ok())
                .ok_or(EINVAL)?;
            let mut offset: usize = 0;
            // SAFETY: `folios` has as much room as is said, and the file is alive.
            let found = unsafe {
                bindings::memfd_pin_folios(
                    file.as_ptr(),
                    start as i64,
                    last,
                    folios.as_mut_ptr().cast(),
                    folios.len() as u32,
                    &mut offset,
                )
            };
            if found == 0 {
                return Err(EFAULT);
            }
            let Ok(count) = usize::try_from(found) else {
                return Err(Error::from_errno(found as c_int));
            };
            let mut folios = PinnedFolios {
                // SAFETY: The kernel says how many there are: folios on which we now own one pin
                // each.
                runs: unsafe { Runs::new(folios, count, self.write) },
                skip: to_u64(offset) >> PAGE_SHIFT,
                npages,
            };
            sink.take(&mut folios)?;
            let pinned = npages - folios.npages;
            npages -= pinned;
            start += pinned << PAGE_SHIFT;
        }
        Ok(())
    }
}

/// Who takes pages that were just pinned.
pub(crate) trait Sink {
    /// Takes pages as extents, all of them unless it fails. They are in order, and none continues
    /// the one before it in memory; as many as `pages` has at most are what its size hint says.
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result;
}

/// Pointers to pages or folios that were just pinned. Dropping it unpins those that are left.
///
/// # Invariants
///
/// Each pointer in `rest` is to a `struct page`, or to that of a folio's first page, and one pin on
/// it is ours.
struct Runs<'a> {
    rest: &'a [*mut c_void],
    map: MemoryMap,
    dirty: bool,
}

impl<'a> Runs<'a> {
    /// # Safety
    ///
    /// The first `len` pointers of `room`, or all, were written and are as the invariant says, and
    /// the pins are given away.
    unsafe fn new(room: &'a [MaybeUninit<*mut c_void>], len: usize, dirty: bool) -> Self {
        let len = len.min(room.len());
        Self {
            // SAFETY: By the caller's promise they were written.
            rest: unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), len) },
            map: MemoryMap::get(),
            dirty,
        }
    }

    /// Takes the first pointers that follow one another in memory page by page: the last of them,
    /// and what they point to. All but the last are of one page each then, be they folios.
    #[inline]
    fn next(&mut self) -> Option<(*mut c_void, Extent)> {
        let &first = self.rest.first()?;
        let mut behind = next_page(first);
        let mut run = 1;
        while self.rest.get(run).is_some_and(|&page| page == behind) {
            behind = next_page(behind);
            run += 1;
        }
        let last = first.wrapping_byte_add((run - 1) * size_of::<bindings::page>());
        // SAFETY: The run was found there.
        self.rest = unsafe { self.rest.get_unchecked(run..) };
        // SAFETY: The pins were ours, and the run is shorter than any batch.
        let extent = unsafe { Extent::new(self.map.pfn(first), to_u64(run), self.dirty) };
        Some((last, extent))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(!self.rest.is_empty()), Some(self.rest.len()))
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        while let Some((_, run)) = self.next() {
            drop(run);
        }
    }
}

/// The page behind another in memory.
#[inline]
fn next_page(page: *mut c_void) -> *mut c_void {
    page.wrapping_byte_add(size_of::<bindings::page>())
}

/// Pages as extents.
struct PinnedPages<'a>(Runs<'a>);

impl Iterator for PinnedPages<'_> {
    type Item = Result<Extent>;

    #[inline]
    fn next(&mut self) -> Option<Result<Extent>> {
        self.0.next().map(|(_, run)| Ok(run))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// What is wanted of folios, as extents.
struct PinnedFolios<'a> {
    runs: Runs<'a>,
    /// Pages of the next folio that are not wanted.
    skip: u64,
    /// How many pages are wanted.
    npages: u64,
}

impl PinnedFolios<'_> {
    /// Whether the next folio follows `extent` in memory, and may be added to it.
    fn continues(&self, extent: &Extent) -> bool {
        let next = self.runs.rest.first();
        let next = next.map(|&folio| self.runs.map.pfn(folio));
        next == Some(extent.pfn() + extent.npages()) && extent.npages() < MAX_EXTENT_PAGES / 4
    }
}

impl Iterator for PinnedFolios<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Result<Extent>> {
        let (mut last, run) = self.runs.next()?;
        // Where the first page is not wanted the run is one folio: its second page is no other's.
        let mut skip = core::mem::take(&mut self.skip);
        let (pfn, npages, dirty) = run.into_parts();
        // SAFETY: The pins are ours, and one on a folio's page is as good as one on another.
        let mut extent = unsafe { Extent::new(pfn + skip, npages, dirty) };
        loop {
            let folio: *mut bindings::folio = last.cast();
            // SAFETY: A pinned folio is alive.
            let nr = to_u64(unsafe { bindings::iommufd_rs_folio_nr_pages(folio) });
            let more = nr
                .saturating_sub(core::mem::take(&mut skip) + 1)
                .min(self.npages.saturating_sub(extent.npages()))
                .min(MAX_EXTENT_PAGES / 2);
            // An extent owns a pin a page; the folio came with one.
            if more != 0 {
                // SAFETY: As above.
                let errno = unsafe { bindings::folio_add_pins(folio, more as u32) };
                if errno != 0 {
                    return Some(Err(Error::from_errno(errno)));
                }
                // SAFETY: These pins are ours, and the pages are the folio's next ones.
                unsafe { extent.grow(more) };
            }
            if !self.continues(&extent) {
                break;
            }
            let Some((next, run)) = self.runs.next() else {
                break;
            };
            last = next;
            // SAFETY: The run continues the extent, and its pins are ours.
            unsafe { extent.grow(run.into_parts().1) };
        }
        self.npages = self.npages.saturating_sub(extent.npages());
        Some(Ok(extent))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.runs.size_hint()
    }
}
