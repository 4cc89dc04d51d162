// SPDX-License-Identifier: GPL-2.0-only

//! Pages of an IOMMU driver that user space may map.
//!
//! C header: `include/linux/iommufd.h`.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::units::{
        to_u64,
        to_usize,
        PAGE_SHIFT,
        PAGE_SIZE, //
    }, //
};

/// Physically contiguous pages, which are freed when this is dropped.
///
/// # Invariants
///
/// `first` is the first of `1 << order` pages that `alloc_pages()` returned and that nothing else
/// frees.
pub(crate) struct DriverPages {
    first: NonNull<bindings::page>,
    order: u32,
}

// SAFETY: Pages may be used and freed by any task.
unsafe impl Send for DriverPages {}
// SAFETY: A `&DriverPages` gives no access to the memory.
unsafe impl Sync for DriverPages {}

impl DriverPages {
    /// Allocates `1 << order` pages of zeroes. Returns `ENOMEM` if there is no memory.
    pub(crate) fn zeroed(order: u32) -> Result<Self> {
        // SAFETY: The function has no requirements but that the caller may sleep.
        let page =
            unsafe { bindings::alloc_pages(bindings::GFP_KERNEL | bindings::__GFP_ZERO, order) };
        // INVARIANT: The pages were just allocated.
        Ok(Self {
            first: NonNull::new(page).ok_or(ENOMEM)?,
            order,
        })
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> u64 {
        PAGE_SIZE << self.order
    }

    /// Writes a number to the first bytes.
    pub(crate) fn put(&mut self, value: u32) {
        // SAFETY: By the type invariant the pages are allocated, and `GFP_KERNEL` pages have an
        // address.
        let address = unsafe { bindings::iommufd_rs_page_address(self.first.as_ptr()) };
        // SAFETY: A page is larger than a `u32` and aligned.
        unsafe { address.cast::<u32>().write_volatile(value) };
    }

    /// Returns the physical address of the first byte.
    fn phys(&self) -> u64 {
        // SAFETY: By the type invariant it is a valid page.
        to_u64(unsafe { bindings::iommufd_rs_page_to_pfn(self.first.as_ptr()) }) << PAGE_SHIFT
    }
}

impl Drop for DriverPages {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pages were allocated with this order.
        unsafe { bindings::__free_pages(self.first.as_ptr(), self.order) };
    }
}

/// Where user space can map pages.
pub(crate) struct Offer {
    /// The offset for mmap() of the context's file.
    pub(crate) offset: u64,
    /// The number of bytes.
    pub(crate) len: u64,
}

/// A vIOMMU that its driver is initialising.
///
/// # Invariants
///
/// iommufd's part of `raw` is initialised, and exists until after the driver's part was dropped.
pub(crate) struct NewViommu<'a> {
    raw: NonNull<bindings::iommufd_viommu>,
    pages: Option<OfferedPages>,
    _iommufd: PhantomData<&'a bindings::iommufd_viommu>,
}

impl NewViommu<'_> {
    /// # Safety
    ///
    /// iommufd's part of the vIOMMU must be initialised, and must exist until after the result of
    /// [`NewViommu::into_pages`] was dropped.
    pub(super) unsafe fn new(raw: NonNull<bindings::iommufd_viommu>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            raw,
            pages: None,
            _iommufd: PhantomData,
        }
    }

    /// Lets user space map the pages as long as the vIOMMU exists. The pages are freed after the
    /// driver's part of it was dropped.
    ///
    /// Returns `EBUSY` if pages were offered before, `ENOMEM` if there is no memory.
    pub(crate) fn offer(&mut self, pages: DriverPages) -> Result<Offer> {
        if self.pages.is_some() {
            return Err(EBUSY);
        }
        let raw = self.raw.as_ptr();
        let len = pages.len();
        let mut offset = 0;
        // SAFETY:
        // - By the type invariant iommufd's part is initialised.
        // - `OfferedPages` takes the offer back before it frees the pages.
        to_result(unsafe {
            bindings::_iommufd_alloc_mmap(
                (*raw).ictx,
                &raw mut (*raw).obj,
                pages.phys(),
                to_usize(len),
                &mut offset,
            )
        })?;
        // INVARIANT: The pages were just offered.
        self.pages = Some(OfferedPages {
            viommu: self.raw,
            offset,
            _pages: pages,
        });
        let offset = to_u64(offset);
        Ok(Offer { offset, len })
    }

    /// Returns the pages that were offered, to be dropped when the vIOMMU is destroyed.
    pub(super) fn into_pages(self) -> Option<OfferedPages> {
        self.pages
    }
}

/// Pages that user space may map until this is dropped.
///
/// # Invariants
///
/// The pages are offered under `offset` for `viommu`, which exists.
pub(super) struct OfferedPages {
    viommu: NonNull<bindings::iommufd_viommu>,
    offset: usize,
    // Freed once the offer was taken back. A mapping has a reference to the vIOMMU, so none is
    // left.
    _pages: DriverPages,
}

impl Drop for OfferedPages {
    fn drop(&mut self) {
        let raw = self.viommu.as_ptr();
        // SAFETY: By the type invariant the vIOMMU exists, and has this offer.
        unsafe {
            bindings::_iommufd_destroy_mmap((*raw).ictx, &raw mut (*raw).obj, self.offset);
        }
    }
}
