// SPDX-License-Identifier: GPL-2.0-only

//! Dirty tracking: which pages of a domain devices have written to.
//!
//! C headers: [`include/linux/iommu.h`](srctree/include/linux/iommu.h) (`struct iommu_dirty_ops`),
//! [`include/linux/iova_bitmap.h`](srctree/include/linux/iova_bitmap.h)

use core::{
    ffi::c_void,
    ptr::NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        iommu::domain::Domain,
        sync::signal,
        units::{
            to_u64,
            to_usize,
            IovaRange, //
        }, //
    }, //
};

/// The number of bytes that a driver reads at once. A task that is being killed does not read more.
///
/// Parts of a range begin and end at multiples of this, so few entries of page tables are in two of
/// them: the kernel's generic page tables report, and make clean, the whole of such an entry when its
/// first address is read, and other page tables have no larger entries for memory that there is.
const AT_ONCE: u64 = 1 << 30;

/// A bitmap in user memory with a bit for each page of a range of addresses.
///
/// Its memory is pinned piece by piece while bits are set. Bits whose memory cannot be pinned are
/// lost.
///
/// # Invariants
///
/// The bitmap was allocated for `range`.
pub(crate) struct UserBitmap {
    raw: NonNull<bindings::iova_bitmap>,
    range: IovaRange,
}

impl UserBitmap {
    /// Creates the bitmap at `data` for `range`. The lowest bit that is set in `page_size` is the
    /// number of bytes for which a bit stands. Returns `EINVAL` if none is set, and `ENOMEM`.
    pub(crate) fn new(range: IovaRange, page_size: u64, data: UserPtr) -> Result<Self> {
        if page_size == 0 {
            return Err(EINVAL);
        }
        // SAFETY:
        // - Neither the page size nor the length is 0: the first was checked, and a range has an
        //   address at least.
        // - The function does not access the user memory.
        let raw = from_err_ptr(unsafe {
            bindings::iova_bitmap_alloc(
                to_usize(range.start()),
                to_usize(range.len()),
                to_usize(page_size),
                data.as_mut_ptr().cast(),
            )
        })?;
        // INVARIANT: It was just allocated for `range`.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(EOPNOTSUPP)?,
            range,
        })
    }

    /// Calls `f` with each part of the range, in order, until it fails, and returns its error.
    fn for_each<F: FnMut(IovaRange) -> Result>(&mut self, mut f: F) -> Result {
        /// # Safety
        ///
        /// `opaque` must be the closure that was passed to `for_each`, which no other code uses.
        unsafe extern "C" fn call<F: FnMut(IovaRange) -> Result>(
            _bitmap: *mut bindings::iova_bitmap,
            iova: c_ulong,
            length: usize,
            opaque: *mut c_void,
        ) -> c_int {
            // SAFETY: By the safety requirements it is the closure, and the only reference to it.
            let f = unsafe { &mut *opaque.cast::<F>() };
            let part = IovaRange::from_len(to_u64(iova), to_u64(length));
            match part.and_then(f) {
                Ok(()) => 0,
                Err(error) => error.to_errno(),
            }
        }

        let opaque = core::ptr::from_mut(&mut f).cast();
        // SAFETY:
        // - By the type invariants the bitmap exists.
        // - `call::<F>` is passed the closure, which exists until the function returns.
        to_result(unsafe {
            bindings::iova_bitmap_for_each(self.raw.as_ptr(), opaque, Some(call::<F>))
        })
    }
}

impl Drop for UserBitmap {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the bitmap exists, and it is not used any more.
        unsafe { bindings::iova_bitmap_free(self.raw.as_ptr()) };
    }
}

/// A domain some addresses of which keep their translation.
///
/// # Safety
///
/// As long as a value exists, no task maps or unmaps a part of the ranges that are passed to
/// [`Dirty`] along with it.
pub(crate) unsafe trait StableTables {
    /// Returns the domain.
    fn domain(&self) -> &Domain;
}

/// A domain whose IOMMU can track dirty pages.
///
/// # Examples
///
/// ```
/// use crate::kapi::{
///     iommu::dirty::{Dirty, StableTables, UserBitmap},
///     units::IovaRange,
/// };
///
/// /// Sets the bits of the pages of `range` that were written, and makes the pages clean.
/// fn report<S: StableTables>(tables: &S, range: IovaRange, data: UserPtr) -> Result {
///     let dirty = Dirty::of(tables).ok_or(EOPNOTSUPP)?;
///     let mut bitmap = UserBitmap::new(range, 4096, data)?;
///     dirty.report(&mut bitmap, true, core::iter::once)
/// }
/// ```
pub(crate) struct Dirty<'a, S: StableTables> {
    tables: &'a S,
    ops: &'a bindings::iommu_dirty_ops,
}

