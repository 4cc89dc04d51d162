// SPDX-License-Identifier: GPL-2.0-only

//! The part that paging and nested domains have in common.
//!
//! C header: `include/linux/iommu.h`.

use core::ptr::NonNull;

use kernel::sync::Arc;

use crate::{
    ffi::bindings,
    kapi::iommu::{
        driver_ref::DriverRef,
        iopf::{
            self,
            FaultSink, //
        },
        provider, //
    }, //
};

/// A `struct iommu_domain`, which is freed when this is dropped.
///
/// # Invariants
///
/// `raw` is a valid domain that nothing else frees, and `_driver` is a reference to the driver
/// whose operations it has.
pub(super) struct OwnedDomain {
    raw: NonNull<bindings::iommu_domain>,
    /// `Some` exactly if the domain's `iopf_handler` is set.
    faults: Option<Arc<dyn FaultSink>>,
    // The driver frees the domain, so this is dropped after it.
    _driver: DriverRef,
}

// SAFETY: The operations of a domain may be called from any task: IOMMU drivers lock their domains.
unsafe impl Send for OwnedDomain {}
// SAFETY: `struct iommu_domain_ops` allows concurrent calls on disjoint ranges of addresses.
unsafe impl Sync for OwnedDomain {}

impl OwnedDomain {
    /// Takes over a new domain.
    ///
    /// # Safety
    ///
    /// `raw` must be a valid domain that nothing else refers to or frees, and `driver` a reference
    /// to the driver that made it.
    pub(super) unsafe fn from_raw(raw: NonNull<bindings::iommu_domain>, driver: DriverRef) -> Self {
        // With this cookie the core calls `abi/msi.rs` to map the doorbells of interrupts.
        if provider::is_registered() {
            // SAFETY: The caller guarantees that nothing else refers to the domain.
            unsafe {
                (*raw.as_ptr()).cookie_type =
                    bindings::iommu_domain_cookie_type_IOMMU_COOKIE_IOMMUFD;
            }
        }
        // INVARIANT: By the safety requirements of this function.
        Self {
            raw,
            faults: None,
            _driver: driver,
        }
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.raw.as_ptr()
    }

    /// Delivers the page faults of devices that are attached from now on to `sink`. Without a sink
    /// a device that can have page faults cannot be attached.
    pub(super) fn set_fault_sink(&mut self, sink: Arc<dyn FaultSink>) {
        self.faults = Some(sink);
        // SAFETY: `&mut self` rules out that a device is attached, so the core does not read the
        // field.
        unsafe { (*self.as_ptr()).iopf_handler = Some(iopf::handle_fault) };
    }

    /// Returns what page faults are delivered to, if anything.
    pub(super) fn fault_sink(&self) -> Option<&Arc<dyn FaultSink>> {
        self.faults.as_ref()
    }
}

impl Drop for OwnedDomain {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the domain is valid and nothing else frees it.
        unsafe { bindings::iommu_domain_free(self.as_ptr()) };
    }
}
