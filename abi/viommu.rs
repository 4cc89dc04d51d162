// SPDX-License-Identifier: GPL-2.0-only

//! What drivers with vIOMMUs call. The kernel's functions come here by the table of
//! `abi/provider.c`.

use core::ffi::c_void;

use kernel::prelude::*;

use crate::{
    abi::{
        errno,
        same_signature, //
    },
    ffi::bindings,
    kapi::{
        file::file_ref::FileRef,
        iommu::{
            hw_queue,
            vdevice,
            viommu, //
        },
        mm::vma::DeviceMemory,
        units::{
            to_u64,
            to_usize, //
        }, //
    },
    object::Ctx, //
};

same_signature! {
    iommufd_rs_vdevice_to_device,
    iommufd_rs_report_event,
    iommufd_rs_object_depend,
    iommufd_rs_object_undepend,
    iommufd_rs_alloc_mmap,
    iommufd_rs_destroy_mmap,
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_vdevice_to_device(
    vdevice: *mut bindings::iommufd_vdevice,
) -> *mut bindings::device {
    // SAFETY: Drivers get vDEVICEs from us, and initialised.
    unsafe { vdevice::device_of(vdevice) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_report_event(
    viommu: *mut bindings::iommufd_viommu,
    kind: c_uint,
    event: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: The kernel's function has refused NULL and no bytes. Drivers get vIOMMUs from us, and
    // report only what concerns one that they were not told goes.
    errno(unsafe {
        let event = core::slice::from_raw_parts(event.cast::<u8>(), len);
        viommu::report(viommu, kind, event)
    })
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_object_depend(
    dependent: *mut bindings::iommufd_object,
    depended: *mut bindings::iommufd_object,
) -> c_int {
    let depend = || -> Result {
        if core::ptr::eq(dependent, depended) {
            return Err(EINVAL);
        }
        // SAFETY: Drivers get objects from us, and name them while they are there.
        unsafe {
            hw_queue::owner_of(dependent).ok_or(EINVAL)?;
            let (ctx, id) = hw_queue::owner_of(depended).ok_or(EINVAL)?;
            // It is published before it is disowned, so one of the two finds it.
            let needed = match hw_queue::own_object(depended) {
                Some(needed) => needed,
                None => {
                    let ctx = FileRef::<Ctx>::borrow_raw(ctx);
                    ctx.objects().get_any(id)?.into_shared()
                }
            };
            hw_queue::add_dependency(dependent, needed)
        }
    };
    errno(depend())
}

/// What an object needs it lets go of when it has gone itself, and that is when drivers say so:
/// they may hold a lock here that the end of the other object wants.
#[no_mangle]
unsafe extern "C" fn iommufd_rs_object_undepend(
    _dependent: *mut bindings::iommufd_object,
    _depended: *mut bindings::iommufd_object,
) {
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_alloc_mmap(
    ictx: *mut bindings::iommufd_ctx,
    owner: *mut bindings::iommufd_object,
    mmio_addr: bindings::phys_addr_t,
    length: usize,
    offset: *mut c_ulong,
) -> c_int {
    let offer = || -> Result {
        // SAFETY: Drivers name the context of an object of theirs that is there, and offer what
        // user space may have until they take it back, which they do before the object has gone.
        unsafe {
            let memory = DeviceMemory::new(mmio_addr, to_u64(length))?;
            let ctx = FileRef::<Ctx>::borrow_value(ictx.cast());
            *offset = to_usize(ctx.offers().add((*owner).id, memory)?);
        }
        Ok(())
    };
    errno(offer())
}

/// The object may go because the context does.
#[no_mangle]
unsafe extern "C" fn iommufd_rs_destroy_mmap(
    ictx: *mut bindings::iommufd_ctx,
    _owner: *mut bindings::iommufd_object,
    offset: c_ulong,
) {
    // SAFETY: Objects go while the context is whole, although its last reference may be gone.
    let ctx = unsafe { FileRef::<Ctx>::borrow_value(ictx.cast()) };
    ctx.offers().remove(to_u64(offset));
}
