// SPDX-License-Identifier: GPL-2.0-only

//! The C object behind a device, which the kernel crate keeps to itself, and whether it has an IOMMU.
//!
//! C header: `include/linux/iommu.h`.

use crate::ffi::bindings;
use kernel::device::Device;

/// The C object.
pub(crate) fn as_raw(dev: &Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of the C struct.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// Whether an IOMMU stands between the device and memory.
pub(crate) fn has_iommu(dev: &Device) -> bool {
    // SAFETY: The device is alive.
    unsafe { bindings::iommufd_rs_dev_has_iommu(as_raw(dev)) }
}
