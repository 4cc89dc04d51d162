// SPDX-License-Identifier: GPL-2.0-only

//! References to the module of an IOMMU driver.
//!
//! C header: `include/linux/module.h`.

use kernel::prelude::*;

use crate::ffi::bindings;

/// A reference to the module that contains an IOMMU driver. The functions of the driver can be
/// called as long as it exists. A built-in driver has no module, and needs no reference.
///
/// # Invariants
///
/// `module` is NULL, or a module on which this owns a reference.
pub(super) struct DriverRef {
    module: *mut bindings::module,
}

// SAFETY: A module's reference count is atomic, so any task may drop the reference.
unsafe impl Send for DriverRef {}
// SAFETY: Nothing can be done with a `&DriverRef`.
unsafe impl Sync for DriverRef {}

impl DriverRef {
    /// Takes a reference to the module of a driver. Returns `ENODEV` if the module is being
    /// unloaded.
    pub(super) fn get(ops: &bindings::iommu_ops) -> Result<Self> {
        // SAFETY: `owner` is NULL or the module that contains the live `ops`.
        if !unsafe { bindings::try_module_get(ops.owner) } {
            return Err(ENODEV);
        }
        // INVARIANT: The reference was just taken.
        Ok(Self { module: ops.owner })
    }
}

impl Drop for DriverRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, `module` is NULL or a reference on it is ours.
        unsafe { bindings::module_put(self.module) };
    }
}
