// SPDX-License-Identifier: GPL-2.0-only

//! Backends: what stands between the objects of the user API and an IOMMU driver.

#[forbid(unsafe_code)]
mod in_tree;
#[cfg(CONFIG_IOMMUFD_NOIOMMU)]
#[forbid(unsafe_code)]
mod noiommu;
#[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
mod smmu_v3;

use kernel::{
    device::Device,
    prelude::*,
    sync::Arc, //
};

#[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
use crate::kapi::file::params;
use crate::kapi::iommu::{
    device,
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
    vevent::{
        Connection,
        EventReceiver, //
    },
    viommu::{
        self,
        Identity, //
    }, //
};

/// What an IOMMU does for the user API.
pub(crate) trait Backend: Sync {
    /// Makes I/O page tables that `dev` can use. `flags` are those of HWPT_ALLOC that concern the
    /// driver. `EOPNOTSUPP` for flags or data that it does not know.
    fn alloc_paging(&self, dev: &Device, flags: u32, data: Option<UserData>) -> Result<Domain>;

    /// Whether [`Backend::alloc_nested`] can be asked for page tables that `dev` can use.
    fn has_nested(&self, dev: &Device) -> bool;

    /// Makes page tables for user space to fill, on top of `parent`. `flags` as above. `EOPNOTSUPP`
    /// for flags or data that it does not know, `EINVAL` where another backend made the parent.
    fn alloc_nested(
        &self,
        dev: &Device,
        parent: Arc<Domain>,
        flags: u32,
        data: UserData,
    ) -> Result<NestedDomain>;

    /// Whether [`Backend::alloc_viommu`] can be asked for a vIOMMU of this kind, one of
    /// `enum iommu_viommu_type`, on the IOMMU of `dev`.
    fn has_viommu(&self, dev: &Device, kind: u32) -> bool;

    /// Makes a vIOMMU on the IOMMU of `dev`. `EOPNOTSUPP` for a kind or data that it does not know.
    fn alloc_viommu(&self, dev: &Device, request: viommu::Request) -> Result<KBox<dyn ViommuOps>>;

    /// Describes the IOMMU of `dev`; `wanted` is one of `enum iommu_hw_info_type`. `EOPNOTSUPP` for
    /// a type that it does not know.
    fn hw_info(&self, dev: &Device, wanted: u32) -> Result<HwInfo>;
}

/// What a backend has for the virtual IOMMU of a guest. It goes after all that was made on it.
pub(crate) trait ViommuOps: Send + Sync {
    /// Whether it is on the IOMMU that translates for `dev`.
    fn serves(&self, dev: &Device) -> bool;

    /// Makes page tables for user space to fill. `flags` are those of HWPT_ALLOC that concern the
    /// driver. `EOPNOTSUPP` for flags or data that it does not know.
    fn alloc_nested(&self, flags: u32, data: UserData) -> Result<NestedDomain>;

    /// Makes the IOMMU and the devices of the guest forget what they have cached. `EOPNOTSUPP`
    /// where there is nothing to forget, `EINVAL` for requests of a kind that it does not know.
    fn invalidate(&self, requests: Requests) -> Invalidated;

    /// Whether [`ViommuOps::make_hw_queue`] can be asked for a queue of this kind, one of
    /// `enum iommu_hw_queue_type`.
    fn has_hw_queue(&self, kind: u32) -> bool;

    /// Has the hardware read a queue out of the guest's memory.
    fn make_hw_queue(&self, request: hw_queue::Request) -> Result<KBox<dyn HwQueueOps>>;

    /// Passes the events of type `kind` (`enum iommu_veventq_type`) to `receiver`.
    /// Returns `EEXIST` if the type has a receiver.
    fn connect(&self, kind: u32, receiver: Arc<dyn EventReceiver>) -> Result<Connection>;

    /// Makes the guest's view of a device that this serves, and that the guest knows by `virt_id`.
    /// It is there until it is dropped, before the device goes. `EEXIST` where the id is taken.
    fn make_vdevice(
        &self,
        dev: &Device,
        virt_id: u64,
        identity: Identity,
    ) -> Result<KBox<dyn VdeviceOps>>;
}

/// What a backend has for a queue of a guest that the hardware reads. Dropping it has it stop.
pub(crate) trait HwQueueOps: Send + Sync {
    /// Drops the reference to the object that the request had. Called when the object can be found by
    /// its id, or will be dropped instead.
    fn disown(&self);
}

/// What a backend has for a guest's view of a device. Dropping it takes it down.
pub(crate) trait VdeviceOps: Send + Sync {}

/// The backend for a device. The administrator may have native backends left out.
pub(crate) fn backend_of(dev: &Device) -> &'static dyn Backend {
    #[cfg(CONFIG_IOMMUFD_NOIOMMU)]
    if !device::has_iommu(dev) {
        return &noiommu::NoIommu;
    }
    #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
    if params::native_backends() && smmu_v3::owns(dev) {
        return &smmu_v3::SmmuV3;
    }
    &in_tree::InTree
}

/// What native backends need of the kernel, until it is dropped. There is one, which is made before
/// any device is bound.
pub(crate) struct NativeBackends {
    /// `None` where the kernel's driver has no door, or there is no driver.
    #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
    _smmu_v3: Option<smmu_v3::Door>,
}

impl NativeBackends {
    /// Finds out which native backends this kernel has, and logs them.
    pub(crate) fn find() -> Self {
        let found = Self {
            #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
            _smmu_v3: smmu_v3::Door::open(),
        };
        #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
        if found._smmu_v3.is_some() {
            pr_info!("native backends: smmu_v3\n");
            return found;
        }
        pr_info!("no native backends on this kernel\n");
        found
    }
}
