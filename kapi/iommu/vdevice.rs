// SPDX-License-Identifier: GPL-2.0-only

//! vDEVICEs: an IOMMU driver's part of a guest's view of a device.
//!
//! The driver and this module share a `struct iommufd_vdevice`. The driver reads its fields
//! `viommu` and `virt_id`, and sets `destroy`. `idev` is private to iommufd: here it is the address
//! of the [`Vdevice`]. A vDEVICE is in the array `vdevs` of its vIOMMU, in which functions of the
//! kernel look it up for the driver, by its virtual id or by its device, with the lock of the array
//! held.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device::{
                self,
                IommuDevice, //
            },
            driver_struct::DriverStruct,
            viommu::{
                Identity,
                ViommuRef, //
            }, //
        },
        units::to_usize, //
    }, //
};

/// A virtual id that is reserved on a vIOMMU: no vDEVICE can be made there with that id. Dropping
/// it frees the id.
///
/// # Invariants
///
/// The entry `id` of the array of `viommu` is reserved, or is a vDEVICE.
pub(crate) struct VirtId {
    viommu: ViommuRef,
    id: usize,
}

impl VirtId {
    /// Reserves an id. Returns `EEXIST` if it is used, `ENOMEM` if there is no memory.
    pub(crate) fn reserve(viommu: &ViommuRef, id: u64) -> Result<Self> {
        let id = to_usize(id);
        let viommu = viommu.clone();
        // SAFETY:
        // - The array of a `Viommu` is initialised: `init_lists` does so when it is made.
        // - A look-up of a reserved entry finds NULL.
        to_result(unsafe {
            bindings::iommufd_rs_xa_reserve(
                &raw mut (*viommu.as_ptr()).vdevs,
                id,
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })?;
        // INVARIANT: The entry was just reserved.
        Ok(Self { viommu, id })
    }

    fn array(&self) -> *mut bindings::xarray {
        // SAFETY: `viommu` is a reference to the `Viommu`, of whose struct the address of a field
        // is computed.
        unsafe { &raw mut (*self.viommu.as_ptr()).vdevs }
    }

    /// Makes a vDEVICE visible to look-ups.
    ///
    /// # Safety
    ///
    /// The vDEVICE must exist until [`VirtId::hide`] has returned.
    unsafe fn show(&self, vdevice: *mut bindings::iommufd_vdevice) {
        // SAFETY:
        // - The array is initialised: `init_lists` does so when the vIOMMU is made.
        // - By the type invariant the entry is reserved, so the function needs no memory and cannot
        //   fail.
        unsafe {
            bindings::xa_store(
                self.array(),
                self.id,
                vdevice.cast(),
                bindings::GFP_KERNEL_ACCOUNT,
            )
        };
    }

    /// Makes look-ups find nothing. The id stays reserved. A task that has found the vDEVICE holds
    /// the lock of the array while it uses it, so it does not use it any more when this returns.
    fn hide(&self) {
        // SAFETY: The array is initialised: `init_lists` does so when the vIOMMU is made.
        unsafe { bindings::iommufd_rs_xa_hide(self.array(), self.id) };
    }
}

impl Drop for VirtId {
    fn drop(&mut self) {
        // SAFETY:
        // - The array is initialised: `init_lists` does so when the vIOMMU is made.
        // - By the type invariant the entry belongs to this.
        unsafe { bindings::xa_erase(self.array(), self.id) };
    }
}

/// A vDEVICE.
///
/// # Invariants
///
/// iommufd's part of `raw` is initialised: `idev` is the address of `self`, which does not move.
pub(crate) struct Vdevice {
    // `virt_id` is dropped last: the id is free when the driver has destroyed its part, and the
    // vIOMMU exists until then.
    raw: DriverStruct<bindings::iommufd_vdevice>,
    dev: IommuDevice,
    virt_id: VirtId,
}

// SAFETY: IOMMU drivers lock what they change in their vDEVICEs, and the other fields are `Send`.
unsafe impl Send for Vdevice {}
// SAFETY: IOMMU drivers lock what they change in their vDEVICEs, and the other fields are `Sync`.
unsafe impl Sync for Vdevice {}

impl Vdevice {
    /// Makes a vDEVICE for a device, which the guest knows by `virt_id`.
    ///
    /// Returns `EINVAL` if the device is not behind the IOMMU of the vIOMMU, `EEXIST` if the id is
    /// used, `EOPNOTSUPP` if the driver does not say how to initialise its struct, `ENOMEM` if
    /// there is no memory, or the error of the driver.
    pub(crate) fn new(
        viommu: &ViommuRef,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<Pin<KBox<Self>>> {
        Self::make(viommu, dev, virt_id, identity, true)
    }

    /// As [`Vdevice::new`], but the driver does not initialise the vDEVICE, and so cannot refuse
    /// the device.
    ///
    /// # Safety
    ///
    /// The driver must not rely on its `vdevice_init` having been called.
    #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
    pub(crate) unsafe fn without_init(
        viommu: &ViommuRef,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<Pin<KBox<Self>>> {
        Self::make(viommu, dev, virt_id, identity, false)
    }

    fn make(
        viommu: &ViommuRef,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
        by_driver: bool,
    ) -> Result<Pin<KBox<Self>>> {
        if !viommu.serves(dev) {
            return Err(EINVAL);
        }
        let ops = viommu.ops()?;
        let init = ops.vdevice_init;
        let size = match (ops.vdevice_size, init) {
            (0, _) => size_of::<bindings::iommufd_vdevice>(),
            (_, None) => return Err(EOPNOTSUPP),
            (size, Some(_)) => size,
        };
        // INVARIANT: iommufd's part is initialised below, before anything can fail.
        let vdevice = KBox::into_pin(KBox::new(
            Self {
                raw: DriverStruct::zeroed(size)?,
                dev: dev.clone(),
                virt_id: VirtId::reserve(viommu, virt_id)?,
            },
            GFP_KERNEL_ACCOUNT,
        )?);
        let raw = vdevice.raw.as_ptr();
        // SAFETY: The struct is zero, and nothing else refers to it yet.
        let core = unsafe { &mut *raw };
        core.obj = identity.object(bindings::iommufd_object_type_IOMMUFD_OBJ_VDEVICE);
        core.viommu = viommu.as_ptr();
        core.idev = core::ptr::from_ref(&*vdevice).cast_mut().cast();
        core.virt_id = virt_id;
        if let Some(init) = init.filter(|_| by_driver) {
            // SAFETY: The struct has the size that the driver asked for, and iommufd's part is
            // initialised.
            to_result(unsafe { init(raw) })?;
        }
        // SAFETY: The vDEVICE is hidden when it is dropped.
        unsafe { vdevice.virt_id.show(raw) };
        Ok(vdevice)
    }
}

impl Drop for Vdevice {
    fn drop(&mut self) {
        self.virt_id.hide();
        let raw = self.raw.as_ptr();
        // SAFETY: The struct is dropped after this, and the driver sets the field only in
        // `vdevice_init`.
        if let Some(destroy) = unsafe { (*raw).destroy } {
            // SAFETY: The driver has set the operation for this struct, and look-ups do not find
            // it.
            unsafe { destroy(raw) };
        }
    }
}

/// Returns the device of a vDEVICE. The kernel calls it for drivers, with the lock of the vIOMMU's
/// array held, or while the driver initialises or destroys the vDEVICE.
///
/// # Safety
///
/// `vdevice` must be the struct of a [`Vdevice`] that is not freed during the call.
pub(crate) unsafe fn device_of(vdevice: *mut bindings::iommufd_vdevice) -> *mut bindings::device {
    // SAFETY: By the type invariant the field is the address of the `Vdevice`, which exists during
    // the call.
    let vdevice = unsafe { &*(*vdevice).idev.cast::<Vdevice>() };
    device::as_raw(&vdevice.dev)
}
