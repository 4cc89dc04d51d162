// SPDX-License-Identifier: GPL-2.0-only

//! Interrupts: where the doorbell is that a device is to write to.

use kernel::prelude::*;

use crate::{
    abi::same_signature,
    ffi::bindings,
    kapi::iommu::iopf::Handle, //
};

same_signature! {
    iommufd_rs_place_doorbell,
}

/// 1 with the address for the device in `iova`, 0 where devices use the physical address, or an
/// errno.
#[no_mangle]
unsafe extern "C" fn iommufd_rs_place_doorbell(
    handle: *mut bindings::iommu_attach_handle,
    page: u64,
    iova: *mut u64,
) -> c_int {
    // SAFETY: `abi/provider.c` got it from the IOMMU core for a group that is attached to a domain
    // of ours, and holds the group's mutex.
    let handle = unsafe { Handle::borrow(handle) };
    match handle.place_doorbell(page) {
        Ok(None) => 0,
        Ok(Some(place)) => {
            // SAFETY: The caller gives a place for it.
            unsafe { *iova = place };
            1
        }
        Err(error) => error.to_errno(),
    }
}
