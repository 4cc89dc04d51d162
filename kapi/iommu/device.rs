// SPDX-License-Identifier: GPL-2.0-only

//! The C object behind a device, which the kernel crate keeps to itself, and what concerns its
//! IOMMU.
//!
//! C headers: `include/linux/iommu.h`, `include/linux/pci-ats.h`.

use kernel::device::Device;

use crate::ffi::bindings;

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

/// Whether the device is a virtual function that can ask for pages. All functions of such a device
/// ask through what the physical one has for it.
pub(crate) fn is_vf_with_pri(dev: &Device) -> bool {
    // SAFETY: The device is alive.
    unsafe { bindings::iommufd_rs_dev_is_vf_with_pri(as_raw(dev)) }
}
