// SPDX-License-Identifier: GPL-2.0-only

//! Looking at a page of the caller's memory, to compare it with what a page table says.
//!
//! C header: `include/linux/mm.h`.

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::{
        mm::pin::PagePtr,
        units::{
            to_u64,
            to_usize,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// A reference to a page, which is not a pin.
pub(crate) struct UserPage(NonNull<bindings::page>);

impl UserPage {
    /// The page at `addr`. `EFAULT`.
    pub(crate) fn get(addr: u64) -> Result<Self> {
        let mut page: *mut bindings::page = core::ptr::null_mut();
        // SAFETY: There is room for one page.
        let got = unsafe { bindings::get_user_pages_fast(to_usize(addr), 1, 0, &mut page) };
        if got < 0 {
            return Err(Error::from_errno(got));
        }
        Ok(Self(NonNull::new(page).ok_or(EFAULT)?))
    }

    /// The first byte's physical address.
    pub(crate) fn phys(&self) -> u64 {
        // SAFETY: The page is alive.
        to_u64(unsafe { bindings::iommufd_rs_page_to_pfn(self.0.as_ptr()) }) << PAGE_SHIFT
    }

    /// Whether it is that page.
    pub(crate) fn is(&self, page: PagePtr) -> bool {
        core::ptr::eq(self.0.as_ptr(), page.as_ptr())
    }

    /// How often the page is pinned, or `None` for one of a larger page, where that is not known.
    pub(crate) fn pins(&self) -> Option<u32> {
        // SAFETY: The page is alive.
        unsafe {
            if bindings::iommufd_rs_page_is_compound(self.0.as_ptr()) {
                return None;
            }
            u32::try_from(bindings::iommufd_rs_page_pins(self.0.as_ptr())).ok()
        }
    }
}

impl Drop for UserPage {
    fn drop(&mut self) {
        // SAFETY: The reference is ours to give back.
        unsafe { bindings::iommufd_rs_put_page(self.0.as_ptr()) };
    }
}
