// SPDX-License-Identifier: GPL-2.0-only

//! Dirty tracking: which pages of a domain devices have written to.
//!
//! C headers: `include/linux/iommu.h` (`struct iommu_dirty_ops`), `include/linux/iova_bitmap.h`.

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
        iommu::domain::Domain,
        units::{
            to_u64,
            to_usize,
            IovaRange, //
        }, //
    }, //
};

/// A bitmap in user memory that stands for a range of addresses, one bit a page. Its memory is
/// pinned piece by piece as bits are set; where it cannot be, they are lost.
///
/// # Invariants
///
/// The bitmap is valid and nobody else frees it.
pub(crate) struct UserBitmap(NonNull<bindings::iova_bitmap>);

impl UserBitmap {
    /// The bitmap at `data`, whose first bit is the first page of `range`. The lowest bit set in
    /// `page_size` is the size of a page in bytes; it is not 0. `ENOMEM`.
    pub(crate) fn new(range: IovaRange, page_size: u64, data: UserPtr) -> Result<Self> {
        if page_size == 0 {
            return Err(EINVAL);
        }
        // SAFETY: Neither the page size nor the length is 0; user memory is written only later.
        let raw = from_err_ptr(unsafe {
            bindings::iova_bitmap_alloc(
                to_usize(range.start()),
                to_usize(range.len()),
                to_usize(page_size),
                data.as_mut_ptr().cast(),
            )
        })?;
        // INVARIANT: A new bitmap.
        Ok(Self(NonNull::new(raw).ok_or(EOPNOTSUPP)?))
    }

    /// Calls `f` for each part of the range, in order, until it fails.
    pub(crate) fn for_each(&self, mut f: impl FnMut(IovaRange) -> Result) -> Result {
        /// # Safety
        ///
        /// `opaque` is the closure that `for_each` was given.
        unsafe extern "C" fn call<F: FnMut(IovaRange) -> Result>(
            _bitmap: *mut bindings::iova_bitmap,
            iova: c_ulong,
            length: usize,
            opaque: *mut c_void,
        ) -> c_int {
            // SAFETY: `for_each` passes its closure and does not use it meanwhile.
            let f = unsafe { &mut *opaque.cast::<F>() };
            let part = IovaRange::from_len(to_u64(iova), to_u64(length));
            match part.and_then(f) {
                Ok(()) => 0,
                Err(error) => error.to_errno(),
            }
        }

        fn pick<F: FnMut(IovaRange) -> Result>(_: &F) -> bindings::iova_bitmap_fn_t {
            Some(call::<F>)
        }

        let function = pick(&f);
        // SAFETY: The bitmap is valid, and the closure outlives the call.
        to_result(unsafe {
            bindings::iova_bitmap_for_each(
                self.0.as_ptr(),
                core::ptr::from_mut(&mut f).cast(),
                function,
            )
        })
    }
}

impl Drop for UserBitmap {
    fn drop(&mut self) {
        // SAFETY: By the invariant the bitmap is ours to free.
        unsafe { bindings::iova_bitmap_free(self.0.as_ptr()) };
    }
}

/// A domain whose IOMMU can track dirty pages.
pub(crate) struct Dirty<'a> {
    domain: &'a Domain,
    ops: &'a bindings::iommu_dirty_ops,
}

impl<'a> Dirty<'a> {
    /// `None` where the IOMMU cannot.
    pub(crate) fn of(domain: &'a Domain) -> Option<Self> {
        // SAFETY: The domain is valid and its operations, which were set when it was made, live as
        // long as its driver.
        let ops = unsafe { (*domain.as_ptr()).dirty_ops.as_ref() }?;
        Some(Self { domain, ops })
    }

    /// Starts or stops tracking. Fails as the driver does.
    pub(crate) fn track(&self, enable: bool) -> Result {
        let track = self.ops.set_dirty_tracking.ok_or(EOPNOTSUPP)?;
        // SAFETY: The domain is valid.
        to_result(unsafe { track(self.domain.as_ptr(), enable) })
    }

    /// Lets `f` read which pages are dirty, setting their bits in `bitmap`, if any. With `clear`
    /// they count as clean from here on, which the IOMMU has noticed too when this returns. Fails
    /// as `f` does; `EOPNOTSUPP` where dirty pages cannot be read.
    pub(crate) fn read(
        &self,
        bitmap: Option<&UserBitmap>,
        clear: bool,
        f: impl FnOnce(&mut DirtyReader<'_>) -> Result,
    ) -> Result {
        let read = self.ops.read_and_clear_dirty.ok_or(EOPNOTSUPP)?;
        let gather = Opaque::<bindings::iommu_iotlb_gather>::uninit();
        // SAFETY: `gather` stays in place until the end of the function.
        unsafe { bindings::iommufd_rs_iotlb_gather_init(gather.get()) };
        let mut reader = DirtyReader {
            domain: self.domain,
            read,
            flags: if clear {
                0
            } else {
                to_usize(u64::from(bindings::IOMMU_DIRTY_NO_CLEAR))
            },
            raw: bindings::iommu_dirty_bitmap {
                bitmap: bitmap.map_or(core::ptr::null_mut(), |bitmap| bitmap.0.as_ptr()),
                gather: gather.get(),
            },
        };
        let result = f(&mut reader);
        if clear {
            // SAFETY: The domain is valid and `gather` was initialised above.
            unsafe { bindings::iommufd_rs_iotlb_sync(self.domain.as_ptr(), gather.get()) };
        }
        result
    }
}

type ReadAndClear = unsafe extern "C" fn(
    *mut bindings::iommu_domain,
    c_ulong,
    usize,
    c_ulong,
    *mut bindings::iommu_dirty_bitmap,
) -> c_int;

/// Reads dirty pages; see [`Dirty::read`].
pub(crate) struct DirtyReader<'a> {
    domain: &'a Domain,
    read: ReadAndClear,
    flags: usize,
    raw: bindings::iommu_dirty_bitmap,
}

impl DirtyReader<'_> {
    /// Reads the pages of `range`, which nobody maps or unmaps meanwhile. Fails as the driver does.
    pub(crate) fn read(&mut self, range: IovaRange) -> Result {
        // SAFETY: The domain is valid; bitmap and gather outlive the reader.
        to_result(unsafe {
            (self.read)(
                self.domain.as_ptr(),
                to_usize(range.start()),
                to_usize(range.len()),
                self.flags,
                &mut self.raw,
            )
        })
    }
}
