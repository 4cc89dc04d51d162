// SPDX-License-Identifier: GPL-2.0-only

//! Every IOMMU that Linux has a driver for, by the operations of the IOMMU core.

use kernel::prelude::*;

use crate::{
    drivers::{
        Backend,
        HwQueueOps,
        VdeviceOps,
        ViommuBox,
        ViommuOps, //
    },
    kapi::iommu::{
        device::IommuDevice,
        domain::UserData,
        hw_queue::{
            self,
            HwQueue, //
        },
        invalidate::{
            Invalidated,
            Requests, //
        },
        nested::NestedDomain,
        vdevice::Vdevice,
        viommu::{
            self,
            Identity,
            Viommu,
            ViommuRef, //
        }, //
    }, //
};

/// The backend for every IOMMU that Linux has a driver for. Its operations are the defaults of
/// [`Backend`].
pub(crate) struct InTree;

impl Backend for InTree {
    fn name(&self) -> &'static str {
        "in_tree"
    }
}

/// Makes a vIOMMU by the driver. Returns the errors of [`Backend::alloc_viommu`].
pub(super) fn alloc_viommu(dev: &IommuDevice, request: viommu::Request) -> Result<ViommuBox> {
    Ok(ViommuBox::InTree(InTreeViommu(Viommu::new(dev, request)?)))
}

/// A vIOMMU of a C driver.
pub(crate) struct InTreeViommu(pub(super) ViommuRef);

impl ViommuOps for InTreeViommu {
    fn serves(&self, dev: &IommuDevice) -> bool {
        self.0.serves(dev)
    }

    fn alloc_nested(
        &self,
        flags: u32,
        data: UserData,
        take: &mut dyn FnMut(NestedDomain) -> Result,
    ) -> Result {
        take(NestedDomain::on_viommu(&self.0, flags, data)?)
    }

    fn invalidate(&self, requests: Requests) -> Invalidated {
        self.0.invalidate(requests)
    }

    fn has_hw_queue(&self, kind: u32) -> bool {
        hw_queue::has_hw_queue(&self.0, kind)
    }

    fn make_hw_queue(&self, request: hw_queue::Request) -> Result<KBox<dyn HwQueueOps>> {
        let queue = InTreeHwQueue(HwQueue::new(&self.0, request)?);
        Ok(KBox::new(queue, GFP_KERNEL_ACCOUNT)?)
    }

    fn event_viommu(&self) -> &ViommuRef {
        &self.0
    }

    fn make_vdevice(
        &self,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<KBox<dyn VdeviceOps>> {
        let vdevice = InTreeVdevice(Vdevice::new(&self.0, dev, virt_id, identity)?);
        Ok(KBox::new(vdevice, GFP_KERNEL_ACCOUNT)?)
    }
}

/// A vDEVICE of a C driver.
struct InTreeVdevice(#[expect(dead_code, reason = "owned")] Pin<KBox<Vdevice>>);

impl VdeviceOps for InTreeVdevice {}

/// A HW queue of a C driver.
struct InTreeHwQueue(Pin<KBox<HwQueue>>);

impl HwQueueOps for InTreeHwQueue {
    fn disown(&self) {
        self.0.disown();
    }
}
