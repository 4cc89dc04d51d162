// SPDX-License-Identifier: GPL-2.0-only

//! What the DMA of devices can be made to go through: page tables of either kind.
//!
//! C header: `include/linux/iommu.h`.

use core::ptr::NonNull;

use kernel::{
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        domain::Domain,
        iopf::{
            self,
            FaultSink, //
        },
        nested::NestedDomain,
        provider, //
    }, //
};

/// A `struct iommu_domain`, owned: dropping it frees it.
///
/// # Invariants
///
/// `raw` is a valid domain that nobody else frees. `_dev` keeps the device, and with it the driver,
/// from going away first.
pub(super) struct OwnedDomain {
    raw: NonNull<bindings::iommu_domain>,
    /// Present exactly if the C object has the operation that looks for it.
    faults: Option<KBox<dyn FaultSink>>,
    _dev: ARef<Device>,
}

// SAFETY: IOMMU drivers lock their domains: any task may call them.
unsafe impl Send for OwnedDomain {}
// SAFETY: As above; concurrent maps and unmaps of disjoint ranges are allowed by
// `struct iommu_domain_ops`, and callers here keep ranges disjoint by owning them in an IOAS.
unsafe impl Sync for OwnedDomain {}

impl OwnedDomain {
    /// Takes over a domain that was made for `dev`.
    ///
    /// # Safety
    ///
    /// It is valid, and freeing it is the caller's to give away.
    pub(super) unsafe fn from_raw(raw: NonNull<bindings::iommu_domain>, dev: &Device) -> Self {
        // The core then asks `Handle::place_doorbell` where interrupts go.
        if provider::is_registered() {
            // SAFETY: The domain is ours alone as yet.
            unsafe {
                (*raw.as_ptr()).cookie_type =
                    bindings::iommu_domain_cookie_type_IOMMU_COOKIE_IOMMUFD;
            }
        }
        // INVARIANT: By the caller's promise.
        Self {
            raw,
            faults: None,
            _dev: dev.into(),
        }
    }

    /// The C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.raw.as_ptr()
    }

    /// Lets devices have page faults, which go to `sink`, before any device is attached.
    pub(super) fn set_fault_sink(&mut self, sink: KBox<dyn FaultSink>) {
        self.faults = Some(sink);
        // SAFETY: The domain is ours alone as yet.
        unsafe { (*self.as_ptr()).iopf_handler = Some(iopf::handle_fault) };
    }

    /// Who takes page faults. `None` where devices may not have any.
    pub(super) fn fault_sink(&self) -> Option<&dyn FaultSink> {
        self.faults.as_deref()
    }
}

impl Drop for OwnedDomain {
    fn drop(&mut self) {
        // SAFETY: By the invariant the domain is ours to free.
        unsafe { bindings::iommu_domain_free(self.as_ptr()) };
    }
}

/// Page tables of either kind. While something is attached to them they stay.
#[derive(Clone)]
pub(crate) enum Attachable {
    /// The kernel fills them.
    Paging(Arc<Domain>),
    /// User space does.
    Nested(Arc<NestedDomain>),
}

impl Attachable {
    fn owned(&self) -> &OwnedDomain {
        match self {
            Self::Paging(domain) => domain.owned(),
            Self::Nested(domain) => domain.owned(),
        }
    }

    /// The C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.owned().as_ptr()
    }

    /// Who takes page faults. `None` where devices may not have any.
    pub(crate) fn fault_sink(&self) -> Option<&dyn FaultSink> {
        self.owned().fault_sink()
    }
}
