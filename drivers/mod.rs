// SPDX-License-Identifier: GPL-2.0-only

//! Backends: how the objects of the user API use an IOMMU driver.

#[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
mod amd_vi;
#[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_AMD_IOMMU_IOMMUFD))]
#[forbid(unsafe_code)]
mod field;
#[forbid(unsafe_code)]
mod in_tree;
#[cfg(CONFIG_IOMMUFD_NOIOMMU)]
#[forbid(unsafe_code)]
mod noiommu;
#[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
mod smmu_v3;
#[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_AMD_IOMMU_IOMMUFD))]
#[forbid(unsafe_code)]
mod vdevice;
#[cfg(CONFIG_INTEL_IOMMU)]
mod vtd;

use core::ops::Deref;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::kapi::{
    file::params,
    iommu::{
        device::IommuDevice,
        domain::{
            Domain,
            UserData, //
        },
        hw_queue,
        hwinfo::HwInfo,
        invalidate::{
            Invalidated,
            Requests, //
        },
        nested::NestedDomain,
        viommu::{
            self,
            Identity,
            ViommuRef, //
        }, //
    }, //
};

/// The operations of a backend. Unless a backend has its own, they are those of the kernel's driver
/// for the IOMMU, whose errors are returned as they are.
pub(crate) trait Backend: Sync {
    /// Returns the name of the backend: that of its folder of `drivers/`.
    fn name(&self) -> &'static str;

    /// Allocates page tables for the kernel to fill, which `dev` can be attached to. `flags` are
    /// the `IOMMU_HWPT_ALLOC_*` flags that concern drivers. Returns `EOPNOTSUPP` if the backend
    /// does not support the flags or the data.
    fn alloc_paging(
        &self,
        dev: &IommuDevice,
        flags: u32,
        data: Option<UserData>,
    ) -> Result<Domain> {
        Domain::alloc(dev, flags, data)
    }

    /// Returns whether [`Backend::alloc_nested`] supports `dev`.
    fn has_nested(&self, dev: &IommuDevice) -> bool {
        NestedDomain::are_there(dev)
    }

    /// Allocates page tables for user space to fill, on top of `parent`. `flags` are the
    /// `IOMMU_HWPT_ALLOC_*` flags that concern drivers. Returns `EOPNOTSUPP` if the backend does
    /// not support the flags or the data, `EINVAL` if another backend allocated the parent.
    fn alloc_nested(
        &self,
        dev: &IommuDevice,
        parent: Arc<Domain>,
        flags: u32,
        data: UserData,
    ) -> Result<NestedDomain> {
        NestedDomain::on_parent(dev, parent, flags, data)
    }

    /// Invalidates what the IOMMU has cached of page tables that [`Backend::alloc_nested`] or a
    /// vIOMMU of this backend allocated. Fails with `EOPNOTSUPP` if they have no such operation,
    /// with `EINVAL` if the backend does not support the type of the requests.
    fn invalidate(&self, domain: &NestedDomain, requests: Requests) -> Invalidated {
        domain.invalidate(requests)
    }

    /// Returns whether [`Backend::alloc_viommu`] supports vIOMMUs of a kind (`enum
    /// iommu_viommu_type`) on the IOMMU of `dev`.
    fn has_viommu(&self, dev: &IommuDevice, kind: u32) -> bool {
        viommu::has_viommu(dev, kind)
    }

    /// Makes a vIOMMU on the IOMMU of `dev`. Returns `EOPNOTSUPP` if the backend does not support
    /// its kind or its data, `EINVAL` if another backend allocated the parent.
    fn alloc_viommu(&self, dev: &IommuDevice, request: viommu::Request) -> Result<ViommuBox> {
        in_tree::alloc_viommu(dev, request)
    }

    /// Returns whether [`Backend::alloc_viommu_over`] supports vIOMMUs of a kind.
    fn has_viommu_over(&self, _dev: &IommuDevice, _kind: u32) -> bool {
        false
    }

    /// Makes one vIOMMU on the IOMMUs of several devices. Returns `EOPNOTSUPP` if the backend has
    /// none, `EINVAL` if two are behind the same IOMMU, `EINVAL` if another backend allocated a
    /// parent.
    fn alloc_viommu_over(&self, _identity: Identity, _iommus: &[Share<'_>]) -> Result<ViommuBox> {
        Err(EOPNOTSUPP)
    }

    /// Describes the IOMMU of `dev`. `wanted` is an `enum iommu_hw_info_type`. Returns `EOPNOTSUPP`
    /// if the backend does not have that type.
    fn hw_info(&self, dev: &IommuDevice, wanted: u32) -> Result<HwInfo> {
        HwInfo::of(dev, wanted)
    }
}

/// An IOMMU of a vIOMMU over several.
#[cfg_attr(
    not(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_AMD_IOMMU_IOMMUFD)),
    expect(dead_code, reason = "no backend reads it")
)]
pub(crate) struct Share<'a> {
    /// A device behind it.
    pub(crate) dev: &'a IommuDevice,
    /// The page tables of the second stage there.
    pub(crate) parent: Arc<Domain>,
}

