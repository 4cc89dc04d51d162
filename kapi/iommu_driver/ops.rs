// SPDX-License-Identifier: GPL-2.0-only

//! What an IOMMU driver does for each device: `struct iommu_ops`.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    prelude::*,
    transmute::AsBytes,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device,
            domain::UserData,
            group::Capability, //
        },
        iommu_driver::{
            bus::change_faulting,
            nested::{
                Nested,
                NestedTables, //
            },
            paging::{
                Paging,
                PagingDomain, //
            },
            viommu::{
                get_viommu_size,
                viommu_init,
                VirtualIommu, //
            }, //
        }, //
    }, //
};

/// An IOMMU driver. Each device of its is in an IOMMU group of its own.
pub(crate) trait Driver: Sized + 'static {
    /// What the driver keeps for a device while it is behind the IOMMU.
    type Device: Send + Sync + 'static;
    /// Its page tables.
    type Domain: Paging<Driver = Self>;
    /// Page tables that user space fills, on top of those.
    type Nested: Nested<Driver = Self>;
    /// Its vIOMMUs.
    type Viommu: VirtualIommu<Driver = Self>;
    /// The struct of the uAPI that describes its hardware.
    type Info: AsBytes;

    /// How many PASIDs the IOMMU has.
    const MAX_PASIDS: u32;

    /// Finds the IOMMU of a device. `ENODEV` where it is none of the driver's.
    fn probe(dev: &Device) -> Result<Probed<'_, Self>>;

    /// Whether the IOMMU can do that for the device.
    fn capable(dev: &Self::Device, capability: Capability) -> bool;

    /// Describes the hardware: the struct and its type, one of `enum iommu_hw_info_type`, which
    /// `wanted` is too. `EOPNOTSUPP` for a type that there is not.
    fn hw_info(dev: &Self::Device, wanted: u32) -> Result<(u32, Self::Info)>;

    /// Makes page tables that the device can use; `flags` are the uAPI's HWPT_ALLOC flags.
    /// `EOPNOTSUPP` for what it does not know.
    fn alloc_paging(
        dev: &Self::Device,
        flags: u32,
        data: Option<UserData>,
    ) -> Result<Pin<KBox<PagingDomain<Self::Domain>>>>;

    /// Makes page tables for user space to fill, on top of others of the driver; flags as above.
    /// `EOPNOTSUPP` for what it does not know.
    fn alloc_nested(dev: &Self::Device, flags: u32, data: UserData) -> Result<Self::Nested>;

    /// Blocks the device's DMA. Called with the group's lock held.
    fn block(dev: &Self::Device) -> Result;

    /// Blocks the device's DMA with a PASID. Called with the group's lock held.
    fn block_pasid(dev: &Self::Device, pasid: u32) -> Result;
}

/// A device whose IOMMU was found.
pub(crate) struct Probed<'a, D: Driver> {
    iommu: NonNull<bindings::iommu_device>,
    data: NonNull<D::Device>,
    _dev: PhantomData<&'a Device>,
}

impl<D: Driver> Probed<'_, D> {
    /// # Safety
    ///
    /// `data` stays in place until the device is gone, and the IOMMU is registered that long.
    pub(super) unsafe fn new(
        iommu: NonNull<bindings::iommu_device>,
        data: NonNull<D::Device>,
    ) -> Self {
        Self {
            iommu,
            data,
            _dev: PhantomData,
        }
    }
}

/// A driver's operations.
#[pin_data]
pub(super) struct Ops<D: Driver> {
    #[pin]
    raw: Opaque<bindings::iommu_ops>,
    /// What a device without page tables is attached to.
    #[pin]
    blocked: Opaque<bindings::iommu_domain>,
    _driver: PhantomData<D>,
}

// SAFETY: Only read once they are made.
unsafe impl<D: Driver> Send for Ops<D> {}
// SAFETY: As above.
unsafe impl<D: Driver> Sync for Ops<D> {}

impl<D: Driver> Ops<D> {
    const BLOCKED_OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
        attach_dev: Some(attach_blocked::<D>),
        set_dev_pasid: Some(attach_blocked_pasid::<D>),
        // SAFETY: All zeroes are valid operations.
        ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
    };

    /// The operations of driver `D`, which is part of module `owner`.
    pub(super) fn new(owner: *mut bindings::module) -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            blocked <- Opaque::ffi_init(|slot: *mut bindings::iommu_domain| {
                let domain = bindings::iommu_domain {
                    type_: bindings::IOMMU_DOMAIN_BLOCKED,
                    ops: &Self::BLOCKED_OPS,
                    ..Default::default()
                };
                // SAFETY: `slot` is ours to write.
                unsafe { slot.write(domain) };
            }),
            raw <- Opaque::ffi_init(|slot: *mut bindings::iommu_ops| {
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
                    // SAFETY: `blocked` stays beside us: both are pinned.
                    blocked_domain: unsafe {
                        Opaque::cast_into(&raw const (*this.as_ptr()).blocked)
                    },
                    owner,
                    ..Default::default()
                };
                // Faults that come by a PASID which is not attached are those of the user's own
                // tables.
                ops.set_user_pasid_table(1);
                // SAFETY: `slot` is ours to write.
                unsafe { slot.write(ops) };
            }),
            _driver: PhantomData,
        })
    }

    /// The C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_ops {
        self.raw.get()
    }
}

