// SPDX-License-Identifier: GPL-2.0-only

//! Pinning of user memory.
//!
//! A [`Pinner`] pins pages of an address space or of a memfd and hands them to a [`Sink`] as
//! [`Extent`]s.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)
//!
//! Reference: <https://docs.kernel.org/core-api/pin_user_pages.html>

use core::{
    ffi::c_void,
    mem::MaybeUninit, //
};

use kernel::{
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        fault_injection,
        file::pinnable::PinnableFile,
        mm::{
            alive::alive,
            pin_mode::PinMode,
            pinned::{
                trace_runs,
                PinnedFolios,
                PinnedPages,
                Runs, //
            }, //
        },
        sync::signal,
        trace::{
            self,
            Event, //
        },
        units::{
            to_u64,
            to_usize,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_PAGE_RUNS)]
use crate::kapi::mm::runs::PinnedRuns;

pub(crate) use crate::kapi::mm::extent::{
    Extent,
    PagePtr,
    PinnedRun, //
};

/// The largest number of bytes of a file that are pinned by one call of the kernel, unless a page of
/// the file has more. The call allocates what the file does not have yet, which takes a second for
/// some GiB, and does not look at signals.
const FILE_BATCH: u64 = 64 << 20;

/// The smallest number of pages in a row that are pinned by their place in a file. One call by
/// address pins more small mappings than one.
const LEAST_SHARED: u64 = 512;

/// Where the kernel has to fault a page in, pages are pinned one by one up to the next multiple of
/// this number, which is where a large page may begin. Then they are pinned by runs again.
const FAULT_BATCH: u64 = 512;

/// Whether the kernel can return runs of pages when it pins them: `0007` of the patch series.
const HAS_RUNS: bool = cfg!(CONFIG_IOMMUFD_RS_PAGE_RUNS);

/// The number of pages that [`Pinner::pin_present`] has room for, however they lie in memory.
pub(crate) const MOST_PRESENT: u64 = 8;

/// Room for the pointers that the kernel returns when it pins pages.
enum Scratch {
    /// Room for few pointers needs no allocation. The number says how many are used.
    Few([MaybeUninit<*mut c_void>; 16], usize),
    /// The vector has no elements; its capacity is the room.
    Many(KVec<*mut c_void>),
}

impl Scratch {
    /// Makes room for `npages` pointers, or for fewer if that is a lot or memory is short. Returns
    /// `ENOMEM` if there is no memory at all.
    fn new(npages: u64) -> Result<Self> {
        const POINTERS_IN_PAGE: usize = PAGE_SIZE as usize / size_of::<*mut c_void>();

        let most = (fault_injection::temp_memory() / size_of::<*mut c_void>()).max(1);
        let wanted = usize::try_from(npages).map_or(most, |n| n.min(most));
        if wanted <= 16 {
            return Ok(Self::Few([MaybeUninit::uninit(); 16], wanted.max(1)));
        }
        let vec = Self::try_alloc(wanted).map_or_else(
            || KVec::with_capacity(POINTERS_IN_PAGE.min(wanted), GFP_KERNEL),
            Ok, //
        )?;
        Ok(Self::Many(vec))
    }

    /// Allocates room for `len` pointers. Returns `None` rather than waiting until memory has been
    /// reclaimed: less room does as well.
    fn try_alloc(len: usize) -> Option<KVec<*mut c_void>> {
        // SAFETY: It allocates memory or returns a null pointer.
        let memory =
            unsafe { bindings::iommufd_rs_kmalloc_noretry(len * size_of::<*mut c_void>()) };
        if memory.is_null() {
            return None;
        }
        // SAFETY: kmalloc() allocated room for `len` pointers, aligned for them, and the vector has
        // no elements.
        Some(unsafe { KVec::from_raw_parts(memory.cast(), 0, len) })
    }

    fn room(&mut self) -> &mut [MaybeUninit<*mut c_void>] {
        match self {
            Self::Few(array, len) => array.get_mut(..*len).unwrap_or(&mut []),
            Self::Many(vec) => vec.spare_capacity_mut(),
        }
    }
}

