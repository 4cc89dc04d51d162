// SPDX-License-Identifier: GPL-2.0-only

//! Bound devices, as vfio refers to them. A `struct iommufd_device *` is a [`Binding`].

use kernel::{
    device::Device,
    error::from_result,
    prelude::*,
    sync::{
        Arc,
        Completion, //
    }, //
};

use crate::{
    abi::same_signature,
    device::{
        BoundDevice,
        How, //
    },
    ffi::bindings,
    kapi::{
        file::file_ref::FileRef,
        iommu::{
            attachment::Pasid,
            device::IommuDevice, //
        },
        reason,
        sync::raw_ref::RawRef, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
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

/// What a driver that has bound a device holds until it unbinds the device.
struct Binding {
    device: Ref<BoundDevice>,
    /// The context, which exists as long as a driver has bound a device to it.
    ctx: FileRef<Ctx>,
    /// Completed when nothing uses the device any more.
    unused: Arc<Completion>,
}

/// # Safety
///
/// `idev` must have come from [`iommufd_device_bind`], and must not be unbound during `'a`.
unsafe fn borrow<'a>(idev: *mut bindings::iommufd_device) -> &'a Binding {
    // SAFETY:
    // - `iommufd_device_bind` made the pointer of a `KBox<Binding>`.
    // - The caller guarantees that `iommufd_device_unbind` does not free it during `'a`.
    unsafe { &*idev.cast() }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_bind(
    ictx: *mut bindings::iommufd_ctx,
    dev: *mut bindings::device,
    id: *mut u32,
) -> *mut bindings::iommufd_device {
    // SAFETY: The caller has a reference to the context during the call.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw(ictx.cast()) };
    let bind = || -> reason::Result<KBox<Binding>> {
        let memory = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The caller has a reference to the device during the call.
        let dev = unsafe { Device::from_raw::<'_>(dev) };
        // SAFETY: The caller's driver is bound to the device until `iommufd_device_unbind` returns,
        // which waits for `unused`; if binding fails, until this function returns, which does too.
        let dev = unsafe { IommuDevice::new(dev, ()) }?;
        let unused = dev.dropped();
        match BoundDevice::bind(&ctx, dev) {
            Ok(device) => Ok(memory.write(Binding {
                device,
                ctx: (*ctx).clone(),
                unused,
            })),
            Err(error) => {
                unused.wait_for_completion();
                Err(error)
            }
        }
    };
    match bind() {
        Ok(binding) => {
            // SAFETY: `id` points to a variable of the caller.
            unsafe { *id = binding.device.id() };
            KBox::into_raw(binding).cast()
        }
        Err(refusal) => ctx.refuse(c"bind", refusal).to_ptr(),
    }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_unbind(idev: *mut bindings::iommufd_device) {
    // SAFETY: `iommufd_device_bind` returned the pointer, which the caller does not use any more.
    let binding = KBox::into_inner(unsafe { KBox::<Binding>::from_raw(idev.cast()) });
    BoundDevice::unbind(&binding.ctx, binding.device);
    // The fact on which `IommuDevice::new` relies: the caller may unbind its driver now.
    binding.unused.wait_for_completion();
}

/// Attaches a device, or replaces what it is attached to. Stores the id of the page tables in
/// `pt_id`.
///
/// # Safety
///
/// As for [`borrow`]. `pt_id` must be valid for reads and writes.
unsafe fn change_pt(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
    how: How,
) -> c_int {
    // SAFETY: The caller guarantees that the device remains bound and `pt_id` is valid.
    let (Binding { device, ctx, .. }, pt_id) = unsafe { (borrow(idev), &mut *pt_id) };
    from_result(|| {
        *pt_id = device
            .change_pt(ctx, Pasid::new(pasid), *pt_id, how)
            .map_err(|refusal| ctx.refuse(how.name(), refusal))?;
        Ok(0)
    })
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_attach(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: The caller does not unbind the device during the call, and `pt_id` is valid.
    unsafe { change_pt(idev, pasid, pt_id, How::Attach) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_replace(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
    pt_id: *mut u32,
) -> c_int {
    // SAFETY: The caller does not unbind the device during the call, and `pt_id` is valid.
    unsafe { change_pt(idev, pasid, pt_id, How::Replace) }
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_detach(
    idev: *mut bindings::iommufd_device,
    pasid: bindings::ioasid_t,
) {
    // SAFETY: The caller does not unbind the device during the call.
    let Binding { device, ctx, .. } = unsafe { borrow(idev) };
    device.detach(ctx, Pasid::new(pasid));
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_to_ictx(
    idev: *mut bindings::iommufd_device,
) -> *mut bindings::iommufd_ctx {
    // SAFETY: The caller does not unbind the device during the call.
    let binding = unsafe { borrow(idev) };
    // The binding has the reference to the context. The caller gets none.
    binding.ctx.as_raw().cast()
}

#[no_mangle]
unsafe extern "C" fn iommufd_device_to_id(idev: *mut bindings::iommufd_device) -> u32 {
    // SAFETY: The caller does not unbind the device during the call.
    unsafe { borrow(idev) }.device.id()
}
