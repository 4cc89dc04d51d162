// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters that can be changed in sysfs at any time.
//!
//! The kernel crate's parameters do not appear in sysfs, so these are declared in C
//! (`abi/exports.c`).

use crate::ffi::bindings;

/// Returns whether devices may be bound that can forge the interrupts of others.
pub(crate) fn allow_unsafe_interrupts() -> bool {
    // SAFETY: The function reads a variable.
    unsafe { bindings::iommufd_rs_allow_unsafe_interrupts() }
}

/// Returns whether devices that are bound from now on get a native backend, if their IOMMU has one.
pub(crate) fn native_backends() -> bool {
    // SAFETY: It reads a variable.
    unsafe { bindings::iommufd_rs_native_backends() }
}
