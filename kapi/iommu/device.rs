// SPDX-License-Identifier: GPL-2.0-only

//! A device as the IOMMU core and its drivers see it.
//!
//! The functions of this folder read `dev->iommu`, which the IOMMU core frees when a device is
//! removed. They take an [`IommuDevice`], for which that does not happen.
//!
//! C headers: `include/linux/iommu.h`, `include/linux/pci-ats.h`.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    fmt,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Completion, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::sync::complete_on_drop::CompleteOnDrop, //
};

/// A device that the IOMMU core neither adopts nor releases: `dev->iommu` and `dev->iommu_group` do
/// not change as long as this or a clone of it exists. A device without an IOMMU has neither
/// `dev->iommu` nor an IOMMU driver.
///
/// It is not a [`Device<Bound>`](kernel::device::Bound): that lives as long as a borrow, and mock
/// devices have no driver.
#[derive(Clone)]
pub(crate) struct IommuDevice(Arc<Shared<dyn Send + Sync>>);

/// What the clones share.
struct Shared<K: ?Sized> {
    dev: ARef<Device>,
    dropped: Arc<Completion>,
    _payload: K,
}

/// What is dropped with the last clone.
struct Payload<K> {
    // Field order: see `IommuDevice::dropped`.
    _keep: K,
    _dropped: CompleteOnDrop,
}

impl IommuDevice {
    /// Makes the first one for a device. `keep` is dropped with the last clone. Returns `ENOMEM` if
    /// there is no memory.
    ///
    /// # Safety
    ///
    /// The IOMMU core must not adopt or release the device before the last clone has been dropped,
    /// which dropping `keep` and [`IommuDevice::dropped`] tell. It releases none that a driver is bound
    /// to, and warns if it adopts one.
    pub(crate) unsafe fn new<K: Send + Sync + 'static>(dev: &Device, keep: K) -> Result<Self> {
        let dropped = CompleteOnDrop::new()?;
        let shared = Shared {
            dev: dev.into(),
            dropped: dropped.completion(),
            _payload: Payload {
                _keep: keep,
                _dropped: dropped,
            },
        };
        Ok(Self(Arc::new(shared, GFP_KERNEL_ACCOUNT)?))
    }

    /// Returns the completion that is completed when the last clone and `keep` have been dropped.
    pub(crate) fn dropped(&self) -> Arc<Completion> {
        self.0.dropped.clone()
    }
}

impl Deref for IommuDevice {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0.dev
    }
}

/// The path of a device below `/sys`.
///
/// # Invariants
///
/// It is a string on the heap that belongs to this value.
pub(crate) struct SysfsPath(NonNull<c_char>);

// SAFETY: The string is not changed, and may be freed by any task.
unsafe impl Send for SysfsPath {}
// SAFETY: The string is not changed.
unsafe impl Sync for SysfsPath {}

impl SysfsPath {
    /// Returns the path of a device, or `None` if there is no memory for it.
    pub(crate) fn of(dev: &Device) -> Option<Self> {
        // SAFETY: A `Device` is a valid device, whose kobject has a name.
        let path = unsafe {
            bindings::kobject_get_path(&raw const (*as_raw(dev)).kobj, bindings::GFP_KERNEL)
        };
        // INVARIANT: kobject_get_path() returns a new string, or NULL.
        NonNull::new(path).map(Self)
    }
}

impl fmt::Display for SysfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariants it is a string.
        let path = unsafe { CStr::from_char_ptr(self.0.as_ptr()) };
        fmt::Display::fmt(path, f)
    }
}

impl Drop for SysfsPath {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the string belongs to this value.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }
}

/// Returns the C object.
pub(crate) fn as_raw(dev: &Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of the C struct.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// Returns whether an IOMMU translates the DMA of the device.
pub(crate) fn has_iommu(dev: &IommuDevice) -> bool {
    // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    unsafe { bindings::iommufd_rs_dev_has_iommu(as_raw(dev)) }
}

/// Returns whether an IOMMU driver manages the device. The core does not release it from that driver.
#[cfg(any(
    CONFIG_AMD_IOMMU_IOMMUFD,
    CONFIG_ARM_SMMU_V3_IOMMUFD,
    CONFIG_INTEL_IOMMU
))]
pub(crate) fn is_managed(dev: &IommuDevice) -> bool {
    iommu_ops(dev).is_ok()
}

/// Returns the operations of the IOMMU driver that manages a device, or `ENODEV` if none does.
pub(super) fn iommu_ops(dev: &IommuDevice) -> Result<&bindings::iommu_ops> {
    // SAFETY:
    // - An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    // - The operations are part of the driver that manages the device, which the IOMMU core does
    //   not release as long as `dev` exists.
    unsafe { bindings::iommufd_rs_dev_iommu_ops(as_raw(dev)).as_ref() }.ok_or(ENODEV)
}

/// Returns whether the device is a virtual function with the PRI capability. Its page requests use
/// the PRI of the physical function.
pub(crate) fn is_vf_with_pri(dev: &IommuDevice) -> bool {
    // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    unsafe { bindings::iommufd_rs_dev_is_vf_with_pri(as_raw(dev)) }
}
