// SPDX-License-Identifier: GPL-2.0-only

//! Contexts, as vfio refers to them. A `struct iommufd_ctx *` is a [`FileRef<Ctx>`], so it is the
//! open file that vfio references.

use kernel::prelude::*;

use crate::{
    abi::{
        file::ctx_of,
        same_signature, //
    },
    device::Group,
    ffi::bindings,
    kapi::{
        file::file_ref::FileRef,
        sync::raw_ref::RawRef, //
    },
    object::Ctx, //
};

same_signature! {
    iommufd_ctx_get,
    iommufd_ctx_put,
    iommufd_ctx_from_file,
    iommufd_ctx_from_fd,
    iommufd_ctx_has_group,
}

#[no_mangle]
unsafe extern "C" fn iommufd_ctx_get(ictx: *mut bindings::iommufd_ctx) {
    // SAFETY: The caller has a reference to the context during the call.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw(ictx.cast()) };
    // `iommufd_ctx_put` takes the new reference back.
    (*ctx).clone().into_raw();
}

#[no_mangle]
unsafe extern "C" fn iommufd_ctx_put(ictx: *mut bindings::iommufd_ctx) {
    // vfio calls this with locks held. If this is the last reference, the context is
    // dropped later.
    // SAFETY: The caller passes a reference of its own, which it got from this file.
    drop(unsafe { FileRef::<Ctx>::from_raw(ictx.cast()) });
}

#[no_mangle]
unsafe extern "C" fn iommufd_ctx_from_file(
    file: *mut bindings::file,
) -> *mut bindings::iommufd_ctx {
    // SAFETY: The caller has a reference to the file.
    let raw = unsafe { ctx_of(file) };
    if raw.is_null() {
        return EBADFD.to_ptr();
    }
    // SAFETY: It is the private data of a file to which the caller has a reference.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw(raw) };
    (*ctx).clone().into_raw().cast()
}

#[no_mangle]
unsafe extern "C" fn iommufd_ctx_from_fd(fd: c_int) -> *mut bindings::iommufd_ctx {
    // SAFETY: Any descriptor may be looked up in the table of the current task.
    let file = unsafe { bindings::fget(fd as u32) };
    if file.is_null() {
        return EBADF.to_ptr();
    }
    // SAFETY: `fget` returned a reference to a file, which `fput` drops after its last use.
    unsafe {
        let ctx = iommufd_ctx_from_file(file);
        bindings::fput(file);
        ctx
    }
}

#[no_mangle]
unsafe extern "C" fn iommufd_ctx_has_group(
    ictx: *mut bindings::iommufd_ctx,
    group: *mut bindings::iommu_group,
) -> bool {
    if ictx.is_null() || group.is_null() {
        return false;
    }
    // SAFETY: The caller has a reference to the context during the call.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw(ictx.cast()) };
    ctx.groups()
        .any::<Group>(|g| g.iommu_addr() == Some(group.addr()))
}
