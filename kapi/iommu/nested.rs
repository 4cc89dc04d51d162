// SPDX-License-Identifier: GPL-2.0-only

//! Nested domains: page tables that user space fills, on top of those of a parent.
//!
//! C header: `include/linux/iommu.h`.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        device::{
            self,
            IommuDevice, //
        },
        domain::{
            Domain,
            UserData, //
        },
        driver_ref::DriverRef,
        invalidate::{
            Invalidated,
            Requests, //
        },
        iopf::FaultSink,
        owned_domain::OwnedDomain,
        viommu::ViommuRef, //
    }, //
};

/// What a nested domain was made on. Its driver may refer to it until the domain is freed.
enum Base {
    Parent(#[expect(dead_code, reason = "held")] Arc<Domain>),
    Viommu(ViommuRef),
}

/// A nested domain, which is freed when this is dropped.
///
/// # Invariants
///
/// The domain is of type `IOMMU_DOMAIN_NESTED`, and refers to nothing that is freed before `base`.
pub(crate) struct NestedDomain {
    // The driver may use the base when it frees the domain, so the base is dropped after it.
    owned: OwnedDomain,
    base: Base,
}

impl NestedDomain {
    /// Returns whether the IOMMU driver of the device has nested domains that need no vIOMMU.
    pub(crate) fn are_there(dev: &IommuDevice) -> bool {
        device::iommu_ops(dev).is_ok_and(|ops| ops.domain_alloc_nested.is_some())
    }

    /// Allocates a domain on top of `parent`. `flags` are the `IOMMU_HWPT_ALLOC_*` flags that
    /// concern drivers.
    ///
    /// Returns `EOPNOTSUPP` if the driver has no such domains, `EINVAL` if the parent is another
    /// driver's or no nest parent, `ENODEV` if no IOMMU driver manages the device, or the error of the driver.
    pub(crate) fn on_parent(
        dev: &IommuDevice,
        parent: Arc<Domain>,
        flags: u32,
        data: UserData,
    ) -> Result<Self> {
        let driver = DriverRef::of(dev)?;
        let alloc = driver.ops().domain_alloc_nested.ok_or(EOPNOTSUPP)?;
        let data = data.as_raw();
        let alloc = |parent| {
            // SAFETY:
            // - The operation belongs to the driver of this device.
            // - `on_parent_by` passes a nest parent of that driver.
            from_err_ptr(unsafe { alloc(device::as_raw(dev), parent, flags, &data) })
        };
        // SAFETY: The operation returns a new domain, which refers to the parent at most.
        unsafe { Self::on_parent_by(dev, parent, alloc) }
    }

    /// Allocates a domain on top of `parent` by a function of the driver of `dev`, which `alloc`
    /// calls with the parent.
    ///
    /// Returns `EINVAL` if the parent is another driver's or no nest parent, `ENODEV` if no IOMMU
    /// driver manages the device, or the error of `alloc`.
    ///
    /// # Safety
    ///
    /// `alloc` must return NULL or a new domain of that driver, which refers to nothing that is
    /// freed before the parent.
    pub(crate) unsafe fn on_parent_by(
        dev: &IommuDevice,
        parent: Arc<Domain>,
        alloc: impl FnOnce(*mut bindings::iommu_domain) -> Result<*mut bindings::iommu_domain>,
    ) -> Result<Self> {
        let driver = DriverRef::of(dev)?;
        if !parent.is_parent_of(driver.ops()) {
            return Err(EINVAL);
        }
        let raw = alloc(parent.as_ptr())?;
        // SAFETY: The caller guarantees what `alloc` returns.
        unsafe { Self::from_raw(raw, driver, Base::Parent(parent)) }
    }

    /// Allocates a domain on a vIOMMU. `flags` are the `IOMMU_HWPT_ALLOC_*` flags that concern
    /// drivers.
    ///
    /// Returns `EOPNOTSUPP` if the driver has no such domains, or the error of the driver.
    pub(crate) fn on_viommu(viommu: &ViommuRef, flags: u32, data: UserData) -> Result<Self> {
        let alloc = viommu.ops()?.alloc_domain_nested.ok_or(EOPNOTSUPP)?;
        let data = data.as_raw();
        // SAFETY: The operation belongs to the driver of the vIOMMU, which is initialised.
        let alloc = || from_err_ptr(unsafe { alloc(viommu.as_ptr(), flags, &data) });
        // SAFETY: The operation returns a new domain, which refers to the vIOMMU at most.
        unsafe { Self::alloc_by(viommu, alloc) }
    }

