// SPDX-License-Identifier: GPL-2.0-only

//! Domains of either kind, and the handle that the IOMMU core knows an attachment by.
//!
//! C header: `include/linux/iommu.h`.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        domain::Domain,
        iopf::{
            FaultHandle,
            FaultSink, //
        },
        msi::{
            Doorbell,
            Doorbells, //
        },
        nested::NestedDomain,
        owned_domain::OwnedDomain, //
    }, //
};

/// A domain that a device can be attached to. The domain exists as long as something is attached.
#[derive(Clone)]
pub(crate) enum Attachable {
    /// Page tables that the kernel fills.
    Paging(Arc<Domain>),
    /// Page tables that user space fills.
    Nested(Arc<NestedDomain>),
}

impl Attachable {
    fn owned(&self) -> &OwnedDomain {
        match self {
            Self::Paging(domain) => domain.owned(),
            Self::Nested(domain) => domain.owned(),
        }
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.owned().as_ptr()
    }

    /// Returns whether the driver of `other` made this domain too.
    pub(super) fn is_of_same_driver(&self, other: &Self) -> bool {
        let owner = |domain: &Self| {
            // SAFETY: An `OwnedDomain` is valid, and its owner does not change after it was made.
            unsafe { (*domain.as_ptr()).owner }
        };
        core::ptr::eq(owner(self), owner(other))
    }

    /// Returns what page faults are delivered to, if anything.
    fn fault_sink(&self) -> Option<&Arc<dyn FaultSink>> {
        self.owned().fault_sink()
    }
}

/// The handle of an attachment. The IOMMU core must not have it any more when it is dropped: that
/// answers the page faults which are left, and only then releases the domain.
#[pin_data]
#[repr(C)]
pub(super) struct AttachHandle {
    // The first field: the core's pointer to it is a pointer to the handle.
    #[pin]
    faults: FaultHandle,
    domain: Attachable,
    /// `None` if the IOMMU does not translate interrupts.
    doorbells: Option<KBox<dyn Doorbells>>,
}

impl AttachHandle {
    /// Allocates a handle for an attachment to `domain`. Page faults name the device by `device`.
    /// Returns `ENOMEM` if there is no memory.
    pub(super) fn new(
        domain: Attachable,
        doorbells: Option<KBox<dyn Doorbells>>,
        device: u32,
    ) -> Result<Pin<KBox<Self>>> {
        let sink = domain.fault_sink().cloned();
        KBox::pin_init(
            pin_init!(Self {
                faults <- FaultHandle::new(sink, device),
                domain,
                doorbells,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_attach_handle {
        self.faults.as_ptr()
    }

    /// Has page faults name another device of the group.
    pub(super) fn set_device(&self, device: u32) {
        self.faults.set_device(device);
    }

    /// Returns the domain of the attachment.
    pub(super) fn domain(&self) -> &Attachable {
        &self.domain
    }
}

/// Maps the page of an interrupt's doorbell for the devices of an attachment: see
/// [`Doorbells::place`]. Returns `None` if the IOMMU does not translate interrupts.
///
/// # Safety
///
/// `handle` must be the handle that the IOMMU core has for a group which is attached to a domain
/// with the cookie type `IOMMU_COOKIE_IOMMUFD`, and the group must stay attached during the call.
pub(crate) unsafe fn place_doorbell(
    handle: *mut bindings::iommu_attach_handle,
    doorbell: Doorbell,
) -> Result<Option<u64>> {
    // SAFETY:
    // - Domains with that cookie are `OwnedDomain`s, which `Attachment` alone attaches, with an
    //   `AttachHandle`.
    // - The caller guarantees that it is attached, and so not dropped.
    let handle = unsafe { &*handle.cast::<AttachHandle>() };
    let doorbells = handle.doorbells.as_ref();
    doorbells.map(|d| d.place(doorbell)).transpose()
}
