// SPDX-License-Identifier: GPL-2.0-only

//! What drivers with vIOMMUs call. The kernel's functions come here by the table of
//! `abi/provider.c`.

use crate::abi::errno;
use crate::abi::same_signature;
use crate::ffi::bindings;
use crate::kapi::vdevice;
use crate::kapi::viommu;
use core::ffi::c_void;
use kernel::prelude::*;

same_signature! {
    iommufd_rs_vdevice_to_device,
    iommufd_rs_report_event,
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_vdevice_to_device(
    vdevice: *mut bindings::iommufd_vdevice,
) -> *mut bindings::device {
    // SAFETY: Drivers get vDEVICEs from us, and initialised.
    unsafe { vdevice::device_of(vdevice) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_report_event(
    viommu: *mut bindings::iommufd_viommu,
    kind: c_uint,
    event: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: The kernel's function has refused NULL and no bytes. Drivers get vIOMMUs from us, and
    // report only what concerns one that they were not told goes.
    errno(unsafe {
        let event = core::slice::from_raw_parts(event.cast::<u8>(), len);
        viommu::report(viommu, kind, event)
    })
}
