// SPDX-License-Identifier: GPL-2.0-only

//! Nested page tables of an IOMMU driver: `struct iommu_domain` and its operations.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::iommu_driver::{
        bus::change_faulting,
        ops::{
            data_of,
            errno,
            Driver, //
        },
        requests::Array,
        viommu::ViommuRef, //
    }, //
};

/// What a driver does with page tables that user space fills.
pub(crate) trait Nested: Sized + Send + Sync + 'static {
    /// The driver.
    type Driver: Driver<Nested = Self>;

    /// Lets the device's DMA go through the page tables. `EINVAL` where the two do not fit. Called
    /// with the group's lock held.
    fn attach(
        tables: &NestedTables<Self>,
        dev: &Device,
        data: &<Self::Driver as Driver>::Device,
    ) -> Result;

    /// As [`Nested::attach`], for the device's DMA with a PASID.
    fn attach_pasid(
        tables: &NestedTables<Self>,
        data: &<Self::Driver as Driver>::Device,
        pasid: u32,
    ) -> Result;

    /// Carries out a user's requests to forget what is cached of the page tables.
    fn invalidate(&self, requests: Array<'_>) -> Result;
}

/// Page tables that user space fills, and what the driver keeps with them.
#[repr(C)]
pub(crate) struct NestedTables<T: Nested> {
    // Comes first: the core's pointer to it is one to us.
    domain: bindings::iommu_domain,
    /// What they were made on, if not a parent alone. It goes after them: iommufd sees to that.
    viommu: Option<NonNull<bindings::iommufd_viommu>>,
    data: T,
}

impl<T: Nested> NestedTables<T> {
    const OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
        attach_dev: Some(attach_dev::<T>),
        set_dev_pasid: Some(set_dev_pasid::<T>),
        cache_invalidate_user: Some(cache_invalidate_user::<T>),
        free: Some(free::<T>),
        // SAFETY: All zeroes are valid operations.
        ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
    };

    /// Gives page tables that are being made to the IOMMU core, or the reason why they were not.
    pub(super) fn into_raw_or_error(
        data: Result<T>,
        viommu: Option<NonNull<bindings::iommufd_viommu>>,
    ) -> *mut bindings::iommu_domain {
        let make = |data| -> Result<_> {
            let tables = Self {
                domain: bindings::iommu_domain {
                    type_: bindings::IOMMU_DOMAIN_NESTED,
                    ops: &Self::OPS,
                    ..Default::default()
                },
                viommu,
                data,
            };
            Ok(KBox::into_raw(KBox::new(tables, GFP_KERNEL)?).cast())
        };
        data.and_then(make).unwrap_or_else(|error| error.to_ptr())
    }

    /// What they were made on, if not a parent alone.
    pub(crate) fn viommu(&self) -> Option<ViommuRef<'_, T::Driver>> {
        // SAFETY: It is there longer than the page tables, and of the same driver.
        self.viommu.map(|raw| unsafe { ViommuRef::new(raw) })
    }

    /// # Safety
    ///
    /// `raw` came from [`NestedTables::<T>::into_raw_or_error`](Self::into_raw_or_error) and is not
    /// freed during `'a`.
    pub(super) unsafe fn borrow<'a>(raw: *mut bindings::iommu_domain) -> &'a Self {
        // SAFETY: The caller's promise.
        unsafe { &*raw.cast() }
    }
}

// SAFETY: The domain is the core's to change, which locks; the rest is only read, or locked by `T`.
unsafe impl<T: Nested> Send for NestedTables<T> {}
// SAFETY: As above.
unsafe impl<T: Nested> Sync for NestedTables<T> {}

impl<T: Nested> Deref for NestedTables<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// # Safety
///
/// As `attach_dev` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn attach_dev<T: Nested>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: The domain is one with these operations, and the core attaches probed devices, with
    // the group's lock held.
    errno(unsafe {
        let tables = NestedTables::borrow(domain);
        T::attach(tables, Device::from_raw(dev), data_of::<T::Driver>(dev))
            .and_then(|()| change_faulting::<T::Driver>(dev, domain, old))
    })
}

/// # Safety
///
/// As `set_dev_pasid` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn set_dev_pasid<T: Nested>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: As for `attach_dev`.
    errno(unsafe {
        let tables = NestedTables::borrow(domain);
        T::attach_pasid(tables, data_of::<T::Driver>(dev), pasid)
            .and_then(|()| change_faulting::<T::Driver>(dev, domain, old))
    })
}

/// # Safety
///
/// As `cache_invalidate_user` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn cache_invalidate_user<T: Nested>(
    domain: *mut bindings::iommu_domain,
    array: *mut bindings::iommu_user_data_array,
) -> c_int {
    // SAFETY: The domain is one with these operations, and the array is ours during the call.
    errno(unsafe {
        let tables = NestedTables::<T>::borrow(domain);
        tables.data.invalidate(Array::new(&mut *array))
    })
}

/// # Safety
///
/// As `free` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn free<T: Nested>(domain: *mut bindings::iommu_domain) {
    // SAFETY: `into_raw_or_error` gave it away, and the core has it no more.
    drop(unsafe { KBox::<NestedTables<T>>::from_raw(domain.cast()) });
}
