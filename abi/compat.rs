// SPDX-License-Identifier: GPL-2.0-only

//! The VFIO container spoken on `/dev/iommu`, as vfio's group interface asks for it.
//!
//! TODO[VFIO]: not built yet.

use crate::abi::same_signature;
use crate::ffi::bindings;
use kernel::prelude::*;

same_signature! {
    iommufd_vfio_compat_ioas_get_id,
    iommufd_vfio_compat_ioas_create,
    iommufd_vfio_compat_set_no_iommu,
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_ioas_get_id(
    _ictx: *mut bindings::iommufd_ctx,
    _out_ioas_id: *mut u32,
) -> c_int {
    EOPNOTSUPP.to_errno()
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_ioas_create(_ictx: *mut bindings::iommufd_ctx) -> c_int {
    EOPNOTSUPP.to_errno()
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_set_no_iommu(_ictx: *mut bindings::iommufd_ctx) -> c_int {
    EOPNOTSUPP.to_errno()
}