/// Pins memory in batches.
///
/// # Examples
///
/// ```
/// use crate::kapi::{
///     file::pinnable::PinnableFile,
///     mm::pin::{Extent, Pinner, Sink},
/// };
///
/// /// Counts pages, and unpins them.
/// struct Count(u64);
///
/// impl Sink for Count {
///     fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
///         pages.try_for_each(|extent| {
///             self.0 += extent?.npages();
///             Ok(())
///         })
///     }
/// }
///
/// fn count(file: &PinnableFile, npages: u64) -> Result<u64> {
///     let mut count = Count(0);
///     Pinner::new(npages, true)?.pin_file(file, 0, npages, &mut count)?;
///     Ok(count.0)
/// }
/// ```
pub(crate) struct Pinner {
    scratch: Scratch,
    mode: PinMode,
}

impl Pinner {
    /// Creates a pinner for about `npages` pages. `write` pins them for writing. Returns `ENOMEM`
    /// if there is no memory for a batch.
    pub(crate) fn new(npages: u64, write: bool) -> Result<Self> {
        Ok(Self {
            scratch: Scratch::new(npages)?,
            mode: PinMode {
                write,
                long_term: true,
            },
        })
    }

    /// Creates a pinner for [`Self::pin_present`]. `write` pins pages for writing.
    pub(crate) fn for_present(write: bool) -> Self {
        Self {
            // A run takes the room of two pointers.
            scratch: Scratch::Few([MaybeUninit::uninit(); 16], 16),
            mode: PinMode {
                write,
                long_term: true,
            },
        }
    }

    /// Pins pages of an address space for a moment, as for copying: pages stay where they are, and
    /// files may be mapped writable that allow no long-term pin. Pages of a file are pinned for
    /// long all the same.
    pub(crate) fn for_a_moment(mut self) -> Self {
        self.mode.long_term = false;
        self
    }

    /// Pins `npages` pages of `mm` from the page-aligned address `addr`, and hands each batch to
    /// `sink` in order. The caller must ensure that the range does not wrap.
    ///
    /// Returns `EFAULT` if there is no such memory or it may not be accessed in this way, `EINTR` if
    /// the task is being killed, `ENOMEM`, or the error of `sink`. The batches that `sink` took before an error remain with it.
    pub(crate) fn pin_user(
        &mut self,
        mm: &Mm,
        mut addr: u64,
        mut npages: u64,
        sink: &mut impl Sink,
    ) -> Result {
        let mode = self.mode;
        let task = current!();
        let here = task.mm().filter(|current| current.as_raw() == mm.as_raw());
        // The memory of another process exists only while the address space has users.
        let user = if here.is_some() {
            None
        } else {
            Some(alive(mm).ok_or(EFAULT)?)
        };

        while npages != 0 {
            // The kernel looks at signals only where it must fault in a page.
            signal::check_killed()?;
            fault_injection::point(EFAULT)?;
            let users = user.as_deref().map(|user| &**user).or(here);
            if let Some(users) = users.filter(|_| mode.long_term && npages >= LEAST_SHARED) {
                if let Some(folios) = self.pin_shared(users, addr, npages) {
                    let pinned = hand_over(folios, sink)?;
                    npages -= pinned;
                    addr = addr.wrapping_add(pinned << PAGE_SHIFT);
                    continue;
                }
            }
            let mut at_most = npages;
            // One page is pinned by one call, also if it must be faulted in.
            if HAS_RUNS && here.is_some() && npages > 1 {
                let pinned = self.pin_runs(addr, npages, sink)?;
                if pinned != 0 {
                    npages -= pinned;
                    addr = addr.wrapping_add(pinned << PAGE_SHIFT);
                    continue;
                }
                at_most = npages.min(FAULT_BATCH - (addr >> PAGE_SHIFT) % FAULT_BATCH);
            }
            let pages = self.scratch.room();
            let batch = pages
                .len()
                .min(usize::try_from(at_most).unwrap_or(usize::MAX));
            let pinned = match &user {
                // SAFETY: `pages` has room for `batch` pointers.
                None => unsafe {
                    bindings::pin_user_pages_fast(
                        to_usize(addr),
                        batch as c_int,
                        mode.flags(),
                        pages.as_mut_ptr().cast(),
                    ) as isize
                },
                // SAFETY:
                // - `pages` has room for `batch` pointers.
                // - `user` is a reference to the users of the address space.
                Some(user) => unsafe {
                    bindings::iommufd_rs_pin_remote(
                        user.as_raw(),
                        to_usize(addr),
                        batch,
                        mode.flags(),
                        pages.as_mut_ptr().cast(),
                    )
                },
            };
            if pinned < 0 {
                return Err(Error::from_errno(pinned as c_int));
            }
            let pinned = (pinned as usize).min(batch);
            if pinned == 0 {
                return Err(EFAULT);
            }
            if trace::Pin::is_read() {
                // SAFETY: The kernel wrote the first `pinned` pointers.
                unsafe { trace_runs(pages, pinned, mode.write) };
            }
            // SAFETY: The kernel wrote the first `pinned` pointers, and took a pin on each page for
            // us, with `FOLL_WRITE` if `mode.write`.
            sink.take(&mut PinnedPages(unsafe {
                Runs::new(pages, pinned, mode.write)
            }))?;
            npages -= to_u64(pinned);
            addr = addr.wrapping_add(to_u64(pinned) << PAGE_SHIFT);
        }
        Ok(())
    }

