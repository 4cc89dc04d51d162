// SPDX-License-Identifier: GPL-2.0-only

//! Access without DMA, for devices that software emulates.
//!
//! TODO[ACCESS]: not built yet. No access can be created, so nothing else can be asked of one.

use crate::abi::same_signature;
use crate::ffi::bindings;
use core::ffi::c_void;
use kernel::prelude::*;

same_signature! {
    iommufd_access_create,
    iommufd_access_destroy,
    iommufd_access_attach,
    iommufd_access_replace,
    iommufd_access_detach,
    iommufd_access_pin_pages,
    iommufd_access_unpin_pages,
    iommufd_access_rw,
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_create(
    _ictx: *mut bindings::iommufd_ctx,
    _ops: *const bindings::iommufd_access_ops,
    _data: *mut c_void,
    _id: *mut u32,
) -> *mut bindings::iommufd_access {
    EOPNOTSUPP.to_ptr()
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_destroy(_access: *mut bindings::iommufd_access) {}

#[no_mangle]
unsafe extern "C" fn iommufd_access_attach(
    _access: *mut bindings::iommufd_access,
    _ioas_id: u32,
) -> c_int {
    EOPNOTSUPP.to_errno()
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_replace(
    _access: *mut bindings::iommufd_access,
    _ioas_id: u32,
) -> c_int {
    EOPNOTSUPP.to_errno()
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_detach(_access: *mut bindings::iommufd_access) {}

#[no_mangle]
unsafe extern "C" fn iommufd_access_pin_pages(
    _access: *mut bindings::iommufd_access,
    _iova: c_ulong,
    _length: c_ulong,
    _out_pages: *mut *mut bindings::page,
    _flags: c_uint,
) -> c_int {
    EOPNOTSUPP.to_errno()
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_unpin_pages(
    _access: *mut bindings::iommufd_access,
    _iova: c_ulong,
    _length: c_ulong,
) {
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_rw(
    _access: *mut bindings::iommufd_access,
    _iova: c_ulong,
    _data: *mut c_void,
    _len: usize,
    _flags: c_uint,
) -> c_int {
    EOPNOTSUPP.to_errno()
}
