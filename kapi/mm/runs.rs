// SPDX-License-Identifier: GPL-2.0-only

//! Pinning of user memory by runs of pages.
//!
//! `pin_user_page_runs_fast_only()`, which `0007` of the patch series adds, pins what needs no page fault,
//! and returns runs of contiguous pages instead of a pointer for each page.
//!
//! C header: [`include/linux/page_run.h`](srctree/include/linux/page_run.h)

use core::{
    ffi::c_void,
    mem::MaybeUninit, //
};

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::{
        mm::{
            extent::Extent,
            pin_mode::PinMode,
            pinned::MemoryMap, //
        },
        trace::{
            self,
            Event, //
        },
        units::{
            to_u64,
            to_usize, //
        }, //
    }, //
};

/// The largest number of pages of one call. The kernel disables interrupts meanwhile.
const BATCH: u64 = 8192;

/// Runs of pages that were just pinned, as extents. Dropping it unpins those that are left.
///
/// # Invariants
///
/// Each run in `rest` has between 1 and [`BATCH`] pages, and owns a pin on each of them, taken with
/// `FOLL_WRITE` if `writable`.
pub(super) struct PinnedRuns<'a> {
    rest: &'a [bindings::page_run],
    map: MemoryMap,
    writable: bool,
}

impl<'a> PinnedRuns<'a> {
    /// Pins pages of this task's address space from `addr` on: up to `npages`, up to the first one that
    /// must be pinned by itself, and as many runs as fit in `room`, which may be none.
    ///
    /// Returns `EFAULT` if these are no addresses of user memory.
    pub(super) fn pin(
        room: &'a mut [MaybeUninit<*mut c_void>],
        addr: u64,
        npages: u64,
        mode: PinMode,
    ) -> Result<Self> {
        const WORDS: usize = size_of::<bindings::page_run>() / size_of::<*mut c_void>();

        let runs: *mut bindings::page_run = room.as_mut_ptr().cast();
        // SAFETY: `room` has as many words, and a run consists of words.
        let found = unsafe {
            bindings::pin_user_page_runs_fast_only(
                to_usize(addr),
                npages.min(BATCH) as c_int,
                mode.flags(),
                runs,
                (room.len() / WORDS) as u32,
            )
        };
        let Ok(found) = usize::try_from(found) else {
            return Err(Error::from_errno(found));
        };
        // INVARIANT: The kernel took a pin on each page for us, with `FOLL_WRITE` if `mode.write`, since
        // `PinMode::flags` has it then.
        let runs = Self {
            // SAFETY: The kernel wrote the first `found` runs, which live as long as `room`.
            rest: unsafe { core::slice::from_raw_parts(runs, found) },
            map: MemoryMap::get(),
            writable: mode.write,
        };
        if trace::Pin::is_read() {
            runs.trace();
        }
        Ok(runs)
    }

    /// Returns the number of pages.
    pub(super) fn npages(&self) -> u64 {
        self.rest.iter().map(|run| to_u64(run.nr_pages)).sum()
    }

    /// Hits the tracepoint for each run.
    #[cold]
    #[inline(never)]
    fn trace(&self) {
        for run in self.rest {
            trace::Pin {
                pfn: self.map.pfn(run.page.cast()),
                npages: to_u64(run.nr_pages),
                writable: self.writable,
            }
            .record();
        }
    }
}

impl Iterator for PinnedRuns<'_> {
    type Item = Result<Extent>;

    #[inline]
    fn next(&mut self) -> Option<Result<Extent>> {
        let (run, rest) = self.rest.split_first()?;
        self.rest = rest;
        let (pfn, npages) = (self.map.pfn(run.page.cast()), to_u64(run.nr_pages));
        // SAFETY:
        // - By the type invariants the run owns these pins, and it is not in `rest` any more.
        // - `BATCH` is below `MAX_EXTENT_PAGES`.
        Some(Ok(unsafe { Extent::new(pfn, npages, self.writable) }))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest.len(), Some(self.rest.len()))
    }
}

impl Drop for PinnedRuns<'_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
