// SPDX-License-Identifier: GPL-2.0-only

//! The operations of a driver: `struct iommu_ops`.

use core::marker::PhantomData;

use kernel::{
    error::from_result,
    prelude::*,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            domain::UserData,
            group::Capability, //
        },
        iommu_driver::{
            device::{
                change_faulting,
                data_of,
                probe_device, //
            },
            driver::{
                Driver,
                NestedTables,
                PagingDomain, //
            },
            viommu::{
                get_viommu_size,
                viommu_init, //
            }, //
        }, //
    }, //
};

/// The operations of driver `D`.
#[pin_data]
pub(super) struct Ops<D: Driver> {
    #[pin]
    raw: Opaque<bindings::iommu_ops>,
    /// The domain that a device without page tables is attached to.
    #[pin]
    blocked: Opaque<bindings::iommu_domain>,
    _driver: PhantomData<D>,
}

// SAFETY: The structs are not written once they are initialised.
unsafe impl<D: Driver> Send for Ops<D> {}
// SAFETY: The structs are not written once they are initialised.
unsafe impl<D: Driver> Sync for Ops<D> {}

impl<D: Driver> Ops<D> {
    const BLOCKED_OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
        attach_dev: Some(attach_blocked::<D>),
        set_dev_pasid: Some(attach_blocked_pasid::<D>),
        ..pin_init::zeroed()
    };

    /// Makes the operations of driver `D`, which is part of `module`.
    pub(super) fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            blocked <- Opaque::ffi_init(|slot: *mut bindings::iommu_domain| {
                let domain = bindings::iommu_domain {
                    type_: bindings::IOMMU_DOMAIN_BLOCKED,
                    ops: &Self::BLOCKED_OPS,
                    ..Default::default()
                };
                // SAFETY: `slot` can be written to.
                unsafe { slot.write(domain) };
            }),
            raw <- Opaque::ffi_init(|slot: *mut bindings::iommu_ops| {
                // SAFETY: `this` is the memory that is being initialised.
                let blocked = unsafe { &raw const (*this.as_ptr()).blocked };
                let mut ops = bindings::iommu_ops {
                    capable: Some(capable::<D>),
                    hw_info: Some(hw_info::<D>),
                    domain_alloc_paging_flags: Some(alloc_paging::<D>),
                    domain_alloc_nested: Some(alloc_nested::<D>),
                    get_viommu_size: Some(get_viommu_size::<D::Viommu>),
                    viommu_init: Some(viommu_init::<D::Viommu>),
                    probe_device: Some(probe_device::<D>),
                    device_group: Some(bindings::generic_device_group),
                    page_response: Some(page_response),
                    // Without one the core makes page tables for each device.
                    default_domain: Opaque::cast_into(blocked),
                    blocked_domain: Opaque::cast_into(blocked),
                    owner: module.as_ptr(),
                    ..Default::default()
                };
                // A fault that comes by a PASID which is not attached belongs to the page tables
                // that user space attached to the device.
                ops.set_user_pasid_table(1);
                // SAFETY: `slot` can be written to.
                unsafe { slot.write(ops) };
            }),
            _driver: PhantomData,
        })
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_ops {
        self.raw.get()
    }
}

/// # Safety
///
/// Must be called as `capable` of `struct iommu_ops`, for a device that driver `D` probed.
unsafe extern "C" fn capable<D: Driver>(
    dev: *mut bindings::device,
    raw: bindings::iommu_cap,
) -> bool {
    // SAFETY: The caller guarantees that `D` probed the device, which exists during the call.
    let dev = unsafe { data_of::<D>(dev) };
    Capability::from_raw(raw).is_some_and(|capability| D::capable(dev, capability))
}

/// # Safety
///
/// Must be called as `hw_info` of `struct iommu_ops`, for a device that driver `D` probed.
unsafe extern "C" fn hw_info<D: Driver>(
    dev: *mut bindings::device,
    length: *mut u32,
    kind: *mut bindings::iommu_hw_info_type,
) -> *mut c_void {
    // SAFETY: The caller guarantees that `D` probed the device, which exists during the call.
    let dev = unsafe { data_of::<D>(dev) };
    // SAFETY: The caller passes a type that can be read and written.
    let kind = unsafe { &mut *kind };
    let info = D::hw_info(dev, *kind).and_then(|(found, info)| {
        *kind = found;
        // The caller frees it with kfree().
        Ok(KBox::into_raw(KBox::new(info, GFP_KERNEL)?))
    });
    match info {
        Ok(info) => {
            // CAST: A struct of the uAPI is smaller than 4 GiB.
            // SAFETY: The caller passes a length that can be written.
            unsafe { *length = size_of::<D::Info>() as u32 };
            info.cast()
        }
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// Must be called as `domain_alloc_paging_flags` of `struct iommu_ops`, for a device that driver
/// `D` probed.
unsafe extern "C" fn alloc_paging<D: Driver>(
    dev: *mut bindings::device,
    flags: u32,
    data: *const bindings::iommu_user_data,
) -> *mut bindings::iommu_domain {
    // SAFETY: The caller guarantees that `D` probed the device, which exists during the call.
    let dev = unsafe { data_of::<D>(dev) };
    // SAFETY: `data` is NULL or valid during the call.
    let data = unsafe { data.as_ref() };
    match D::alloc_paging(dev, flags, data.map(UserData::from_raw)) {
        Ok(domain) => PagingDomain::into_raw(domain),
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// Must be called as `domain_alloc_nested` of `struct iommu_ops`, for a device that driver `D`
/// probed.
unsafe extern "C" fn alloc_nested<D: Driver>(
    dev: *mut bindings::device,
    _parent: *mut bindings::iommu_domain,
    flags: u32,
    data: *const bindings::iommu_user_data,
) -> *mut bindings::iommu_domain {
    // SAFETY: The caller guarantees that `D` probed the device, which exists during the call.
    let dev = unsafe { data_of::<D>(dev) };
    // SAFETY: `data` is valid during the call.
    let data = UserData::from_raw(unsafe { &*data });
    let tables = D::alloc_nested(dev, flags, data);
    // SAFETY: No vIOMMU is passed, so none must exist as long as the domain.
    unsafe { NestedTables::into_raw_or_error(tables, None) }
}

/// Does nothing: the devices do not wait for the answer to a fault.
///
/// # Safety
///
/// Must be called as `page_response` of `struct iommu_ops`.
unsafe extern "C" fn page_response(
    _dev: *mut bindings::device,
    _fault: *mut bindings::iopf_fault,
    _response: *mut bindings::iommu_page_response,
) {
}

/// # Safety
///
/// Must be called as `attach_dev` of `struct iommu_domain_ops`, for a device that driver `D`
/// probed.
unsafe extern "C" fn attach_blocked<D: Driver>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller guarantees that `D` probed the device, which exists during the call.
        D::block(unsafe { data_of::<D>(dev) })?;
        // SAFETY: The core holds the group's mutex, and passes valid domains or NULL.
        unsafe { change_faulting::<D>(dev, domain, old) }?;
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `set_dev_pasid` of `struct iommu_domain_ops`, for a device that driver `D`
/// probed.
unsafe extern "C" fn attach_blocked_pasid<D: Driver>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller guarantees that `D` probed the device, which exists during the call.
        D::block_pasid(unsafe { data_of::<D>(dev) }, pasid)?;
        // SAFETY: The core holds the group's mutex, and passes valid domains or NULL.
        unsafe { change_faulting::<D>(dev, domain, old) }?;
        Ok(0)
    })
}