    /// Allocates a domain on a vIOMMU by a function of the vIOMMU's driver, which `alloc` calls.
    /// Fails as `alloc` does.
    ///
    /// # Safety
    ///
    /// `alloc` must return NULL or a new domain of that driver, which refers to nothing that is
    /// freed before the vIOMMU.
    pub(crate) unsafe fn alloc_by(
        viommu: &ViommuRef,
        alloc: impl FnOnce() -> Result<*mut bindings::iommu_domain>,
    ) -> Result<Self> {
        let driver = viommu.driver().again()?;
        let raw = alloc()?;
        // SAFETY: The caller guarantees what `alloc` returns.
        unsafe { Self::from_raw(raw, driver, Base::Viommu(viommu.clone())) }
    }

    /// Has `alloc` make a domain that owns `private`. If it fails, drops `private` and returns its
    /// error.
    ///
    /// # Safety
    ///
    /// `alloc` must return a new domain, whose `free` operation takes its argument back by
    /// `KBox::from_raw`, or an `ERR_PTR`, and then keep no copy of the argument.
    #[cfg_attr(
        not(any(
            CONFIG_ARM_SMMU_V3_IOMMUFD,
            CONFIG_INTEL_IOMMU,
            CONFIG_AMD_IOMMU_IOMMUFD
        )),
        expect(dead_code, reason = "no native backend calls it")
    )]
    pub(crate) unsafe fn with_private<T>(
        private: KBox<T>,
        alloc: impl FnOnce(*mut c_void) -> *mut bindings::iommu_domain,
    ) -> Result<*mut bindings::iommu_domain> {
        let private = KBox::into_raw(private);
        from_err_ptr(alloc(private.cast())).inspect_err(|_| {
            // SAFETY: `private` came from `KBox::into_raw` above, and the caller guarantees that
            // nothing refers to it after a failure.
            drop(unsafe { KBox::from_raw(private) });
        })
    }

    /// Takes over a domain that a driver returned. Returns `ENOMEM` for NULL, `EOPNOTSUPP` if the
    /// domain is not a nested one.
    ///
    /// # Safety
    ///
    /// `raw` must be NULL or a new domain of `driver`. It must refer to nothing that is freed before
    /// `base`.
    unsafe fn from_raw(
        raw: *mut bindings::iommu_domain,
        driver: DriverRef,
        base: Base,
    ) -> Result<Self> {
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY: The caller guarantees that the domain is new: nothing else refers to it yet.
        unsafe { (*raw.as_ptr()).owner = driver.ops() };
        // SAFETY: The caller guarantees that the domain is new and the driver's.
        let owned = unsafe { OwnedDomain::from_raw(raw, driver) };
        // SAFETY: The domain is valid as long as `owned`.
        if unsafe { (*raw.as_ptr()).type_ } != bindings::IOMMU_DOMAIN_NESTED {
            return Err(EOPNOTSUPP);
        }
        // INVARIANT: The type was checked, and the caller guarantees the rest.
        Ok(Self { owned, base })
    }

    /// Returns whether the domain is on a vIOMMU on the IOMMU that translates for `dev`.
    pub(crate) fn is_on_viommu_of(&self, dev: &IommuDevice) -> bool {
        matches!(&self.base, Base::Viommu(viommu) if viommu.serves(dev))
    }

    /// Delivers the page faults of devices that are attached from now on to `sink`.
    pub(crate) fn set_fault_sink(&mut self, sink: Arc<dyn FaultSink>) {
        self.owned.set_fault_sink(sink);
    }

    /// Returns whether the page faults of devices are delivered.
    pub(crate) fn has_fault_sink(&self) -> bool {
        self.owned.fault_sink().is_some()
    }

    /// Returns the C object.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(in crate::kapi) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.owned.as_ptr()
    }

    /// Returns the C object if its operations are `ops`.
    #[cfg(CONFIG_INTEL_IOMMU)]
    pub(crate) fn with_ops(
        &self,
        ops: &'static bindings::iommu_domain_ops,
    ) -> Option<NonNull<bindings::iommu_domain>> {
        let raw = NonNull::new(self.owned.as_ptr())?;
        // SAFETY: The domain is valid as long as `owned`.
        let its = unsafe { (*raw.as_ptr()).ops };
        core::ptr::eq(its, ops).then_some(raw)
    }

    /// Returns the part that both kinds of domains have.
    pub(super) fn owned(&self) -> &OwnedDomain {
        &self.owned
    }

    /// Invalidates what the IOMMU has cached of the page tables. Fails with `EOPNOTSUPP` if the
    /// driver has no such operation, or with the error of the driver.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        let raw = self.owned.as_ptr();
        // SAFETY: The domain is valid, and its operations exist as long as it has a `DriverRef`.
        let ops = unsafe { (*raw).ops.as_ref() };
        let Some(invalidate) = ops.and_then(|ops| ops.cache_invalidate_user) else {
            return Invalidated::nothing(EOPNOTSUPP);
        };
        // SAFETY: By the type invariant the domain is nested, as the operation expects.
        requests.carry_out(|array| unsafe { invalidate(raw, array) })
    }
}
