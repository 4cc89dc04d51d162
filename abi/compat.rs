// SPDX-License-Identifier: GPL-2.0-only

//! The VFIO container spoken on `/dev/iommu`, as vfio's group interface asks for it.

use kernel::prelude::*;

use crate::{
    abi::{
        errno,
        same_signature, //
    },
    compat,
    ffi::bindings,
    kapi::file::file_ref::{
        BorrowedFileRef,
        FileRef, //
    },
    object::Ctx, //
};

same_signature! {
    iommufd_vfio_compat_ioas_get_id,
    iommufd_vfio_compat_ioas_create,
    iommufd_vfio_compat_set_no_iommu,
}

/// # Safety
///
/// The caller holds a reference to the context during `'a`.
unsafe fn borrow<'a>(ictx: *mut bindings::iommufd_ctx) -> BorrowedFileRef<'a, Ctx> {
    // SAFETY: A `struct iommufd_ctx *` is a `FileRef<Ctx>`, see `abi/ctx.rs`.
    unsafe { FileRef::<Ctx>::borrow_raw(ictx.cast()) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_ioas_get_id(
    ictx: *mut bindings::iommufd_ctx,
    out_ioas_id: *mut u32,
) -> c_int {
    // SAFETY: The caller holds the context, and gives a place for the id.
    let (ctx, out) = unsafe { (borrow(ictx), &mut *out_ioas_id) };
    errno(compat::ioas_id(&ctx).map(|id| *out = id))
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_ioas_create(ictx: *mut bindings::iommufd_ctx) -> c_int {
    // SAFETY: The caller holds the context.
    let ctx = unsafe { borrow(ictx) };
    errno(compat::join(&ctx))
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_set_no_iommu(ictx: *mut bindings::iommufd_ctx) -> c_int {
    // SAFETY: The caller holds the context.
    let ctx = unsafe { borrow(ictx) };
    errno(compat::join_without_iommu(&ctx))
}
