// SPDX-License-Identifier: GPL-2.0-only

//! Pages of the caller's memory, to be compared with what page tables contain.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

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

/// A counted reference to a page. It is not a pin.
///
/// # Invariants
///
/// The reference is counted.
pub(crate) struct UserPage(NonNull<bindings::page>);

impl UserPage {
    /// Returns a reference to the page at the address `addr` of the caller. Returns `EFAULT` if
    /// there is none.
    pub(crate) fn get(addr: u64) -> Result<Self> {
        let mut page: *mut bindings::page = core::ptr::null_mut();
        // SAFETY: `page` has room for the one pointer that is asked for.
        let got = unsafe { bindings::get_user_pages_fast(to_usize(addr), 1, 0, &mut page) };
        if got < 0 {
            return Err(Error::from_errno(got));
        }
        // INVARIANT: get_user_pages_fast() has counted a reference for us.
        Ok(Self(NonNull::new(page).ok_or(EFAULT)?))
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        // SAFETY: By the type invariants there is a reference to the page.
        to_u64(unsafe { bindings::iommufd_rs_page_to_pfn(self.0.as_ptr()) }) << PAGE_SHIFT
    }

    /// Returns whether it is that page.
    pub(crate) fn is(&self, page: PagePtr) -> bool {
        core::ptr::eq(self.0.as_ptr(), page.as_ptr())
    }

    /// Returns how often the page is pinned, or `None` for a page of a large folio, of which that
    /// is not known.
    pub(crate) fn pins(&self) -> Option<u32> {
        // SAFETY: By the type invariants there is a reference to the page.
        if unsafe { bindings::iommufd_rs_page_is_compound(self.0.as_ptr()) } {
            return None;
        }
        // SAFETY: By the type invariants there is a reference to the page.
        u32::try_from(unsafe { bindings::iommufd_rs_page_pins(self.0.as_ptr()) }).ok()
    }
}

impl Drop for UserPage {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the reference is counted, and it is not used any more.
        unsafe { bindings::iommufd_rs_put_page(self.0.as_ptr()) };
    }
}
