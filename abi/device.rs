// SPDX-License-Identifier: GPL-2.0-only

//! Bound devices, as vfio refers to them. A `struct iommufd_device *` is a [`Binding`].

use kernel::{
    device::Device,
    prelude::*, //
};

use crate::{
    abi::{
        errno,
        same_signature, //
    },
    device::{
        Binding,
        BoundDevice,
        How, //
    },
    ffi::bindings,
    kapi::{
        file::file_ref::FileRef,
        iommu::attachment::Pasid, //
    },
    object::Ctx, //
};

same_signature! {
    iommufd_device_bind,
    iommufd_device_unbind,
    iommufd_device_attach,
    iommufd_device_replace,
    iommufd_device_detach,
    iommufd_device_to_ictx,
    iommufd_device_to_id,
}

/// # Safety
///
/// `idev` came from [`iommufd_device_bind`] and is not unbound during `'a`.
unsafe fn borrow<'a>(idev: *mut bindings::iommufd_device) -> &'a Binding {
    // SAFETY: `bind` makes such pointers of a `KBox<Binding>`, and they are ended by `unbind`.
    unsafe { &*idev.cast() }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_bind(
    ictx: *mut bindings::iommufd_ctx,
    dev: *mut bindings::device,
    id: *mut u32,
) -> *mut bindings::iommufd_device {
    // SAFETY: The caller holds the context and the device during the call.
    let (ctx, dev) = unsafe {
        (
            FileRef::<Ctx>::borrow_raw(ictx.cast()),
            Device::from_raw::<'_>(dev),
        )
    };
    let bind = || -> Result<KBox<Binding>> {
        let memory = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let device = BoundDevice::bind(&ctx, dev)?;
        let ctx = (*ctx).clone();
        Ok(memory.write(Binding { device, ctx }))
    };
    match bind() {
        Ok(binding) => {
            // SAFETY: The caller gives a place for the id.
            unsafe { *id = binding.device.id() };
            KBox::into_raw(binding).cast()
        }
        Err(error) => error.to_ptr(),
    }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_unbind(idev: *mut bindings::iommufd_device) {
    // SAFETY: The caller gives back what it got from `bind`.
    let binding = KBox::into_inner(unsafe { KBox::<Binding>::from_raw(idev.cast()) });
    BoundDevice::unbind(&binding.ctx, binding.device);
}

/// Attaches or replaces, and tells which page tables it was.
///
/// # Safety
///
/// As for [`borrow`]; `pt_id` is the caller's.
unsafe fn change_pt(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
    how: How,
) -> c_int {
    // SAFETY: The caller keeps the device bound and gives a place for the id.
    let (Binding { device, ctx }, pt_id) = unsafe { (borrow(idev), &mut *pt_id) };
    let id = device.change_pt(ctx, Pasid::new(pasid), *pt_id, how);
    errno(id.map(|id| *pt_id = id))
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_attach(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: The header's contract is ours.
    unsafe { change_pt(idev, pasid, pt_id, How::Attach) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_replace(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: The header's contract is ours.
    unsafe { change_pt(idev, pasid, pt_id, How::Replace) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_detach(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
) {
    // SAFETY: The caller keeps the device bound.
    let Binding { device, ctx } = unsafe { borrow(idev) };
    device.detach(ctx, device.id(), Pasid::new(pasid));
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_to_ictx(
    idev: *mut bindings::iommufd_device,
) -> *mut bindings::iommufd_ctx {
    // SAFETY: The caller keeps the device bound.
    let binding = unsafe { borrow(idev) };
    // The binding holds the context; the caller gets no reference of its own.
    binding.ctx.as_raw().cast()
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_to_id(idev: *mut bindings::iommufd_device) -> u32 {
    // SAFETY: The caller keeps the device bound.
    unsafe { borrow(idev) }.device.id()
}