impl<'a, S: StableTables> Dirty<'a, S> {
    /// Returns `None` if the IOMMU cannot track dirty pages of the domain.
    pub(crate) fn of(tables: &'a S) -> Option<Self> {
        // SAFETY:
        // - The domain exists during `'a`.
        // - The operations belong to the driver's module, which the domain holds (`DriverRef`), and
        //   are not changed after the domain was allocated.
        let ops = unsafe { (*tables.domain().as_ptr()).dirty_ops.as_ref() }?;
        Some(Self { tables, ops })
    }

    /// Starts or stops tracking. Returns `EOPNOTSUPP` if the driver cannot, or the driver's error.
    pub(crate) fn track(&self, enable: bool) -> Result {
        let track = self.ops.set_dirty_tracking.ok_or(EOPNOTSUPP)?;
        // SAFETY: The domain exists during `'a`, and the operation is one of its driver.
        to_result(unsafe { track(self.tables.domain().as_ptr(), enable) })
    }

    /// Makes all pages of `ranges` clean. The IOMMU has noticed when this returns. Returns
    /// `EOPNOTSUPP` if the driver cannot, the driver's error, or `EINTR` if the task is being killed;
    /// then some of the pages are clean.
    pub(crate) fn clear(&self, mut ranges: impl Iterator<Item = IovaRange>) -> Result {
        self.read(None, true, |read| {
            ranges.try_for_each(read)?;
            // The ranges end early if the task is killed while it waits for one.
            signal::check_killed()
        })
    }

    /// Sets the bits of dirty pages in `bitmap`. If `clear`, then these pages are made clean, which
    /// the IOMMU has noticed when this returns.
    ///
    /// The range of the bitmap is read part by part: `ranges` returns what of a part is to be read,
    /// which must be inside the part.
    ///
    /// Returns `EOPNOTSUPP` if the driver cannot read dirty pages, and `EINTR` if the task is being
    /// killed. A failure of the driver ends the report without an error: what it has made clean until
    /// then is in the bitmap, and an error would make user space throw that away. The bitmap of a task
    /// that is killed has this, too, and the other pages stay dirty.
    pub(crate) fn report<I: Iterator<Item = IovaRange>>(
        &self,
        bitmap: &mut UserBitmap,
        clear: bool,
        mut ranges: impl FnMut(IovaRange) -> I,
    ) -> Result {
        let raw = bitmap.raw.as_ptr();
        let all = bitmap.range;
        self.read(Some(raw), clear, |read| {
            bitmap
                .for_each(|part| {
                    ranges(part).try_for_each(|range| {
                        if warn_on_once!(!part.contains(&range) || !all.contains(&range)) {
                            return Err(EINVAL);
                        }
                        read(range)
                    })
                })
                .ok();
            signal::check_killed()
        })
    }

    /// Calls `f` with a function that reads the dirty pages of a range, and sets their bits in the
    /// bitmap.
    fn read(
        &self,
        bitmap: Option<*mut bindings::iova_bitmap>,
        clear: bool,
        f: impl FnOnce(&mut dyn FnMut(IovaRange) -> Result) -> Result,
    ) -> Result {
        let read = self.ops.read_and_clear_dirty.ok_or(EOPNOTSUPP)?;
        let domain = self.tables.domain().as_ptr();
        let flags = if clear {
            0
        } else {
            to_usize(u64::from(bindings::IOMMU_DIRTY_NO_CLEAR))
        };
        let gather = Opaque::<bindings::iommu_iotlb_gather>::uninit();
        // SAFETY: `gather` can be written.
        unsafe { bindings::iommufd_rs_iotlb_gather_init(gather.get()) };
        let mut dirty = bindings::iommu_dirty_bitmap {
            bitmap: bitmap.unwrap_or(core::ptr::null_mut()),
            gather: gather.get(),
        };
        let result = f(&mut |range| {
            range.divided(AT_ONCE).try_for_each(|part| {
                signal::check_killed()?;
                // SAFETY:
                // - The domain exists as long as `tables`.
                // - Its translation of the range stays as it is: `StableTables` guarantees that.
                // - The bitmap and `gather` exist until `f` returns.
                to_result(unsafe {
                    read(
                        domain,
                        to_usize(part.start()),
                        to_usize(part.len()),
                        flags,
                        &mut dirty,
                    )
                })
            })
        });
        if clear {
            // SAFETY: The domain exists during `'a`, and `gather` is initialised.
            unsafe { bindings::iommufd_rs_iotlb_sync(domain, gather.get()) };
        }
        result
    }
}
