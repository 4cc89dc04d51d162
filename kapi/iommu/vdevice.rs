// SPDX-License-Identifier: GPL-2.0-only

//! vDEVICEs: what an IOMMU driver has for a guest's view of a device.
//!
//! The driver and we share a `struct iommufd_vdevice`. Of its fields the driver reads `viommu` and
//! `virt_id`, and sets `destroy`. `idev` is private to iommufd: it leads to our [`Vdevice`]. While
//! it exists it is in the vIOMMU's `vdevs`, where the kernel finds it by its virtual id and by its
//! device for the driver, under the lock of that array.
//!
//! C header: `include/linux/iommufd.h`.

use kernel::{
    device::Device,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device,
            driver_struct::DriverStruct,
            viommu::{
                Identity,
                Viommu, //
            }, //
        },
        units::to_usize, //
    }, //
};

/// A virtual id that is taken on a vIOMMU. Dropping it frees the id.
struct VirtId {
    viommu: Arc<Viommu>,
    virt_id: usize,
}

impl VirtId {
    /// `EEXIST` where the id is taken, `ENOMEM`.
    fn reserve(viommu: &Arc<Viommu>, virt_id: u64) -> Result<Self> {
        let virt_id = to_usize(virt_id);
        // SAFETY: The array is initialised. Nothing is found at what is reserved.
        to_result(unsafe {
            bindings::iommufd_rs_xa_reserve(
                &raw mut (*viommu.as_ptr()).vdevs,
                virt_id,
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })?;
        Ok(Self {
            viommu: viommu.clone(),
            virt_id,
        })
    }

    /// Has the kernel find a vDEVICE by the id.
    ///
    /// # Safety
    ///
    /// It stays until it is hidden.
    unsafe fn show(&self, vdevice: *mut bindings::iommufd_vdevice) {
        // SAFETY: The array is initialised. It needs no memory, because the id is reserved.
        unsafe {
            bindings::xa_store(
                &raw mut (*self.viommu.as_ptr()).vdevs,
                self.virt_id,
                vdevice.cast(),
                bindings::GFP_KERNEL_ACCOUNT,
            )
        };
    }

    /// Has nothing be found by the id, which stays taken. Whoever has found something is done with
    /// it when this returns.
    fn hide(&self) {
        // SAFETY: As for `show`.
        unsafe {
            bindings::iommufd_rs_xa_hide(&raw mut (*self.viommu.as_ptr()).vdevs, self.virt_id)
        };
    }
}

impl Drop for VirtId {
    fn drop(&mut self) {
        // SAFETY: The array is initialised, and the id is ours.
        unsafe { bindings::xa_erase(&raw mut (*self.viommu.as_ptr()).vdevs, self.virt_id) };
    }
}

/// A vDEVICE, owned.
///
/// # Invariants
///
/// The struct is initialised, and its `idev` leads to `self`, which does not move: it is in a
/// `KBox` that nobody takes it out of.
pub(crate) struct Vdevice {
    // Field order: the id is free again last, but the vIOMMU, to which `virt_id` has a reference,
    // stays longest.
    raw: DriverStruct<bindings::iommufd_vdevice>,
    dev: ARef<Device>,
    virt_id: VirtId,
}

impl Vdevice {
    /// Has the vIOMMU's driver make a vDEVICE for a device of its IOMMU, which the guest knows by
    /// `virt_id`. `EINVAL` where it is not behind the vIOMMU's
    /// IOMMU, `EEXIST` where the id is taken, `ENOMEM`, or the driver's own errors.
    pub(crate) fn new(
        viommu: &Arc<Viommu>,
        dev: &Device,
        virt_id: u64,
        identity: Identity,
    ) -> Result<Pin<KBox<Self>>> {
        if !viommu.serves(dev) {
            return Err(EINVAL);
        }
        let ops = viommu.ops()?;
        let init = ops.vdevice_init;
        let size = match (ops.vdevice_size, init) {
            (0, _) => size_of::<bindings::iommufd_vdevice>(),
            // A driver that has a struct of its own must want to initialise it.
            (_, None) => return Err(EOPNOTSUPP),
            (size, Some(_)) => size,
        };
        let vdevice = KBox::new(
            Self {
                raw: DriverStruct::zeroed(size)?,
                dev: dev.into(),
                virt_id: VirtId::reserve(viommu, virt_id)?,
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        let vdevice = KBox::into_pin(vdevice);
        let raw = vdevice.raw.as_ptr();
        // SAFETY: The memory is ours alone and stays in place.
        unsafe {
            (*raw).obj = identity.object(bindings::iommufd_object_type_IOMMUFD_OBJ_VDEVICE);
            (*raw).viommu = viommu.as_ptr();
            (*raw).idev = core::ptr::from_ref(&*vdevice).cast_mut().cast();
            (*raw).virt_id = virt_id;
        }
        if let Some(init) = init {
            // SAFETY: The struct has the size that the driver asked for and is initialised as it
            // expects.
            to_result(unsafe { init(raw) })?;
        }
        // SAFETY: `Drop` hides it.
        unsafe { vdevice.virt_id.show(raw) };
        Ok(vdevice)
    }
}

impl Drop for Vdevice {
    fn drop(&mut self) {
        self.virt_id.hide();
        let raw = self.raw.as_ptr();
        // SAFETY: The driver has set it or not, and is not using the struct any more.
        if let Some(destroy) = unsafe { (*raw).destroy } {
            // SAFETY: As above; the driver wants to see the struct a last time.
            unsafe { destroy(raw) };
        }
    }
}

// SAFETY: Drivers lock what they keep; our fields are only read.
unsafe impl Send for Vdevice {}
// SAFETY: As above.
unsafe impl Sync for Vdevice {}

/// The device of a vDEVICE. Called by the kernel for drivers, with the lock of the vIOMMU's array
/// held or while the vDEVICE is being initialised or destroyed.
///
/// # Safety
///
/// `vdevice` is initialised.
pub(crate) unsafe fn device_of(vdevice: *mut bindings::iommufd_vdevice) -> *mut bindings::device {
    // SAFETY: By the invariant of `Vdevice`.
    let vdevice = unsafe { &*(*vdevice).idev.cast::<Vdevice>() };
    device::as_raw(&vdevice.dev)
}