/// The driver's data of a device.
///
/// # Safety
///
/// `dev` was probed by driver `D` and is not gone during `'a`.
pub(super) unsafe fn data_of<'a, D: Driver>(dev: *mut bindings::device) -> &'a D::Device {
    // SAFETY: `probe_device` set it to data that stays until the device is gone.
    unsafe { &*bindings::iommufd_rs_dev_iommu_priv(dev).cast() }
}

/// 0 or the errno.
pub(super) fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// As `probe_device` of `struct iommu_ops`, for a device whose driver may be `D`.
unsafe extern "C" fn probe_device<D: Driver>(
    raw: *mut bindings::device,
) -> *mut bindings::iommu_device {
    // SAFETY: The core holds the device during the call.
    let dev = unsafe { Device::from_raw::<'_>(raw) };
    match D::probe(dev) {
        Ok(probed) => {
            // SAFETY: The device is being probed by us.
            unsafe { bindings::dev_iommu_priv_set(raw, probed.data.as_ptr().cast()) };
            probed.iommu.as_ptr()
        }
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// As `capable` of `struct iommu_ops`, for a device that `D` probed.
unsafe extern "C" fn capable<D: Driver>(
    dev: *mut bindings::device,
    raw: bindings::iommu_cap,
) -> bool {
    // SAFETY: The core asks about probed devices.
    let dev = unsafe { data_of::<D>(dev) };
    Capability::from_raw(raw).is_some_and(|capability| D::capable(dev, capability))
}

/// # Safety
///
/// As `hw_info` of `struct iommu_ops`, for a device that `D` probed.
unsafe extern "C" fn hw_info<D: Driver>(
    dev: *mut bindings::device,
    length: *mut u32,
    kind: *mut bindings::iommu_hw_info_type,
) -> *mut c_void {
    // SAFETY: The device was probed, and the caller gives a place for the type.
    let (dev, wanted) = unsafe { (data_of::<D>(dev), *kind) };
    let info = D::hw_info(dev, wanted).and_then(|(kind, info)| {
        // The caller frees it with kfree().
        Ok((kind, KBox::into_raw(KBox::new(info, GFP_KERNEL)?)))
    });
    match info {
        Ok((found, info)) => {
            // SAFETY: The caller gives places for type and length.
            unsafe {
                *kind = found;
                // CAST: A struct of the uAPI is small.
                *length = size_of::<D::Info>() as u32;
            }
            info.cast()
        }
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// As `domain_alloc_paging_flags` of `struct iommu_ops`, for a device that `D` probed.
unsafe extern "C" fn alloc_paging<D: Driver>(
    dev: *mut bindings::device,
    flags: u32,
    data: *const bindings::iommu_user_data,
) -> *mut bindings::iommu_domain {
    // SAFETY: The device was probed, and the data are the caller's during the call.
    let (dev, data) = unsafe { (data_of::<D>(dev), data.as_ref()) };
    match D::alloc_paging(dev, flags, data.map(UserData::from_raw)) {
        Ok(domain) => PagingDomain::into_raw(domain),
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// As `domain_alloc_nested` of `struct iommu_ops`, for a device that `D` probed.
unsafe extern "C" fn alloc_nested<D: Driver>(
    dev: *mut bindings::device,
    _parent: *mut bindings::iommu_domain,
    flags: u32,
    data: *const bindings::iommu_user_data,
) -> *mut bindings::iommu_domain {
    // SAFETY: The device was probed, and the data are the caller's during the call.
    let (dev, data) = unsafe { (data_of::<D>(dev), UserData::from_raw(&*data)) };
    let tables = D::alloc_nested(dev, flags, data);
    NestedTables::into_raw_or_error(tables, None)
}

/// The devices wait for nothing.
///
/// # Safety
///
/// As `page_response` of `struct iommu_ops`.
unsafe extern "C" fn page_response(
    _dev: *mut bindings::device,
    _fault: *mut bindings::iopf_fault,
    _response: *mut bindings::iommu_page_response,
) {
}

/// # Safety
///
/// As `attach_dev` of `struct iommu_domain_ops`, for a device that `D` probed.
unsafe extern "C" fn attach_blocked<D: Driver>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: The core attaches probed devices, with the group's lock held.
    errno(unsafe {
        D::block(data_of::<D>(dev)).and_then(|()| change_faulting::<D>(dev, domain, old))
    })
}

/// # Safety
///
/// As `set_dev_pasid` of `struct iommu_domain_ops`, for a device that `D` probed.
unsafe extern "C" fn attach_blocked_pasid<D: Driver>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: As for `attach_blocked`.
    errno(unsafe {
        D::block_pasid(data_of::<D>(dev), pasid)
            .and_then(|()| change_faulting::<D>(dev, domain, old))
    })
}

/// The C object of a device.
pub(super) fn raw(dev: &Device) -> *mut bindings::device {
    device::as_raw(dev)
}
