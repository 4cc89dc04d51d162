// SPDX-License-Identifier: GPL-2.0-only

//! Finding what the driver keeps for a device.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::iommu_driver::driver::{
        DeviceState,
        Driver,
        Probed, //
    }, //
};

impl<D: Driver> Probed<'_, D> {
    /// # Safety
    ///
    /// `iommu` must be registered with the IOMMU core, and both pointers must be valid, as long as
    /// the device exists.
    pub(super) unsafe fn new(
        iommu: NonNull<bindings::iommu_device>,
        state: NonNull<DeviceState<D>>,
    ) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            iommu,
            state,
            _dev: PhantomData,
        }
    }
}

/// # Safety
///
/// Must be called as `probe_device` of the `struct iommu_ops` of driver `D`.
pub(super) unsafe extern "C" fn probe_device<D: Driver>(
    raw: *mut bindings::device,
) -> *mut bindings::iommu_device {
    // SAFETY: The core holds a reference to the device during the call.
    let dev = unsafe { Device::from_raw::<'_>(raw) };
    match D::probe(dev) {
        Ok(probed) => {
            // SAFETY: The core allocates `dev->iommu` before it probes the device.
            unsafe { bindings::dev_iommu_priv_set(raw, probed.state.as_ptr().cast()) };
            probed.iommu.as_ptr()
        }
        Err(error) => error.to_ptr(),
    }
}

/// Returns the state of a device.
///
/// # Safety
///
/// Driver `D` must have probed `dev`, which must exist during `'a`.
unsafe fn state_of<'a, D: Driver>(dev: *mut bindings::device) -> &'a DeviceState<D> {
    // SAFETY: `probe_device` set it to the state of a `Probed<D>`, which exists as long as the
    // device.
    unsafe { &*bindings::iommufd_rs_dev_iommu_priv(dev).cast() }
}

/// Returns the driver's data of a device.
///
/// # Safety
///
/// Driver `D` must have probed `dev`, which must exist during `'a`.
pub(super) unsafe fn data_of<'a, D: Driver>(dev: *mut bindings::device) -> &'a D::Device {
    // SAFETY: The caller guarantees that `D` has probed the device.
    unsafe { &state_of::<D>(dev).data }
}

/// Lets the device have page faults as the domain says that is being attached: see
/// [`Faulting::change`](super::fault::Faulting::change).
///
/// # Safety
///
/// Driver `D` must have probed `dev`. The group's mutex must be held. `new` and `old` must each be
/// NULL or a valid domain.
pub(super) unsafe fn change_faulting<D: Driver>(
    dev: *mut bindings::device,
    new: *mut bindings::iommu_domain,
    old: *mut bindings::iommu_domain,
) -> Result {
    // SAFETY: The caller guarantees that `D` has probed the device.
    unsafe { state_of::<D>(dev).faulting.change(dev, new, old) }
}
