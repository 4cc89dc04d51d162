// SPDX-License-Identifier: GPL-2.0-only

//! References to IOMMU drivers.
//!
//! C headers: `include/linux/iommu.h`, `include/linux/module.h`.

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::iommu::device::{
        self,
        IommuDevice, //
    }, //
};

/// A reference to an IOMMU driver. As long as it exists the module of the driver stays loaded, so
/// the driver's functions can be called. A built-in driver has no module.
///
/// # Invariants
///
/// - `ops` points to operations that exist, and do not change, until the module `ops.owner` is
///   unloaded, or forever if that is NULL.
/// - One reference on the module is owned by this, unless it is NULL.
pub(super) struct DriverRef {
    ops: NonNull<bindings::iommu_ops>,
}

// SAFETY: A module's reference count is atomic, so any task may drop the reference.
unsafe impl Send for DriverRef {}
// SAFETY: A `&DriverRef` gives access to the operations, which do not change, and to the module's
// reference count, which is atomic.
unsafe impl Sync for DriverRef {}

impl DriverRef {
    /// Takes a reference to the driver that manages a device. Returns `ENODEV` if none does, or if
    /// its module is being unloaded.
    pub(super) fn of(dev: &IommuDevice) -> Result<Self> {
        let ops = device::iommu_ops(dev)?;
        // SAFETY:
        // - The operations exist now, because `dev` does.
        // - They are what the driver has passed to iommu_device_register(): constant data of its
        //   module, or a field of a `BusIommu` of this module, which is dropped when this module is
        //   unloaded.
        unsafe { Self::get(ops.into()) }
    }

    /// Takes a reference to a driver whose operations are static data.
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    pub(super) fn of_static(ops: &'static bindings::iommu_ops) -> Result<Self> {
        // SAFETY: Static data of a module exists until the module is unloaded.
        unsafe { Self::get(ops.into()) }
    }

    /// Takes another reference to the same driver. Returns `ENODEV` if its module is being unloaded
    /// by force.
    pub(super) fn again(&self) -> Result<Self> {
        // SAFETY: By the type invariants the operations exist as long as `self`.
        unsafe { Self::get(self.ops) }
    }

    /// # Safety
    ///
    /// `ops` must exist now, and be as the type invariants say.
    unsafe fn get(ops: NonNull<bindings::iommu_ops>) -> Result<Self> {
        // SAFETY: By the safety requirements the operations exist.
        let owner = unsafe { ops.as_ref() }.owner;
        // SAFETY: `owner` is NULL or the module that contains the operations, which exist.
        if !unsafe { bindings::try_module_get(owner) } {
            return Err(ENODEV);
        }
        // INVARIANT: The reference was just taken. The caller guarantees the rest.
        Ok(Self { ops })
    }

    /// Returns the operations of the driver.
    pub(super) fn ops(&self) -> &bindings::iommu_ops {
        // SAFETY: By the type invariants they exist as long as the reference on the module.
        unsafe { self.ops.as_ref() }
    }
}

impl Drop for DriverRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the module is NULL or a reference on it is ours.
        unsafe { bindings::module_put(self.ops().owner) };
    }
}
