// SPDX-License-Identifier: GPL-2.0-only

//! Page tables that user space fills: the first stage, on top of page tables that the kernel fills.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    drivers::Backend,
    hwpt::{
        FaultQueue,
        HwptPaging, //
    },
    kapi::{
        iommu::{
            domain::UserData,
            invalidate::{
                Invalidated,
                Requests, //
            },
            nested::NestedDomain, //
        },
        reason::{
            Reason,
            Result, //
        },
        uapi::hwpt, //
    },
    object::{
        AnyRef,
        Kind,
        Ref, //
    }, //
};

/// Nested page tables.
pub(crate) struct HwptNested {
    // Field order: each is dropped before what it was made on.
    domain: Arc<NestedDomain>,
    /// The vIOMMU that they were made on, if any.
    _viommu: Option<AnyRef>,
    parent: Ref<HwptPaging>,
    /// See [`HwptNested::pasid_compatible`].
    pasids: bool,
    /// What invalidates them.
    backend: &'static dyn Backend,
}

impl Kind for HwptNested {
    const NAME: &'static CStr = c"hwpt-nested";
}

/// A request for nested page tables.
#[derive(Clone, Copy)]
pub(crate) struct NestedRequest {
    /// `enum iommufd_hwpt_alloc_flags`.
    flags: u32,
    /// The driver's own data.
    data: UserData,
}

impl NestedRequest {
    /// Checks a request. Returns `EOPNOTSUPP` for flags that nested page tables do not have, and
    /// without data.
    pub(crate) fn new(flags: u32, data: Option<UserData>) -> Result<Self> {
        match data {
            Some(data) if flags & !(hwpt::FAULT_ID_VALID | hwpt::PASID) == 0 => {
                Ok(Self { flags, data })
            }
            _ => Err(Reason::HwptNestedFlags.with(flags.into())),
        }
    }

    /// Returns the flags that concern the driver.
    pub(crate) fn driver_flags(&self) -> u32 {
        self.flags & !hwpt::FAULT_ID_VALID
    }

    /// Returns the driver's own data.
    pub(crate) fn data(&self) -> UserData {
        self.data
    }
}

impl HwptNested {
    /// Returns the object for a domain that `backend` made for `request` on `parent`, by `viommu`
    /// if there is one. `faults` receives page faults of the devices. Returns `ENOMEM`.
    pub(crate) fn new(
        mut domain: NestedDomain,
        backend: &'static dyn Backend,
        request: &NestedRequest,
        parent: Ref<HwptPaging>,
        viommu: Option<AnyRef>,
        faults: Option<Ref<FaultQueue>>,
    ) -> Result<Self> {
        if let Some(queue) = faults {
            domain.set_fault_sink(Arc::new(queue, GFP_KERNEL_ACCOUNT)?);
        }
        Ok(Self {
            domain: Arc::new(domain, GFP_KERNEL_ACCOUNT)?,
            _viommu: viommu,
            parent,
            pasids: request.flags & hwpt::PASID != 0,
            backend,
        })
    }

    /// Returns the domain.
    pub(crate) fn domain(&self) -> &Arc<NestedDomain> {
        &self.domain
    }

    /// Returns the page tables of the second stage.
    pub(crate) fn parent(&self) -> &Ref<HwptPaging> {
        &self.parent
    }

    /// Returns whether a PASID, or a device of which a PASID is attached, may be attached to it.
    pub(crate) fn pasid_compatible(&self) -> bool {
        self.pasids
    }

    /// Invalidates what the IOMMU has cached of the page tables. Returns the errors of the driver.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        self.backend.invalidate(&self.domain, requests)
    }
}
