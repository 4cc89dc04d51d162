// SPDX-License-Identifier: GPL-2.0-only

//! The C object behind a device, which the kernel crate keeps to itself.

use crate::ffi::bindings;
use kernel::device::Device;

/// The C object.
pub(crate) fn as_raw(dev: &Device) -> *mut bindings::device {
    // `Device` is a transparent wrapper of the C struct.
    core::ptr::from_ref(dev).cast_mut().cast()
}
