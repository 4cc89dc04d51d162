// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters that the administrator may change at any time. The kernel crate's parameters
//! do not show in sysfs, so they are declared in C (`abi/exports.c`).

use crate::ffi::bindings;

/// Whether devices may be bound that can forge interrupts of others.
pub(crate) fn allow_unsafe_interrupts() -> bool {
    // SAFETY: It reads a variable.
    unsafe { bindings::iommufd_rs_allow_unsafe_interrupts() }
}

/// Returns whether devices that are bound from now on get a native backend, if their IOMMU has one.
#[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
pub(crate) fn native_backends() -> bool {
    // SAFETY: It reads a variable.
    unsafe { bindings::iommufd_rs_native_backends() }
}
