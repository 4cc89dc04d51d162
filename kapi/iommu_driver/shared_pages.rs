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

/// Contiguous pages, owned.
pub(crate) struct DriverPages {
    first: NonNull<bindings::page>,
    order: u32,
}

impl DriverPages {
    /// `1 << order` pages of zeroes. `ENOMEM`.
    pub(crate) fn zeroed(order: u32) -> Result<Self> {
        // SAFETY: It may be called from where one may sleep.
        let page =
            unsafe { bindings::alloc_pages(bindings::GFP_KERNEL | bindings::__GFP_ZERO, order) };
        Ok(Self {
            first: NonNull::new(page).ok_or(ENOMEM)?,
            order,
        })
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> u64 {
        PAGE_SIZE << self.order
    }

    /// Puts a number at the beginning.
    pub(crate) fn put(&mut self, value: u32) {
        // SAFETY: The pages are ours, and the kernel can reach them, at an address that is aligned.
        unsafe {
            let to: *mut u32 = bindings::iommufd_rs_page_address(self.first.as_ptr()).cast();
            to.write_volatile(value);
        }
    }

    fn phys(&self) -> u64 {
        // SAFETY: The pages are ours.
        to_u64(unsafe { bindings::iommufd_rs_page_to_pfn(self.first.as_ptr()) }) << PAGE_SHIFT
    }
}

impl Drop for DriverPages {
    fn drop(&mut self) {
        // SAFETY: The pages are ours, so many of them.
        unsafe { bindings::__free_pages(self.first.as_ptr(), self.order) };
    }
}

// SAFETY: Pages are memory; nobody refers to ours.
unsafe impl Send for DriverPages {}
// SAFETY: As above.
unsafe impl Sync for DriverPages {}

/// A vIOMMU that its driver is initialising.
pub(crate) struct NewViommu<'a> {
    raw: NonNull<bindings::iommufd_viommu>,
    _iommufd: PhantomData<&'a bindings::iommufd_viommu>,
}

impl NewViommu<'_> {
    /// # Safety
    ///
    /// iommufd's part is initialised, and what is offered goes before it does.
    pub(super) unsafe fn new(raw: NonNull<bindings::iommufd_viommu>) -> Self {
        Self {
            raw,
            _iommufd: PhantomData,
        }
    }

    /// Lets user space map pages once the vIOMMU is made. `ENOMEM`, `EBUSY`.
    pub(crate) fn offer(&self, pages: DriverPages) -> Result<OfferedPages> {
        let raw = self.raw.as_ptr();
        let mut offset = 0;
        // SAFETY: The vIOMMU is being initialised. The pages are there until they are not offered
        // any more, which is when iommufd has seen that none is mapped.
        to_result(unsafe {
            bindings::_iommufd_alloc_mmap(
                (*raw).ictx,
                &raw mut (*raw).obj,
                pages.phys(),
                to_usize(pages.len()),
                &mut offset,
            )
        })?;
        Ok(OfferedPages {
            viommu: self.raw,
            offset,
            pages,
        })
    }
}

/// Pages that user space may map, until this is dropped.
pub(crate) struct OfferedPages {
    viommu: NonNull<bindings::iommufd_viommu>,
    offset: usize,
    pages: DriverPages,
}

impl OfferedPages {
    /// Where in the context's file user space finds them.
    pub(crate) fn offset(&self) -> u64 {
        to_u64(self.offset)
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> u64 {
        self.pages.len()
    }
}

impl Drop for OfferedPages {
    fn drop(&mut self) {
        let raw = self.viommu.as_ptr();
        // SAFETY: The vIOMMU goes after what is offered of it, and `offer` got the offset from
        // there.
        unsafe {
            bindings::_iommufd_destroy_mmap((*raw).ictx, &raw mut (*raw).obj, self.offset);
        }
    }
}

// SAFETY: Of the vIOMMU only the address is used, and fields that do not change.
unsafe impl Send for OfferedPages {}
// SAFETY: As above.
unsafe impl Sync for OfferedPages {}
