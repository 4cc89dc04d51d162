// SPDX-License-Identifier: GPL-2.0-only

//! The functions for IOMMU drivers with vIOMMUs. The kernel calls them by the table of
//! `abi/provider.c`.

use core::ffi::c_void;

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::{
    abi::same_signature,
    ffi::bindings,
    kapi::{
        bug::ok_or_warn,
        iommu::{
            hw_queue,
            vdevice,
            viommu, //
        },
        mm::vma::DeviceMemory,
        sync::{
            raw_ref::RawRef,
            shared::Shared, //
        },
        units::{
            to_u64,
            to_usize, //
        }, //
    },
    object::DriverSide, //
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
    // SAFETY: Drivers have the vDEVICEs that `Vdevice::new` made, and use them before `destroy`
    // returns.
    unsafe { vdevice::device_of(vdevice) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_report_event(
    viommu: *mut bindings::iommufd_viommu,
    kind: c_uint,
    event: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY:
    // - The kernel's function has refused a NULL `event` and a `len` of 0.
    // - Drivers have the vIOMMUs that `Viommu::new` made, and report no events after `destroy`.
    let reported = unsafe {
        let event = core::slice::from_raw_parts(event.cast::<u8>(), len);
        viommu::report(viommu, kind, event)
    };
    from_result(|| reported.map(|()| 0))
}

#[no_mangle]
unsafe extern "C" fn iommufd_rs_object_depend(
    dependent: *mut bindings::iommufd_object,
    depended: *mut bindings::iommufd_object,
) -> c_int {
    from_result(|| {
        if core::ptr::eq(dependent, depended) {
            return Err(EINVAL);
        }
        // SAFETY: Drivers have the objects that this module made, and use them before `destroy`
        // returns.
        unsafe {
            hw_queue::owner_of(dependent).ok_or(EINVAL)?;
            let (ctx, id) = hw_queue::owner_of(depended).ok_or(EINVAL)?;
            // Only the task that makes the queue adds to it, so the room stays.
            hw_queue::reserve_dependency(dependent)?;
            // It is published before it is disowned, so one of the two finds it.
            let needed = match hw_queue::own_object(depended) {
                Some(needed) => needed,
                None => {
                    let side = Shared::<DriverSide>::borrow_raw(ctx);
                    let found = side.objects().get_any(id)?;
                    ok_or_warn!(found.into_shared(), EINVAL)?
                }
            };
            hw_queue::add_dependency(dependent, needed);
        }
        Ok(0)
    })
}

/// Does nothing: an object drops its references to the objects it depends on after its driver's
/// `destroy`, which calls this. The driver may hold a lock here that dropping the other object
/// takes.
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
    from_result(|| {
        // SAFETY: Drivers offer memory that user space may map until they call
        // `iommufd_rs_destroy_mmap`, which they do before the object is dropped.
        let memory = unsafe { DeviceMemory::new(mmio_addr, to_u64(length))? };
        // SAFETY: Drivers pass the `ictx` of a vIOMMU of theirs, which owns a reference to the
        // `DriverSide` that it is the address of: `Viommu::make` in `kapi/iommu/viommu.rs`.
        let side = unsafe { Shared::<DriverSide>::borrow_raw(ictx.cast()) };
        // SAFETY: Drivers pass a valid object of theirs.
        let id = unsafe { (*owner).id };
        let added = to_usize(side.offers().add(id, memory)?);
        // SAFETY: Drivers pass the address of a variable of theirs.
        unsafe { *offset = added };
        Ok(0)
    })
}

/// May be called while the context is dropped, because that drops its objects.
#[no_mangle]
unsafe extern "C" fn iommufd_rs_destroy_mmap(
    ictx: *mut bindings::iommufd_ctx,
    _owner: *mut bindings::iommufd_object,
    offset: c_ulong,
) {
    // SAFETY: Drivers pass the `ictx` of a vIOMMU of theirs, which owns a reference to the
    // `DriverSide` that it is the address of until after the driver's `destroy`.
    let side = unsafe { Shared::<DriverSide>::borrow_raw(ictx.cast()) };
    side.offers().remove(to_u64(offset));
}
