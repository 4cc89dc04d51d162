// SPDX-License-Identifier: GPL-2.0-only

//! Pinning user memory.
//!
//! [`Pinner`] pins pages of an address space or of a memfd and hands them out as [`Extent`]s, runs
//! of physically contiguous pages. An extent owns its pins: dropping it unpins the pages, so pins
//! can neither be leaked nor returned twice.
//!
//! C headers: `include/linux/mm.h`; rules: `Documentation/core-api/pin_user_pages.rst`.

use crate::ffi::bindings;
use crate::kapi::fault;
use crate::kapi::file::PinnableFile;
use crate::kapi::units::page_offset;
use crate::kapi::units::to_u64;
use crate::kapi::units::to_usize;
use crate::kapi::units::PAGE_SHIFT;
use crate::kapi::units::PAGE_SIZE;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::num::NonZeroU64;
use kernel::mm::Mm;
use kernel::prelude::*;

const PFN_BITS: u32 = 40;
const LEN_BITS: u32 = 23;
const PFN_MASK: u64 = (1 << PFN_BITS) - 1;
const LEN_MASK: u64 = (1 << LEN_BITS) - 1;
const DIRTY: u64 = 1 << 63;

/// A run of physically contiguous pinned pages, owned.
///
/// Eight bytes: the first page's PFN in bits 0 to 39, enough for physical addresses of 52 bits, the
/// number of pages in bits 40 to 62, and in bit 63 whether a device may have written to them.
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
        let raw = (pfn & PFN_MASK) | (npages << PFN_BITS) | if dirty { DIRTY } else { 0 };
        // SAFETY: `npages` is not 0, by the caller's promise.
        Self(unsafe { NonZeroU64::new_unchecked(raw) })
    }

    /// Forgets the extent without unpinning, for making others from its pins.
    fn into_parts(self) -> (u64, u64, bool) {
        let parts = (self.pfn(), self.npages(), self.dirty());
        core::mem::forget(self);
        parts
    }

    /// The first page's frame number.
    pub(crate) fn pfn(&self) -> u64 {
        self.0.get() & PFN_MASK
    }

    /// How many pages, never 0.
    pub(crate) fn npages(&self) -> u64 {
        (self.0.get() >> PFN_BITS) & LEN_MASK
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
    pub(crate) fn merge(&mut self, next: Self) -> Result<(), Self> {
        let npages = self.npages() + next.npages();
        if self.pfn() + self.npages() != next.pfn()
            || self.dirty() != next.dirty()
            || npages > MAX_EXTENT_PAGES
        {
            return Err(next);
        }
        next.into_parts();
        // The old value holds no pins any more once it is overwritten: the new one has them all.
        let (pfn, dirty) = (self.pfn(), self.dirty());
        // SAFETY: The pins of both are ours, and the length was checked.
        let merged = unsafe { Self::new(pfn, npages, dirty) };
        core::mem::forget(core::mem::replace(self, merged));
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

        let most = (fault::temp_memory() / size_of::<*mut c_void>()).max(1);
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

/// The pointers at the beginning of `room`.
///
/// # Safety
///
/// There are `len` of them.
unsafe fn filled(room: &[MaybeUninit<*mut c_void>], len: usize) -> &[*mut c_void] {
    // SAFETY: By the caller's promise.
    unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), len) }
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

    /// Pins `npages` pages of `mm` from the page-aligned address `addr` and gives them to `sink` in
    /// order. `EFAULT` where there is no such memory or not with that permission, `ENOMEM`, or
    /// what `sink` fails with; what `sink` was given until then is its own.
    pub(crate) fn pin_user(
        &mut self,
        mm: &Mm,
        mut addr: u64,
        mut npages: u64,
        sink: &mut impl FnMut(Extent) -> Result,
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
            fault::point(EFAULT)?;
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
            unsafe { hand_out_pages(filled(pages, pinned), write, sink) }?;
            npages -= to_u64(pinned);
            // The caller's range was checked not to wrap.
            addr = addr.wrapping_add(to_u64(pinned) << PAGE_SHIFT);
        }
        Ok(())
    }

    /// Pins `npages` pages of `file` from the page-aligned byte `start` and gives them to `sink` in
    /// order. `EINVAL` where the file is shorter, `ENOMEM`, or what `sink` fails with.
    pub(crate) fn pin_file(
        &mut self,
        file: &PinnableFile,
        mut start: u64,
        mut npages: u64,
        sink: &mut impl FnMut(Extent) -> Result,
    ) -> Result {
        while npages != 0 {
            fault::point(EFAULT)?;
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
            if found < 0 {
                return Err(Error::from_errno(found as c_int));
            }
            if found == 0 {
                return Err(EFAULT);
            }
            // SAFETY: The kernel says so.
            let found = unsafe { filled(folios, (found as usize).min(folios.len())) };
            // SAFETY: These are folios on which we now own one pin each.
            let pinned = unsafe {
                hand_out_folios(
                    found,
                    to_u64(offset) >> PAGE_SHIFT,
                    npages,
                    self.write,
                    sink,
                )
            }?;
            npages -= pinned;
            start += pinned << PAGE_SHIFT;
        }
        Ok(())
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
    fn pfn(self, page: *const c_void) -> u64 {
        to_u64(page.addr().wrapping_sub(self.start) / size_of::<bindings::page>())
    }
}

