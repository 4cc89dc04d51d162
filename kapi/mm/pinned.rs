// SPDX-License-Identifier: GPL-2.0-only

//! Pages and folios that were just pinned, as [`Extent`]s.

use core::{
    ffi::c_void,
    mem::MaybeUninit, //
};

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::{
        mm::extent::{
            Extent,
            MAX_EXTENT_PAGES, //
        },
        trace::{
            self,
            Event, //
        },
        units::to_u64, //
    }, //
};

/// The kernel's array of `struct page`.
///
/// It is virtually contiguous (`SPARSEMEM_VMEMMAP`, which x86-64 and arm64 have), so pages that
/// follow in it follow in memory.
#[derive(Clone, Copy)]
pub(super) struct MemoryMap {
    start: usize,
}

impl MemoryMap {
    pub(super) fn get() -> Self {
        // SAFETY: It computes an address; nothing is read.
        let first = unsafe { bindings::iommufd_rs_pfn_to_page(0) };
        Self {
            start: first.addr(),
        }
    }

    /// Returns the page frame number of a page, or of the first page of a folio.
    #[inline]
    pub(super) fn pfn(self, page: *const c_void) -> u64 {
        to_u64(page.addr().wrapping_sub(self.start) / size_of::<bindings::page>())
    }
}

/// Pointers to pages or folios that were just pinned. Dropping it unpins those that are left.
///
/// # Invariants
///
/// Each pointer in `rest` is to a `struct page`, or to the first one of a folio. It owns a pin on
/// that page, taken with `FOLL_WRITE` if `writable`.
pub(super) struct Runs<'a> {
    rest: &'a [*mut c_void],
    map: MemoryMap,
    writable: bool,
}

impl<'a> Runs<'a> {
    /// # Safety
    ///
    /// The first `len` pointers of `room` must have been written, and must be as the type
    /// invariants say. The caller gives the pins away.
    pub(super) unsafe fn new(
        room: &'a [MaybeUninit<*mut c_void>],
        len: usize,
        writable: bool,
    ) -> Self {
        let len = len.min(room.len());
        // INVARIANT: By the safety requirements.
        Self {
            // SAFETY: By the safety requirements the first `len` pointers were written.
            rest: unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), len) },
            map: MemoryMap::get(),
            writable,
        }
    }

    /// Takes the longest run of pointers whose pages follow in memory. Returns its last pointer and
    /// the pages. If the pointers are to folios, then all of them but the last have one page.
    #[inline]
    fn next(&mut self) -> Option<(*mut c_void, Extent)> {
        let &first = self.rest.first()?;
        let run = length_of_run(first, self.rest);
        let last = first.wrapping_byte_add((run - 1) * size_of::<bindings::page>());
        // INVARIANT: The pointers that are left are as before.
        // SAFETY: The loop has found `run` pointers there.
        self.rest = unsafe { self.rest.get_unchecked(run..) };
        // SAFETY:
        // - By the type invariants the run owns its pins, which pass to the extent.
        // - A batch has fewer pages than `MAX_EXTENT_PAGES`.
        let extent = unsafe { Extent::new(self.map.pfn(first), to_u64(run), self.writable) };
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

/// Returns how many pointers at the beginning of `pages`, whose first one is `first`, are to pages
/// that follow in memory. It is at least 1.
#[inline(always)]
fn length_of_run(first: *mut c_void, pages: &[*mut c_void]) -> usize {
    let mut behind = next_page(first);
    let mut run = 1;
    while pages.get(run).is_some_and(|&page| page == behind) {
        behind = next_page(behind);
        run += 1;
    }
    run
}

/// Hits the tracepoint for each run of pages. It is out of line, and goes through a batch by itself,
/// so that a batch costs one no-op while nobody reads the tracepoint.
///
/// # Safety
///
/// The first `len` pointers of `room` must have been written, and `len` must be at most its length.
#[cold]
#[inline(never)]
pub(super) unsafe fn trace_runs(room: &[MaybeUninit<*mut c_void>], len: usize, writable: bool) {
    // SAFETY: The caller guarantees that the first `len` pointers were written.
    let mut pages = unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), len) };
    let map = MemoryMap::get();
    while let Some(&first) = pages.first() {
        let run = length_of_run(first, pages);
        trace::Pin {
            pfn: map.pfn(first),
            npages: to_u64(run),
            writable,
        }
        .record();
        pages = pages.get(run..).unwrap_or_default();
    }
}

