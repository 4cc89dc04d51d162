// SPDX-License-Identifier: GPL-2.0-only

//! Emulated devices, as vfio refers to them. A `struct iommufd_access *` is a [`Ref<Access>`].

use core::ffi::c_void;

use kernel::prelude::*;

use crate::{
    abi::same_signature,
    device::Access,
    ffi::bindings,
    ioas::{
        accessor::AccessUser,
        transfer::Transfer, //
    },
    kapi::{
        bug::warn_on_once,
        file::file_ref::FileRef,
        mm::pin::PagePtr,
        reason::{
            self,
            Because,
            Reason, //
        },
        sync::raw_ref::{
            BorrowedRef,
            RawRef, //
        },
        units::{
            page_offset,
            to_u64,
            to_usize,
            IovaRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

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

/// A C driver with an `unmap` operation.
struct CUser {
    unmap: unsafe extern "C" fn(data: *mut c_void, iova: c_ulong, length: c_ulong),
    data: *mut c_void,
}

// SAFETY: The driver's operation may be called from any task.
unsafe impl Send for CUser {}
// SAFETY: The driver's operation may be called from several tasks at once.
unsafe impl Sync for CUser {}

impl AccessUser for CUser {
    fn unmap(&self, range: IovaRange) {
        // SAFETY: `data` is valid until `iommufd_access_destroy` has returned, which waits until
        // this was dropped.
        unsafe { (self.unmap)(self.data, to_usize(range.start()), to_usize(range.len())) };
    }
}

/// # Safety
///
/// `access` must have come from [`iommufd_access_create`], and must not be destroyed during `'a`.
unsafe fn borrow<'a>(access: *mut bindings::iommufd_access) -> BorrowedRef<'a, Ref<Access>> {
    // SAFETY:
    // - `iommufd_access_create` made the pointer by `Ref::into_raw`.
    // - The caller guarantees that `iommufd_access_destroy` does not take the reference during
    //   `'a`.
    unsafe { Ref::<Access>::borrow_raw(access.cast()) }
}

/// Returns the result of `command` to the driver. The context of the access records a refusal.
fn answer(access: &Access, command: &'static CStr, result: reason::Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(refusal) => access.refuse(command, refusal).to_errno(),
    }
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_create(
    ictx: *mut bindings::iommufd_ctx,
    ops: *const bindings::iommufd_access_ops,
    data: *mut c_void,
    id: *mut u32,
) -> *mut bindings::iommufd_access {
    // SAFETY: The caller has a reference to the context, and `ops` and `id` are valid, during the
    // call.
    let (ctx, ops, id) = unsafe { (FileRef::<Ctx>::borrow_raw(ictx.cast()), &*ops, &mut *id) };
    let create = || -> reason::Result<Ref<Access>> {
        let user = match ops.unmap {
            Some(unmap) => {
                let user: KBox<dyn AccessUser> =
                    KBox::new(CUser { unmap, data }, GFP_KERNEL_ACCOUNT)?;
                Some(user)
            }
            None => None,
        };
        Access::create(&ctx, user, ops.needs_pin_pages() != 0)
    };
    match create() {
        Ok(access) => {
            *id = access.id();
            access.into_raw().cast()
        }
        Err(refusal) => ctx.refuse(c"create access", refusal).to_ptr(),
    }
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_destroy(access: *mut bindings::iommufd_access) {
    // SAFETY: `iommufd_access_create` returned the pointer, and the caller does not use it again.
    Access::destroy(unsafe { Ref::<Access>::from_raw(access.cast()) });
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_attach(
    access: *mut bindings::iommufd_access,
    ioas_id: u32,
) -> c_int {
    // SAFETY: The caller does not destroy the access during the call.
    let access = unsafe { borrow(access) };
    answer(&access, c"attach access", access.attach(ioas_id))
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_replace(
    access: *mut bindings::iommufd_access,
    ioas_id: u32,
) -> c_int {
    // SAFETY: The caller does not destroy the access during the call.
    let access = unsafe { borrow(access) };
    answer(&access, c"replace access", access.replace(ioas_id))
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_detach(access: *mut bindings::iommufd_access) {
    // SAFETY: The caller does not destroy the access during the call.
    unsafe { borrow(access) }.detach();
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_pin_pages(
    access: *mut bindings::iommufd_access,
    iova: c_ulong,
    length: c_ulong,
    out_pages: *mut *mut bindings::page,
    flags: c_uint,
) -> c_int {
    // SAFETY: The caller does not destroy the access during the call.
    let access = unsafe { borrow(access) };
    let range = IovaRange::from_len(to_u64(iova), to_u64(length))
        .because(Reason::CommandRange, to_u64(iova));
    let pinned = range.and_then(|range| {
        let bytes = page_offset(range.start()).saturating_add(range.len());
        let npages = to_usize(bytes.div_ceil(PAGE_SIZE).min(u64::MAX >> PAGE_SHIFT));
        // SAFETY: `out_pages` has an element for each page of the range, and a `PagePtr` is a
        // pointer to a `struct page`.
        let out = unsafe { core::slice::from_raw_parts_mut(out_pages.cast::<PagePtr>(), npages) };
        let write = flags & bindings::IOMMUFD_ACCESS_RW_WRITE != 0;
        access.pin_pages(range, write, out)
    });
    answer(&access, c"pin pages", pinned)
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_unpin_pages(
    access: *mut bindings::iommufd_access,
    iova: c_ulong,
    length: c_ulong,
) {
    let range = IovaRange::from_len(to_u64(iova), to_u64(length));
    // The driver has pinned no such range.
    warn_on_once!(range.is_err());
    if let Ok(range) = range {
        // SAFETY: The caller does not destroy the access during the call.
        unsafe { borrow(access) }.unpin_pages(range);
    }
}

#[no_mangle]
unsafe extern "C" fn iommufd_access_rw(
    access: *mut bindings::iommufd_access,
    iova: c_ulong,
    data: *mut c_void,
    len: usize,
    flags: c_uint,
) -> c_int {
    // SAFETY: The caller does not destroy the access during the call.
    let access = unsafe { borrow(access) };
    let iova = to_u64(iova);
    if len == 0 {
        let refusal = Reason::CommandRange.with(iova);
        return answer(&access, c"access memory", Err(refusal));
    }
    // SAFETY: `data` has `len` bytes, which nothing else uses during the call.
    let transfer = unsafe {
        if flags & bindings::IOMMUFD_ACCESS_RW_WRITE != 0 {
            Transfer::Write(core::slice::from_raw_parts(data.cast(), len))
        } else {
            Transfer::Read(core::slice::from_raw_parts_mut(data.cast(), len))
        }
    };
    let borrow_mm = flags & bindings::IOMMUFD_ACCESS_RW_KTHREAD != 0;
    let copied = access.copy_bytes(iova, transfer, borrow_mm, false);
    answer(&access, c"access memory", copied)
}
