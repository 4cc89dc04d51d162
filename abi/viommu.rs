// SPDX-License-Identifier: GPL-2.0-only

//! What drivers with vIOMMUs call. The kernel's functions come here by the table of
//! `abi/provider.c`.

use crate::abi::same_signature;
use crate::ffi::bindings;
use crate::kapi::vdevice;

same_signature! {
    iommufd_rs_vdevice_to_device,
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_vdevice_to_device(
    vdevice: *mut bindings::iommufd_vdevice,
) -> *mut bindings::device {
    // SAFETY: Drivers get vDEVICEs from us, and initialised.
    unsafe { vdevice::device_of(vdevice) }
}
