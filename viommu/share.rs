// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs: a guest's share of an IOMMU.

use kernel::prelude::*;

use crate::{
    device::BoundDevice,
    drivers::ViommuOps,
    hwpt::HwptPaging,
    kapi::{
        iommu::{
            domain::UserData,
            viommu::{
                Identity,
                Request, //
            }, //
        },
        mm::user::{
            self,
            UserStruct, //
        },
        sync::shared::Shared,
        uapi, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    }, //
};

/// A guest's share of an IOMMU.
pub(crate) struct Viommu {
    // Field order: the driver's part goes before what it stands on.
    ops: KBox<dyn ViommuOps>,
    parent: Ref<HwptPaging>,
}

impl Kind for Viommu {}

impl Viommu {
    /// What its backend can do.
    pub(crate) fn ops(&self) -> &dyn ViommuOps {
        &*self.ops
    }

    /// The second stage of all translation.
    pub(crate) fn parent(&self) -> &Ref<HwptPaging> {
        &self.parent
    }
}

/// IOMMU_VIOMMU_ALLOC.
pub(crate) fn alloc(ctx: &Shared<Ctx>, mut cmd: uapi::ViommuAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 || cmd.__reserved != 0 || cmd.type_ == uapi::viommu::TYPE_DEFAULT {
        return Err(EOPNOTSUPP);
    }
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let (dev, backend) = (device.dev(), device.backend());
    if !backend.has_viommu(dev, cmd.type_) {
        return Err(EOPNOTSUPP);
    }
    let parent: Ref<HwptPaging> = ctx.objects().get(cmd.hwpt_id)?;
    if !parent.can_be_parent() {
        return Err(EINVAL);
    }
    let reservation = ctx.objects().reserve()?;
    let request = Request {
        identity: Identity::new(ctx, reservation.id()),
        kind: cmd.type_,
        parent: parent.domain().clone(),
        data: (cmd.data_len != 0).then(|| UserData {
            kind: cmd.type_,
            ptr: user::ptr(cmd.data_uptr),
            len: cmd.data_len as usize,
        }),
    };
    let ops = backend.alloc_viommu(dev, request)?;
    let draft = reservation.fill(Ok(Viommu { ops, parent }))?;
    cmd.out_viommu_id = draft.id();
    user.write(&cmd)?;
    draft.publish();
    Ok(())
}