/// The backend's part of the virtual IOMMU of a guest. It is dropped after all that was made on it.
pub(crate) trait ViommuOps: Send + Sync {
    /// Returns whether the vIOMMU is on the IOMMU that translates for `dev`.
    fn serves(&self, dev: &IommuDevice) -> bool;

    /// Allocates page tables for user space to fill, for each IOMMU of the vIOMMU in their order,
    /// and passes each to `take`, whose errors it returns. `flags` are the `IOMMU_HWPT_ALLOC_*`
    /// flags that concern drivers. Returns `EOPNOTSUPP` if the backend does not support the flags
    /// or the data.
    fn alloc_nested(
        &self,
        flags: u32,
        data: UserData,
        take: &mut dyn FnMut(NestedDomain) -> Result,
    ) -> Result;

    /// Invalidates what the IOMMU and the guest's devices have cached. Fails with `EOPNOTSUPP` if
    /// nothing is cached, with `EINVAL` if the backend does not support the type of the requests.
    fn invalidate(&self, requests: Requests) -> Invalidated;

    /// Returns whether [`ViommuOps::make_hw_queue`] supports queues of a kind (`enum
    /// iommu_hw_queue_type`).
    fn has_hw_queue(&self, kind: u32) -> bool;

    /// Makes a queue in the guest's memory, which the hardware reads from now on. Returns
    /// `EOPNOTSUPP` if the backend does not support its kind.
    fn make_hw_queue(&self, request: hw_queue::Request) -> Result<KBox<dyn HwQueueOps>>;

    /// Returns the vIOMMU whose receivers receive the events that are reported for the guest.
    fn event_viommu(&self) -> &ViommuRef;

    /// Makes the vDEVICE of a device that this serves, which the guest knows by `virt_id`. It is
    /// dropped before the device is unbound. Returns `EEXIST` if the id is used.
    fn make_vdevice(
        &self,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<KBox<dyn VdeviceOps>>;
}

/// A backend's part of a vIOMMU. That of a C driver is not in an allocation of its own.
pub(crate) enum ViommuBox {
    InTree(in_tree::InTreeViommu),
    #[cfg_attr(
        not(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_AMD_IOMMU_IOMMUFD)),
        expect(dead_code, reason = "no native backend makes vIOMMUs")
    )]
    Native(KBox<dyn ViommuOps>),
}

impl ViommuBox {
    /// Returns `ENOMEM` if there is no memory.
    #[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_AMD_IOMMU_IOMMUFD))]
    fn native(viommu: impl ViommuOps + 'static) -> Result<Self> {
        Ok(Self::Native(KBox::new(viommu, GFP_KERNEL_ACCOUNT)?))
    }
}

impl Deref for ViommuBox {
    type Target = dyn ViommuOps;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::InTree(viommu) => viommu,
            Self::Native(viommu) => &**viommu,
        }
    }
}

/// The backend's part of a HW queue. Dropping it stops the hardware.
pub(crate) trait HwQueueOps: Send + Sync {
    /// Drops the reference to the object that the request had. Called when the object can be found
    /// by its id, or is going to be dropped instead.
    fn disown(&self);
}

/// The backend's part of a vDEVICE. Dropping it destroys the vDEVICE.
pub(crate) trait VdeviceOps: Send + Sync {}

/// Returns the backend for a device. The administrator can disable native backends.
pub(crate) fn backend_of(dev: &IommuDevice) -> &'static dyn Backend {
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    if !crate::kapi::iommu::device::has_iommu(dev) {
        return &noiommu::NoIommu;
    }
    if params::native_backends() {
        #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
        if smmu_v3::owns(dev) {
            return &smmu_v3::SmmuV3;
        }
        #[cfg(CONFIG_INTEL_IOMMU)]
        if vtd::owns(dev) {
            return &vtd::Vtd;
        }
        #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
        if amd_vi::owns(dev) {
            return &amd_vi::AmdVi;
        }
    }
    &in_tree::InTree
}

/// What native backends need of the kernel, until it is dropped. There is one, which is made before
/// any device is bound. A member is `None` where the kernel's driver has no door, or there is no
/// driver.
pub(crate) struct NativeBackends {
    #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
    _smmu_v3: Option<smmu_v3::Door>,
    #[cfg(CONFIG_INTEL_IOMMU)]
    _vtd: Option<vtd::Door>,
    #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
    _amd_vi: Option<amd_vi::Door>,
}

impl NativeBackends {
    /// Finds out which native backends this kernel has, and logs them.
    pub(crate) fn find() -> Self {
        let found = Self {
            #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
            _smmu_v3: smmu_v3::Door::open(),
            #[cfg(CONFIG_INTEL_IOMMU)]
            _vtd: vtd::Door::open(),
            #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
            _amd_vi: amd_vi::Door::open(),
        };
        let doors: &[(&str, bool)] = &[
            #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
            ("smmu_v3", found._smmu_v3.is_some()),
            #[cfg(CONFIG_INTEL_IOMMU)]
            ("vtd", found._vtd.is_some()),
            #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
            ("amd_vi", found._amd_vi.is_some()),
        ];
        let mut any = false;
        for (name, _) in doors.iter().filter(|(_, is_open)| *is_open) {
            any = true;
            pr_info!("native backends: {}\n", name);
        }
        if !any {
            pr_info!("no native backends on this kernel\n");
        }
        found
    }
}
