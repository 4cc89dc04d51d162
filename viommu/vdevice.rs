// SPDX-License-Identifier: GPL-2.0-only

//! vDEVICEs: a guest's view of a device behind its vIOMMU.
//!
//! A device has one at most. It is destroyed when the device is unbound. If user space has not
//! destroyed it before, its id remains taken ([`Claim`]).

use kernel::prelude::*;

use crate::{
    device::{
        BoundDevice,
        Claim,
        Making, //
    },
    drivers::VdeviceOps,
    kapi::{
        file::file_ref::FileRef,
        iommu::viommu::Identity,
        lines::Lines,
        mm::{
            retry_faults::retry_faults,
            user::UserStruct, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        uapi, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    },
    viommu::{
        part::{
            Part,
            PartOf, //
        },
        place::ObjectPlace,
        Viommu, //
    }, //
};

/// A guest's view of a device.
struct Vdevice {
    // Field order: the driver's part is dropped before the vIOMMU. The device may have another
    // vDEVICE when the claim has been dropped.
    _ops: KBox<dyn VdeviceOps>,
    viommu: PartOf,
    claim: Claim,
    /// What the guest calls the device.
    virt_id: u64,
}

impl Kind for Vdevice {
    const NAME: &'static CStr = c"vdevice";

    fn show(&self, lines: &Lines<'_>) {
        lines.number("viommu", self.viommu.id());
        lines.number("device", self.claim.device());
        lines.line("virtual-id", fmt!("{:#x}", self.virt_id));
    }
}

/// Handles IOMMU_VDEVICE_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::VdeviceAlloc, user: &UserStruct) -> Result {
    // The vDEVICE has a claim, and so a reference to the device, while the answer is written, and
    // the device's group is not attached meanwhile.
    retry_faults(&[user.range::<uapi::VdeviceAlloc>()], || {
        make(ctx, &mut cmd, user)
    })
}

/// Makes and publishes the vDEVICE.
fn make(ctx: &FileRef<Ctx>, cmd: &mut uapi::VdeviceAlloc, user: &UserStruct) -> Result {
    let viommu: Ref<Viommu> = ctx.objects().get(cmd.viommu_id)?;
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    if !viommu.ops().serves(device.dev()) {
        return Err(Reason::VdeviceIommu.with(cmd.viommu_id.into()));
    }
    let (making, claim) = Making::begin(&device)?;
    let reservation = ctx.objects().reserve()?;
    let identity = Identity::new(&ObjectPlace::reserved(ctx, &reservation));
    let ops = viommu
        .ops()
        .make_vdevice(device.dev(), cmd.virt_id, identity)
        .because(Reason::VdeviceDriver, cmd.virt_id)?;
    let draft = reservation.fill(Ok(Vdevice {
        _ops: ops,
        viommu: PartOf::new(viommu, Part::Vdevice),
        claim,
        virt_id: cmd.virt_id,
    }))?;
    cmd.out_vdevice_id = draft.id();
    user.write(cmd)?;
    making.publish(draft)
}
