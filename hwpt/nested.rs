// SPDX-License-Identifier: GPL-2.0-only

//! Page tables that user space fills: the first stage, on top of page tables that the kernel fills.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
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
    // Field order: each goes before what it stands on.
    domain: Arc<NestedDomain>,
    /// What they were made on, where that is a vIOMMU.
    _viommu: Option<AnyRef>,
    parent: Ref<HwptPaging>,
    /// See [`HwptNested::pasid_compatible`].
    pasids: bool,
}

impl Kind for HwptNested {}

/// What nested page tables are asked for.
#[derive(Clone, Copy)]
pub(crate) struct NestedRequest {
    /// `enum iommufd_hwpt_alloc_flags`.
    flags: u32,
    /// The driver's own data.
    data: UserData,
}

impl NestedRequest {
    /// `EOPNOTSUPP` for flags that nested page tables do not have, or without data.
    pub(crate) fn new(flags: u32, data: Option<UserData>) -> Result<Self> {
        match data {
            Some(data) if flags & !(hwpt::FAULT_ID_VALID | hwpt::PASID) == 0 => {
                Ok(Self { flags, data })
            }
            _ => Err(EOPNOTSUPP),
        }
    }

    /// The flags that concern the driver.
    pub(crate) fn driver_flags(&self) -> u32 {
        self.flags & !hwpt::FAULT_ID_VALID
    }

    /// The driver's own data.
    pub(crate) fn data(&self) -> UserData {
        self.data
    }
}

impl HwptNested {
    /// The object for a domain that was made for `request` on top of `parent`, by `viommu` where
    /// one is given. Page faults of the devices go to `faults`. `ENOMEM`.
    pub(crate) fn new(
        mut domain: NestedDomain,
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
        })
    }

    /// The domain.
    pub(crate) fn domain(&self) -> &Arc<NestedDomain> {
        &self.domain
    }

    /// The second stage.
    pub(crate) fn parent(&self) -> &Ref<HwptPaging> {
        &self.parent
    }

    /// Whether a PASID may be attached to it, and a device some of whose PASIDs are attached.
    pub(crate) fn pasid_compatible(&self) -> bool {
        self.pasids
    }

    /// Makes the IOMMU forget what it has cached of the page tables. Fails as the driver does.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        self.domain.invalidate(requests)
    }
}
