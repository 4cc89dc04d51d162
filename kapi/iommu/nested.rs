// SPDX-License-Identifier: GPL-2.0-only

//! Nested domains: page tables that user space fills, on top of those of a parent.
//!
//! C header: `include/linux/iommu.h`.

use core::ptr::NonNull;

use kernel::{
    device::Device,
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        attachable::OwnedDomain,
        device,
        domain::{
            Domain,
            UserData, //
        },
        invalidate::{
            Invalidated,
            Requests, //
        },
        iopf::FaultSink,
        viommu::Viommu, //
    }, //
};

/// What a nested domain stands on: its driver may refer to it until the domain is freed.
enum Base {
    Parent(#[expect(dead_code, reason = "held")] Arc<Domain>),
    Viommu(#[expect(dead_code, reason = "held")] Arc<Viommu>),
}

/// A nested domain, owned: dropping it frees it.
pub(crate) struct NestedDomain {
    // Field order: the domain goes before what it stands on.
    owned: OwnedDomain,
    _base: Base,
}

impl NestedDomain {
    /// Whether the device's IOMMU driver has nested domains that need no vIOMMU.
    pub(crate) fn are_there(dev: &Device) -> bool {
        // SAFETY: The device is alive.
        let ops = unsafe { bindings::iommufd_rs_dev_iommu_ops(device::as_raw(dev)).as_ref() };
        ops.is_some_and(|ops| ops.domain_alloc_nested.is_some())
    }

    /// Asks the device's IOMMU driver for a domain on top of `parent`. `flags` are the uAPI's
    /// HWPT_ALLOC flags that concern drivers. `EOPNOTSUPP` where the driver has no such domains,
    /// `EINVAL` where the parent is another driver's, or the driver's own errors.
    pub(crate) fn on_parent(
        dev: &Device,
        parent: Arc<Domain>,
        flags: u32,
        data: UserData,
    ) -> Result<Self> {
        // SAFETY: The device is alive.
        let ops = unsafe { bindings::iommufd_rs_dev_iommu_ops(device::as_raw(dev)).as_ref() };
        let ops = ops.ok_or(ENODEV)?;
        let alloc = ops.domain_alloc_nested.ok_or(EOPNOTSUPP)?;
        // SAFETY: The parent is valid.
        if !core::ptr::eq(unsafe { (*parent.as_ptr()).owner }, ops) {
            return Err(EINVAL);
        }
        let data = data.as_raw();
        // SAFETY: The operation belongs to the driver of this device; the parent is one of its
        // domains, and `data` outlives the call.
        let raw = unsafe { alloc(device::as_raw(dev), parent.as_ptr(), flags, &data) };
        let raw = from_err_ptr(raw)?;
        // SAFETY: The driver returned a new domain that is ours alone.
        unsafe { Self::from_raw(raw, ops, dev, Base::Parent(parent)) }
    }

    /// Takes over what a vIOMMU's driver made for it. `EOPNOTSUPP` where that is no nested domain.
    ///
    /// # Safety
    ///
    /// As [`OwnedDomain::from_raw`]; the driver, whose operations are `ops`, refers to nothing that
    /// goes before the vIOMMU.
    pub(super) unsafe fn on_viommu(
        raw: *mut bindings::iommu_domain,
        ops: *const bindings::iommu_ops,
        dev: &Device,
        viommu: Arc<Viommu>,
    ) -> Result<Self> {
        // SAFETY: The caller's promise.
        unsafe { Self::from_raw(raw, ops, dev, Base::Viommu(viommu)) }
    }

    /// # Safety
    ///
    /// As [`OwnedDomain::from_raw`]; the domain refers to nothing that goes before `base`.
    unsafe fn from_raw(
        raw: *mut bindings::iommu_domain,
        ops: *const bindings::iommu_ops,
        dev: &Device,
        base: Base,
    ) -> Result<Self> {
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let domain = Self {
            // SAFETY: The caller's promise.
            owned: unsafe { OwnedDomain::from_raw(raw, dev) },
            _base: base,
        };
        // SAFETY: The domain is ours alone as yet.
        unsafe { (*raw.as_ptr()).owner = ops };
        // SAFETY: As above.
        if unsafe { (*raw.as_ptr()).type_ } != bindings::IOMMU_DOMAIN_NESTED {
            return Err(EOPNOTSUPP);
        }
        Ok(domain)
    }

    /// Lets devices have page faults, which go to `sink`, before any device is attached.
    pub(crate) fn set_fault_sink(&mut self, sink: KBox<dyn FaultSink>) {
        self.owned.set_fault_sink(sink);
    }

    /// Who takes page faults. `None` where devices may not have any.
    pub(crate) fn fault_sink(&self) -> Option<&dyn FaultSink> {
        self.owned.fault_sink()
    }

    /// The C object.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(in crate::kapi) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.owned.as_ptr()
    }

    /// What is common to page tables of either kind.
    pub(super) fn owned(&self) -> &OwnedDomain {
        &self.owned
    }

    /// Makes the IOMMU forget what it has cached of the page tables. `EOPNOTSUPP` where the driver
    /// has no use for that, or its own errors.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        let raw = self.owned.as_ptr();
        // SAFETY: The domain is valid, and its operations live as long as its driver.
        let ops = unsafe { (*raw).ops.as_ref() };
        let Some(invalidate) = ops.and_then(|ops| ops.cache_invalidate_user) else {
            return Invalidated::nothing(EOPNOTSUPP);
        };
        // SAFETY: The domain is a nested one, and the array is the caller's during the call.
        requests.carry_out(|array| unsafe { invalidate(raw, array) })
    }
}
