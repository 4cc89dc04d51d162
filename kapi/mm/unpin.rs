// SPDX-License-Identifier: GPL-2.0-only

//! Unpinning of lists of extents.
//!
//! Where pages are scattered, a call of the kernel for each page costs as much as unpinning it. So pages
//! of a list that stand alone are unpinned together.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use core::mem::ManuallyDrop;

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::{
        mm::extent::{
            Extent,
            PFN_SHIFT, //
        },
        trace::{
            self,
            Event, //
        },
    },
};

/// Unpins the extents of a list, as dropping it does, and frees the list.
pub(crate) fn unpin_list(list: KVec<Extent>) {
    if trace::Unpin::is_read() {
        return drop(list);
    }
    let (first, len, capacity) = list.into_raw_parts();
    // SAFETY: These are the parts of a list, and `ManuallyDrop` has the representation of what is in it.
    let mut list =
        unsafe { KVec::<ManuallyDrop<Extent>>::from_raw_parts(first.cast(), len, capacity) };
    let mut rest = list.as_mut_slice();
    while let Some(first) = rest.first() {
        let alike = rest.iter().take_while(|extent| extent.is_like(first));
        let count = match first.npages() {
            1 => alike.count(),
            _ => 1,
        };
        let writable = first.is_writable();
        let (extents, others) = rest.split_at_mut(count);
        rest = others;
        if let [extent] = extents {
            // SAFETY: Nothing uses the extent afterwards: the list only frees its memory.
            unsafe { ManuallyDrop::drop(extent) };
            continue;
        }
        // SAFETY:
        // - An extent is a `u64` with the page frame number from `PFN_SHIFT` on.
        // - Each of these owns a pin on one page, taken for writing if `writable`, and none is used
        //   afterwards: the list only frees its memory.
        unsafe {
            bindings::iommufd_rs_unpin_pages(
                extents.as_mut_ptr().cast(),
                count,
                PFN_SHIFT,
                writable,
            )
        };
    }
}
