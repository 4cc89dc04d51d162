// SPDX-License-Identifier: GPL-2.0-only

//! Interrupts: where the doorbell is that a device is to write to.

use kernel::prelude::*;

use crate::{
    abi::same_signature,
    ffi::bindings,
    kapi::iommu::{
        attachable::place_doorbell,
        msi::Doorbell, //
    }, //
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
    // SAFETY: iommu_dma_prepare_msi() passes the page of an irqchip driver's doorbell.
    let doorbell = unsafe { Doorbell::from_phys(page) };
    // SAFETY: `abi/provider.c` got the handle from the IOMMU core for a group that is attached to a
    // domain with the iommufd cookie, and holds the group's mutex.
    match unsafe { place_doorbell(handle, doorbell) } {
        Ok(None) => 0,
        Ok(Some(place)) => {
            // SAFETY: The caller gives a place for it.
            unsafe { *iova = place };
            1
        }
        Err(error) => error.to_errno(),
    }
}
