// SPDX-License-Identifier: GPL-2.0-only

//! `THIS_MODULE`, for the owners of operations that the kernel keeps pointers to.

use core::ffi::c_void;

use kernel::types::Opaque;

use crate::ffi::bindings;

extern "C" {
    static __this_module: Opaque<c_void>;
}

/// This module. It can be used in statics; it is there as long as its code.
pub(crate) const fn as_ptr() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}