/// Gives pinned pages to `sink` as runs; once it fails the rest is unpinned.
///
/// # Safety
///
/// `pages` are pointers to `struct page` with one pin each, which the callee takes over.
unsafe fn hand_out_pages(
    pages: &[*mut c_void],
    dirty: bool,
    sink: &mut impl FnMut(Extent) -> Result,
) -> Result {
    let map = MemoryMap::get();
    let mut result = Ok(());
    let mut rest = pages;

    while let Some(&first) = rest.first() {
        let mut run = 1;
        // PANIC: `run` was compared with the length just before.
        while run < rest.len()
            && rest[run] == first.wrapping_byte_add(run * size_of::<bindings::page>())
        {
            run += 1;
        }
        // SAFETY: The caller owns a pin on each page of the run, which is shorter than any batch.
        let extent = unsafe { Extent::new(map.pfn(first), to_u64(run), dirty) };
        if result.is_ok() {
            result = sink(extent);
        }
        // PANIC: The run lies in `rest`.
        rest = &rest[run..];
    }
    result
}

/// Gives pinned folios to `sink`, at most `npages` pages from page `offset` of the first, and
/// returns how many pages they had. Once a step fails the rest is unpinned.
///
/// # Safety
///
/// `folios` are pointers to `struct folio` with one pin each, which the callee takes over.
unsafe fn hand_out_folios(
    folios: &[*mut c_void],
    mut offset: u64,
    npages: u64,
    dirty: bool,
    sink: &mut impl FnMut(Extent) -> Result,
) -> Result<u64> {
    let map = MemoryMap::get();
    let mut result = Ok(());
    let mut done = 0;

    for &folio in folios {
        let pfn = map.pfn(folio);
        let folio: *mut bindings::folio = folio.cast();
        // SAFETY: A pinned folio is alive.
        let nr = to_u64(unsafe { bindings::iommufd_rs_folio_nr_pages(folio) });
        let run = nr
            .saturating_sub(offset)
            .min(npages - done)
            .clamp(1, MAX_EXTENT_PAGES);
        // An extent owns a pin a page; the folio came with one.
        let more = if run == 1 || result.is_err() {
            0
        } else {
            // SAFETY: As above.
            unsafe { bindings::folio_add_pins(folio, (run - 1) as u32) }
        };
        let owned = if run == 1 || (more == 0 && result.is_ok()) {
            run
        } else {
            1
        };
        if more != 0 && result.is_ok() {
            result = Err(Error::from_errno(more));
        }
        // SAFETY: That many pins are ours, and the pages lie inside the folio.
        let extent = unsafe { Extent::new(pfn + offset, owned, dirty) };
        if result.is_ok() {
            result = sink(extent);
        }
        done += run;
        offset = 0;
    }
    result.map(|()| done)
}
