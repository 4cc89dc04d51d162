// SPDX-License-Identifier: GPL-2.0-only

//! A device as the IOMMU core and its drivers see it.
//!
//! The functions of this folder that take a `&Device` read `dev->iommu`. The IOMMU core does not
//! change it while a driver is bound to the device. Every device that reaches this folder is bound:
//! to the driver that called `iommufd_device_bind()`, until that driver calls
//! `iommufd_device_unbind()` (`abi/device.rs`); or, in the test module, to its mock bus, where it
//! is never unbound before it is removed (`kapi/iommu_driver/bus.rs`). A device that was removed
//! has no `dev->iommu`; the functions then report that it has no IOMMU.
//!
//! C headers: `include/linux/iommu.h`, `include/linux/pci-ats.h`.

use kernel::{
    device::Device,
    prelude::*, //
};

use crate::ffi::bindings;

/// Returns the C object.
pub(crate) fn as_raw(dev: &Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of the C struct.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// Returns whether an IOMMU translates the DMA of the device.
pub(crate) fn has_iommu(dev: &Device) -> bool {
    // SAFETY: A `&Device` is a valid device.
    unsafe { bindings::iommufd_rs_dev_has_iommu(as_raw(dev)) }
}

/// Returns the operations of the IOMMU driver that manages a device, or `ENODEV` if none does.
pub(super) fn iommu_ops(dev: &Device) -> Result<&bindings::iommu_ops> {
    // SAFETY: A `&Device` is a valid device. The operations are part of the driver, which manages
    // the device while it is bound; see the module's comment.
    unsafe { bindings::iommufd_rs_dev_iommu_ops(as_raw(dev)).as_ref() }.ok_or(ENODEV)
}

/// Returns whether the device is a virtual function with the PRI capability. Its page requests use
/// the PRI of the physical function.
pub(crate) fn is_vf_with_pri(dev: &Device) -> bool {
    // SAFETY: A `&Device` is a valid device.
    unsafe { bindings::iommufd_rs_dev_is_vf_with_pri(as_raw(dev)) }
}
