// SPDX-License-Identifier: GPL-2.0-only

//! MSI doorbells, for `abi/provider.c`.

use kernel::{
    error::from_result,
    prelude::*, //
};

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

/// Stores the address at which the device finds the doorbell in `iova`, and returns 1. Returns 0 if
/// devices use the physical address, or an errno.
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
    let place = unsafe { place_doorbell(handle, doorbell) };
    from_result(|| match place? {
        None => Ok(0),
        Some(place) => {
            // SAFETY: `iova` points to a variable of the caller.
            unsafe { *iova = place };
            Ok(1)
        }
    })
}
