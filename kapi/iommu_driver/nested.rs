// SPDX-License-Identifier: GPL-2.0-only

//! The operations of nested domains: `struct iommu_domain_ops`.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    error::from_result,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::iommu_driver::{
        device::{
            change_faulting,
            data_of, //
        },
        driver::{
            Nested,
            NestedTables,
            ViommuRef, //
        },
        requests::Array, //
    }, //
};

impl<T: Nested> NestedTables<T> {
    const OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
        attach_dev: Some(attach_dev::<T>),
        set_dev_pasid: Some(set_dev_pasid::<T>),
        cache_invalidate_user: Some(cache_invalidate_user::<T>),
        free: Some(free::<T>),
        ..pin_init::zeroed()
    };

    /// Makes the domain that an operation of the driver returns to the IOMMU core: page tables with
    /// `data`, made on `viommu` or on a parent alone. An error becomes an error pointer.
    ///
    /// # Safety
    ///
    /// If `viommu` is `Some`, it must be a vIOMMU of `T::Driver` that exists as long as the domain.
    pub(super) unsafe fn into_raw_or_error(
        data: Result<T>,
        viommu: Option<NonNull<bindings::iommufd_viommu>>,
    ) -> *mut bindings::iommu_domain {
        let make = |data| -> Result<_> {
            // INVARIANT: By the safety requirements of this function.
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

    /// Returns the vIOMMU on which the page tables were made, if they were made on one.
    pub(crate) fn viommu(&self) -> Option<ViommuRef<'_, T::Driver>> {
        // SAFETY: By the type invariant it is a vIOMMU of this driver that exists as long as
        // `self`.
        self.viommu.map(|raw| unsafe { ViommuRef::new(raw) })
    }

    /// # Safety
    ///
    /// `raw` must be a domain that
    /// [`NestedTables::<T>::into_raw_or_error`](Self::into_raw_or_error) returned. It must not be
    /// freed during `'a`.
    pub(super) unsafe fn borrow<'a>(raw: *mut bindings::iommu_domain) -> &'a Self {
        // SAFETY: The caller guarantees that `into_raw_or_error` returned it, and that it is not
        // freed during `'a`.
        unsafe { &*raw.cast() }
    }
}

// SAFETY: The IOMMU core locks what it changes of the domain, and `T` is `Send`.
unsafe impl<T: Nested> Send for NestedTables<T> {}
// SAFETY: The IOMMU core locks what it changes of the domain, and `T` is `Sync`.
unsafe impl<T: Nested> Sync for NestedTables<T> {}

impl<T: Nested> Deref for NestedTables<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// # Safety
///
/// Must be called as `attach_dev` of a domain with the operations for `T`.
unsafe extern "C" fn attach_dev<T: Nested>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    from_result(|| {
        // SAFETY: A domain with these operations came from `into_raw_or_error`, and exists during
        // the call.
        let tables = unsafe { NestedTables::<T>::borrow(domain) };
        // SAFETY: The core attaches only devices that the driver of the domain probed.
        let (device, data) = unsafe { (Device::from_raw(dev), data_of::<T::Driver>(dev)) };
        T::attach(tables, device, data)?;
        // SAFETY: The core holds the group's mutex, and passes valid domains.
        unsafe { change_faulting::<T::Driver>(dev, domain, old) }?;
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `set_dev_pasid` of a domain with the operations for `T`.
unsafe extern "C" fn set_dev_pasid<T: Nested>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    from_result(|| {
        // SAFETY: A domain with these operations came from `into_raw_or_error`, and exists during
        // the call.
        let tables = unsafe { NestedTables::<T>::borrow(domain) };
        // SAFETY: The core attaches only devices that the driver of the domain probed.
        let data = unsafe { data_of::<T::Driver>(dev) };
        T::attach_pasid(tables, data, pasid)?;
        // SAFETY: The core holds the group's mutex, and passes valid domains or NULL.
        unsafe { change_faulting::<T::Driver>(dev, domain, old) }?;
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `cache_invalidate_user` of a domain with the operations for `T`.
unsafe extern "C" fn cache_invalidate_user<T: Nested>(
    domain: *mut bindings::iommu_domain,
    array: *mut bindings::iommu_user_data_array,
) -> c_int {
    from_result(|| {
        // SAFETY: A domain with these operations came from `into_raw_or_error`, and exists during
        // the call.
        let tables = unsafe { NestedTables::<T>::borrow(domain) };
        // SAFETY: The caller does not use the array during the call.
        let array = Array::new(unsafe { &mut *array });
        tables.data.invalidate(array)?;
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `free` of a domain with the operations for `T`.
unsafe extern "C" fn free<T: Nested>(domain: *mut bindings::iommu_domain) {
    // SAFETY: `into_raw_or_error` made it of a `KBox`, and nothing refers to it any more.
    drop(unsafe { KBox::<NestedTables<T>>::from_raw(domain.cast()) });
}
