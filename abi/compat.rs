// SPDX-License-Identifier: GPL-2.0-only

//! What vfio's group interface calls for a context that serves as a VFIO container.

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    abi::same_signature,
    compat,
    ffi::bindings,
    kapi::{
        file::file_ref::FileRef,
        sync::raw_ref::{
            BorrowedRef,
            RawRef, //
        }, //
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
/// The caller must have a reference to the context during `'a`.
unsafe fn borrow<'a>(ictx: *mut bindings::iommufd_ctx) -> BorrowedRef<'a, FileRef<Ctx>> {
    // SAFETY: A `struct iommufd_ctx *` is a `FileRef<Ctx>` (`abi/ctx.rs`), to which the caller has
    // a reference.
    unsafe { FileRef::<Ctx>::borrow_raw(ictx.cast()) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_ioas_get_id(
    ictx: *mut bindings::iommufd_ctx,
    out_ioas_id: *mut u32,
) -> c_int {
    // SAFETY: The caller has a reference to the context, and `out_ioas_id` is valid, during the
    // call.
    let (ctx, out) = unsafe { (borrow(ictx), &mut *out_ioas_id) };
    from_result(|| {
        let id = compat::ioas_id(&ctx).map_err(|refusal| match ctx.no_iommu() {
            // vfio makes sure that there is none, which is no refusal.
            true => refusal.into(),
            false => ctx.refuse(c"join group", refusal),
        });
        *out = id?;
        Ok(0)
    })
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_ioas_create(ictx: *mut bindings::iommufd_ctx) -> c_int {
    // SAFETY: The caller has a reference to the context during the call.
    let ctx = unsafe { borrow(ictx) };
    let joined = compat::join(&ctx).map_err(|refusal| ctx.refuse(c"join group", refusal));
    from_result(|| joined.map(|()| 0))
}

#[no_mangle]
unsafe extern "C" fn iommufd_vfio_compat_set_no_iommu(ictx: *mut bindings::iommufd_ctx) -> c_int {
    // SAFETY: The caller has a reference to the context during the call.
    let ctx = unsafe { borrow(ictx) };
    let joined = compat::join_without_iommu(&ctx);
    let joined = joined.map_err(|refusal| ctx.refuse(c"join group", refusal));
    from_result(|| joined.map(|()| 0))
}
