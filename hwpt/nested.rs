// SPDX-License-Identifier: GPL-2.0-only

//! Page tables that user space fills: the first stage, on top of page tables that the kernel fills.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    drivers::Backend,
    hwpt::{
        fault::Faults,
        FaultQueue,
        HwptPaging, //
    },
    kapi::{
        iommu::{
            device::IommuDevice,
            domain::UserData,
            invalidate::{
                Invalidated,
                Requests, //
            },
            nested::NestedDomain, //
        },
        lines::Lines,
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
    stage: Stage,
    /// Those for the further IOMMUs of the vIOMMU.
    others: KVec<Stage>,
    /// The vIOMMU that they were made on, if any.
    viommu: Option<OnViommu>,
    /// See [`HwptNested::pasid_compatible`].
    pasids: bool,
    /// What invalidates them.
    backend: &'static dyn Backend,
    /// `enum iommu_hwpt_data_type`.
    kind: u32,
    /// What receives page faults of the devices.
    faults: Option<Arc<Faults>>,
}

impl Kind for HwptNested {
    const NAME: &'static CStr = c"hwpt-nested";

    fn show(&self, lines: &Lines<'_>) {
        lines.number("parent", self.stage.parent.id());
        if let Some(viommu) = &self.viommu {
            lines.number("viommu", viommu.id);
        }
        lines.number("type", self.kind);
        lines.flag("pasid", self.pasids);
        if let Some(faults) = &self.faults {
            faults.show(lines);
        }
    }
}

/// The vIOMMU that page tables were made on.
pub(crate) struct OnViommu {
    /// Its id.
    pub(crate) id: u32,
    /// Whether a device that is attached to the page tables keeps its vDEVICE.
    pub(crate) keeps_vdevices: bool,
    /// It exists as long as the page tables.
    pub(crate) _object: AnyRef,
}

/// The page tables as one IOMMU has them.
struct Stage {
    // Field order: the domain is dropped before what it was made on.
    domain: Arc<NestedDomain>,
    parent: Ref<HwptPaging>,
}

impl Stage {
    /// `ENOMEM`.
    fn new(
        mut domain: NestedDomain,
        parent: Ref<HwptPaging>,
        faults: &Option<Arc<Faults>>,
    ) -> Result<Self> {
        if let Some(faults) = faults {
            domain.set_fault_sink(faults.clone());
        }
        let domain = Arc::new(domain, GFP_KERNEL_ACCOUNT)?;
        Ok(Self { domain, parent })
    }
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
    /// Returns the object for a domain that `backend` made for `request` on `parent`, by `viommu` if
    /// there is one. `faults` receives page faults of the devices. Returns `ENOMEM`.
    pub(crate) fn new(
        domain: NestedDomain,
        backend: &'static dyn Backend,
        request: &NestedRequest,
        parent: Ref<HwptPaging>,
        viommu: Option<OnViommu>,
        faults: Option<&Ref<FaultQueue>>,
    ) -> Result<Self> {
        let faults = Faults::to(faults.cloned())?;
        Ok(Self {
            stage: Stage::new(domain, parent, &faults)?,
            others: KVec::new(),
            viommu,
            pasids: request.flags & hwpt::PASID != 0,
            backend,
            kind: request.data.kind,
            faults,
        })
    }

    /// Adds the domain for a further IOMMU of the vIOMMU, made for the same request. `parent` is the
    /// vIOMMU's there, of the same address space. Returns `ENOMEM`.
    pub(crate) fn add(&mut self, domain: NestedDomain, parent: Ref<HwptPaging>) -> Result {
        let stage = Stage::new(domain, parent, &self.faults)?;
        Ok(self.others.push(stage, GFP_KERNEL_ACCOUNT)?)
    }

    /// The stage for a device. Where no IOMMU of the vIOMMU translates for the device, the driver
    /// refuses to attach it to any.
    fn stage_of(&self, dev: &IommuDevice) -> &Stage {
        let mut others = self.others.iter();
        others
            .find(|stage| stage.domain.is_on_viommu_of(dev))
            .unwrap_or(&self.stage)
    }

    /// Returns the domain, of one IOMMU.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn domain(&self) -> &Arc<NestedDomain> {
        &self.stage.domain
    }

    /// Returns the domain that a device can be attached to.
    pub(crate) fn domain_for(&self, dev: &IommuDevice) -> &Arc<NestedDomain> {
        &self.stage_of(dev).domain
    }

    /// Returns the page tables of the second stage for a device.
    pub(crate) fn parent_for(&self, dev: &IommuDevice) -> &Ref<HwptPaging> {
        &self.stage_of(dev).parent
    }

    /// Returns whether the vDEVICE of a device that is attached must exist until it is detached.
    pub(crate) fn keeps_vdevices(&self) -> bool {
        let viommu = self.viommu.as_ref();
        viommu.is_some_and(|viommu| viommu.keeps_vdevices)
    }

    /// Returns whether devices may have page faults.
    pub(crate) fn takes_faults(&self) -> bool {
        self.stage.domain.has_fault_sink()
    }

    /// Returns the page tables of the second stage: with several IOMMUs, those for the first. All
    /// are of one address space.
    pub(crate) fn parent(&self) -> &Ref<HwptPaging> {
        &self.stage.parent
    }

    /// Returns whether a PASID, or a device of which a PASID is attached, may be attached to it.
    pub(crate) fn pasid_compatible(&self) -> bool {
        self.pasids
    }

    /// Invalidates what the IOMMU has cached of the page tables. Returns the errors of the driver.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        self.backend.invalidate(&self.stage.domain, requests)
    }
}