/// Returns the address of the `struct page` behind another.
#[inline]
fn next_page(page: *mut c_void) -> *mut c_void {
    page.wrapping_byte_add(size_of::<bindings::page>())
}

/// Pages as extents.
pub(super) struct PinnedPages<'a>(pub(super) Runs<'a>);

impl Iterator for PinnedPages<'_> {
    type Item = Result<Extent>;

    #[inline]
    fn next(&mut self) -> Option<Result<Extent>> {
        let (_, run) = self.0.next()?;
        Some(Ok(run))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// Pages of folios as extents.
///
/// # Invariants
///
/// - The pages of `runs` are the first pages of folios.
/// - The next folio has more than `skip` pages.
pub(super) struct PinnedFolios<'a> {
    runs: Runs<'a>,
    /// The number of pages at the beginning of the next folio that are not wanted.
    skip: u64,
    /// The number of pages that are wanted and not taken yet.
    npages: u64,
}

impl Drop for PinnedFolios<'_> {
    fn drop(&mut self) {
        while let Some((_, run)) = self.runs.next() {
            run.trace_pin();
        }
    }
}

impl<'a> PinnedFolios<'a> {
    /// Takes over pins on folios. `npages` pages are wanted, without the first `skip` pages of the
    /// first folio.
    ///
    /// # Safety
    ///
    /// `runs` must be the first pages of folios, with a pin on each, and the first folio must have more
    /// than `skip` pages.
    pub(super) unsafe fn new(runs: Runs<'a>, skip: u64, npages: u64) -> Self {
        // INVARIANT: By the safety requirements.
        Self { runs, skip, npages }
    }

    /// Returns the number of pages that are wanted and not taken yet.
    pub(super) fn npages(&self) -> u64 {
        self.npages
    }

    /// Returns whether one of the folios has a page whose memory is broken.
    pub(super) fn any_poisoned(&self) -> bool {
        let folios = self.runs.rest.as_ptr().cast_mut().cast();
        // SAFETY: By the type invariants these are folios, which are pinned.
        unsafe { bindings::iommufd_rs_any_folio_poisoned(folios, self.runs.rest.len()) }
    }

    /// Returns whether the next folio follows `extent` in memory and may be added to it.
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
        // If pages are skipped then the run is one folio, whose second page is no other folio's
        // first.
        // INVARIANT: No page of the folio behind it is skipped.
        let mut skip = core::mem::take(&mut self.skip);
        let (pfn, npages, writable) = run.into_parts();
        // SAFETY:
        // - `into_parts` gave us the pins, and a pin on one page of a folio is a pin on any other.
        // - By the type invariant page `skip` is one of the folio.
        let mut extent = unsafe { Extent::new(pfn + skip, npages, writable) };
        loop {
            let folio: *mut bindings::folio = last.cast();
            // SAFETY: The extent has a pin on the folio.
            let nr = to_u64(unsafe { bindings::iommufd_rs_folio_nr_pages(folio) });
            let more = nr
                .saturating_sub(core::mem::take(&mut skip) + 1)
                .min(self.npages.saturating_sub(extent.npages()))
                .min(MAX_EXTENT_PAGES / 2);
            // An extent owns a pin on each page. The folio came with one pin.
            if more != 0 {
                // SAFETY: The extent has a pin on the folio.
                let errno = unsafe { bindings::folio_add_pins(folio, more as u32) };
                if errno != 0 {
                    extent.trace_pin();
                    return Some(Err(Error::from_errno(errno)));
                }
                // SAFETY:
                // - `folio_add_pins` took these pins for us, and `more` pages of the folio follow
                //   at least.
                // - `continues` keeps the extent below half of its limit.
                unsafe { extent.grow(more) };
            }
            if !self.continues(&extent) {
                break;
            }
            let Some((next, run)) = self.runs.next() else {
                break;
            };
            last = next;
            // SAFETY: `into_parts` gives us the pins of the run, which follows the extent in
            // memory.
            unsafe { extent.grow(run.into_parts().1) };
        }
        self.npages = self.npages.saturating_sub(extent.npages());
        extent.trace_pin();
        Some(Ok(extent))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.runs.size_hint()
    }
}