    /// Pins `npages` pages of `mm` from the page-aligned address `addr` and hands them to `sink`, if
    /// that needs no page fault. It never waits for user memory.
    ///
    /// Returns false, and has pinned nothing, if a page must be faulted in, copied or moved, if the
    /// address space is another process's, if there are more runs of pages than there is room for, or
    /// if the kernel cannot pin without page faults. Returns the error of `sink`.
    #[cfg(CONFIG_IOMMUFD_RS_PAGE_RUNS)]
    #[inline(always)]
    pub(crate) fn pin_present(
        &mut self,
        mm: &Mm,
        addr: u64,
        npages: u64,
        sink: &mut impl Sink,
    ) -> Result<bool> {
        let task = current!();
        if task.mm().map(|here| here.as_raw()) != Some(mm.as_raw()) {
            return Ok(false);
        }
        let mode = self.mode;
        match PinnedRuns::pin(self.scratch.room(), addr, npages, mode) {
            Ok(mut runs) if runs.npages() == npages => {
                sink.take(&mut runs)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Returns false, since the kernel cannot pin without page faults.
    #[cfg(not(CONFIG_IOMMUFD_RS_PAGE_RUNS))]
    pub(crate) fn pin_present(
        &mut self,
        _: &Mm,
        _: u64,
        _: u64,
        _: &mut impl Sink,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Pins up to `npages` pages of this task's address space from `addr` on that need no page fault,
    /// in time by the run rather than by the page, and hands them to `sink`.
    ///
    /// Returns how many pages `sink` took. It is 0 if the first page must be pinned by itself. Returns
    /// `EFAULT` if these are no addresses of user memory, and the error of `sink`.
    #[cfg(CONFIG_IOMMUFD_RS_PAGE_RUNS)]
    fn pin_runs(&mut self, addr: u64, npages: u64, sink: &mut impl Sink) -> Result<u64> {
        let mode = self.mode;
        let mut runs = PinnedRuns::pin(self.scratch.room(), addr, npages, mode)?;
        let pinned = runs.npages();
        if pinned != 0 {
            sink.take(&mut runs)?;
        }
        Ok(pinned)
    }

    /// Returns 0, since the kernel cannot return runs.
    #[cfg(not(CONFIG_IOMMUFD_RS_PAGE_RUNS))]
    fn pin_runs(&mut self, _: u64, _: u64, _: &mut impl Sink) -> Result<u64> {
        Ok(0)
    }

    /// Pins `npages` pages of `file` from the page-aligned byte `start`, and hands each batch to
    /// `sink` in order.
    ///
    /// Returns `EINVAL` if the file is shorter, `EINTR` if the task is being killed, `ENOMEM`, or the
    /// error of `sink`. The batches that `sink` took before an error remain with it.
    pub(crate) fn pin_file(
        &mut self,
        file: &PinnableFile,
        mut start: u64,
        mut npages: u64,
        sink: &mut impl Sink,
    ) -> Result {
        let last = npages
            .checked_mul(PAGE_SIZE)
            .and_then(|len| start.checked_add(len.saturating_sub(1)))
            .filter(|last| i64::try_from(*last).is_ok())
            .ok_or(EINVAL)?;
        // A batch ends where a page of the file ends, so that the page is not looked up twice.
        let batch = FILE_BATCH.max(file.block_size());
        while npages != 0 {
            signal::check_killed()?;
            fault_injection::point(EFAULT)?;
            let batch_last = (start | (batch - 1)).min(last);
            // SAFETY: `file` is a reference to the file.
            let folios = unsafe { self.pin_folios(file.as_ptr(), start, batch_last) }?;
            let pinned = hand_over(folios, sink)?;
            npages -= pinned;
            start += pinned << PAGE_SHIFT;
        }
        Ok(())
    }

    /// Pins folios that have bytes `start` to `last` of a file, from `start` on, as many as there is
    /// room for.
    ///
    /// Returns `EINVAL` if the file is shorter or its folios cannot be pinned, and `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `file` must be valid during the call.
    unsafe fn pin_folios(
        &mut self,
        file: *mut bindings::file,
        start: u64,
        last: u64,
    ) -> Result<PinnedFolios<'_>> {
        let folios = self.scratch.room();
        let mut offset: usize = 0;
        // SAFETY: `folios` has room for as many pointers as it is long, and the caller keeps the
        // file.
        let found = unsafe {
            bindings::memfd_pin_folios(
                file,
                start as i64,
                last as i64,
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
        // SAFETY: The kernel wrote the first `count` pointers, and took a pin on each folio.
        unsafe { bindings::iommufd_rs_zero_unused_folios(folios.as_mut_ptr().cast(), count) };
        // SAFETY:
        // - The kernel wrote the first `count` pointers, and took one pin on each folio for us.
        // - Folios of a memfd are pinned for writing.
        let runs = unsafe { Runs::new(folios, count, self.mode.write) };
        let (skip, npages) = (
            to_u64(offset) >> PAGE_SHIFT,
            ((last - start) >> PAGE_SHIFT) + 1,
        );
        // SAFETY:
        // - The kernel wrote pointers to folios.
        // - `offset` is that of byte `start` in the first folio.
        Ok(unsafe { PinnedFolios::new(runs, skip, npages) })
    }

    /// Pins pages of `mm` from `addr` on by their place in a file, if the address is in a shared
    /// mapping of shmem or hugetlbfs. That takes a look-up for each folio rather than for each page.
    /// Returns `None` if the pages must be pinned by their addresses.
    ///
    /// The pages are those that pinning by address returns, see `Documentation/architecture.rst`.
    fn pin_shared(&mut self, mm: &MmWithUser, addr: u64, npages: u64) -> Option<PinnedFolios<'_>> {
        let mut start = 0;
        let mut len = to_usize((npages << PAGE_SHIFT).min(FILE_BATCH));
        // If another task changes the mappings, pinning by address waits so that it can be killed.
        let guard = mm.mmap_read_trylock()?;
        // SAFETY: `guard` has the lock.
        let file = unsafe {
            bindings::iommufd_rs_shared_file(
                mm.as_raw(),
                to_usize(addr),
                self.mode.write,
                &mut start,
                &mut len,
            )
        };
        if file.is_null() {
            return None;
        }
        let start = u64::try_from(start).ok()?;
        let len = to_u64(len);
        if len < LEAST_SHARED << PAGE_SHIFT {
            return None;
        }
        // SAFETY: The mapping has a reference to the file, and cannot go as long as `guard` exists.
        let folios = unsafe { self.pin_folios(file, start, start + (len - 1)) }.ok();
        drop(guard);
        // A page fault refuses memory that is broken.
        folios.filter(|folios| !folios.any_poisoned())
    }
}

/// Hands folios to `sink`. Returns how many pages it took.
fn hand_over(mut folios: PinnedFolios<'_>, sink: &mut impl Sink) -> Result<u64> {
    let wanted = folios.npages();
    sink.take(&mut folios)?;
    Ok(wanted - folios.npages())
}

/// A consumer of pages that were just pinned.
pub(crate) trait Sink {
    /// Takes all of `pages`, or fails. They are in order, and no extent follows the one before it
    /// in memory. The upper bound of the size hint is the largest number of extents.
    fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result;
}

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
#[kunit_tests(iommufd_rs_pin)]
mod tests {
    use super::*;
    use crate::kapi::mm::phys::PhysPiece;

    /// Keeps what it is given.
    struct Extents(KVec<Extent>);

    impl Sink for Extents {
        fn take(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result {
            for extent in pages {
                self.0.push(extent?, GFP_KERNEL)?;
            }
            Ok(())
        }
    }

    /// Pins `npages` pages of `file` from page `start`.
    fn pin(file: &PinnableFile, start: u64, npages: u64, write: bool) -> Result<KVec<Extent>> {
        let mut extents = Extents(KVec::new());
        let mut pinner = Pinner::new(npages, write)?;
        pinner.pin_file(file, start << PAGE_SHIFT, npages, &mut extents)?;
        Ok(extents.0)
    }

    fn npages(extents: &[Extent]) -> u64 {
        extents.iter().map(Extent::npages).sum()
    }

    #[test]
    fn extents_have_as_many_pages_as_asked_for() -> Result {
        let file = PinnableFile::shmem(600)?;
        for count in [1, 2, 16, 17, 512, 600] {
            assert_eq!(npages(&pin(&file, 0, count, true)?), count);
        }
        assert_eq!(npages(&pin(&file, 599, 1, true)?), 1);
        Ok(())
    }

    #[test]
    fn a_file_has_no_pages_behind_its_end() -> Result {
        let file = PinnableFile::shmem(4)?;
        for (start, count) in [(0, 5), (3, 2), (4, 1)] {
            assert!(pin(&file, start, count, true).is_err_and(|error| error == EINVAL));
        }
        Ok(())
    }

    #[test]
    fn two_pins_of_a_page_are_pins_of_the_same_page() -> Result {
        let file = PinnableFile::shmem(2)?;
        let (first, second) = (pin(&file, 0, 2, true)?, pin(&file, 1, 1, true)?);
        let (last, same) = (first.last().ok_or(EINVAL)?, second.first().ok_or(EINVAL)?);
        let at = (last.npages() - 1) << PAGE_SHIFT;
        let mut data = [0; 4];
        last.write(at + PAGE_SIZE - 4, b"page")?;
        same.read(PAGE_SIZE - 4, &mut data)?;
        assert_eq!(&data, b"page");
        drop(first);
        let second = second.first().ok_or(EINVAL)?;
        second.read(PAGE_SIZE - 4, &mut data)?;
        assert_eq!(&data, b"page");
        Ok(())
    }

    #[test]
    fn what_was_pinned_for_reading_is_not_written() -> Result {
        let file = PinnableFile::shmem(1)?;
        let extents = pin(&file, 0, 1, false)?;
        let extent = extents.first().ok_or(EINVAL)?;
        assert_eq!(extent.write(0, b"x"), Err(EFAULT));
        assert_eq!(extent.read(0, &mut [0]), Ok(()));
        assert!(!PhysPiece::from(extent.run()).is_writable());
        Ok(())
    }

    #[test]
    fn bytes_that_are_copied_lie_in_one_page() -> Result {
        let file = PinnableFile::shmem(1)?;
        let extents = pin(&file, 0, 1, true)?;
        let extent = extents.first().ok_or(EINVAL)?;
        assert_eq!(extent.write(PAGE_SIZE - 1, b"x"), Ok(()));
        assert_eq!(extent.write(PAGE_SIZE - 1, b"xy"), Err(EINVAL));
        assert_eq!(extent.write(PAGE_SIZE, b""), Err(EINVAL));
        assert_eq!(extent.read(u64::MAX, &mut [0]), Err(EINVAL));
        Ok(())
    }

    #[test]
    fn an_extent_is_split_and_merged() -> Result {
        let file = PinnableFile::shmem(512)?;
        let extents = pin(&file, 0, 512, true)?;
        for extent in extents {
            let (pfn, count) = (extent.pfn(), extent.npages());
            let extent = extent.split(0).err().ok_or(EINVAL)?;
            let extent = extent.split(count).err().ok_or(EINVAL)?;
            if count == 1 {
                continue;
            }
            let (mut first, second) = extent.split(1).map_err(|_| EINVAL)?;
            assert_eq!((first.pfn(), first.npages()), (pfn, 1));
            assert_eq!((second.pfn(), second.npages()), (pfn + 1, count - 1));
            let joined = first.run().join(second.run()).ok_or(EINVAL)?;
            assert_eq!(joined.npages(), count);
            assert!(second.run().join(first.run()).is_none());
            assert!(joined
                .part(1, u64::MAX)
                .is_some_and(|part| part.npages() == count - 1));
            assert!(joined.part(count, 1).is_none());
            first.merge(second).map_err(|_| EINVAL)?;
            assert_eq!((first.pfn(), first.npages()), (pfn, count));
        }
        Ok(())
    }
}
