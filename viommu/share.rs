// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs: a guest's share of an IOMMU.

use kernel::prelude::*;

use crate::{
    device::BoundDevice,
    drivers::ViommuOps,
    hwpt::{
        HwptInUse,
        HwptPaging, //
    },
    kapi::{
        file::file_ref::FileRef,
        iommu::{
            domain::UserData,
            viommu::{
                Identity,
                Request, //
            }, //
        },
        mm::{
            retry_faults::retry_faults,
            user::{
                self,
                UserStruct, //
            }, //
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
        Draft,
        Kind,
        Ref, //
    }, //
};

/// A guest's share of an IOMMU.
pub(crate) struct Viommu {
    // Field order: the driver's part is dropped before its parent.
    ops: KBox<dyn ViommuOps>,
    parent: Ref<HwptPaging>,
}

impl Kind for Viommu {
    const NAME: &'static CStr = c"viommu";
}

impl Viommu {
    /// Returns the operations of its backend.
    pub(crate) fn ops(&self) -> &dyn ViommuOps {
        &*self.ops
    }

    /// Returns the page tables of the second stage.
    pub(crate) fn parent(&self) -> &Ref<HwptPaging> {
        &self.parent
    }
}

/// Handles IOMMU_VIOMMU_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::ViommuAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    if cmd.type_ == uapi::viommu::TYPE_DEFAULT {
        return Err(Reason::ViommuType.with(cmd.type_.into()));
    }
    let data = (cmd.data_len != 0).then(|| UserData {
        kind: cmd.type_,
        ptr: user::ptr(cmd.data_uptr),
        len: cmd.data_len as usize,
    });
    // The driver reads the data, and may write to them, while the device is referenced.
    let draft = retry_faults(data.map(UserData::range).as_slice(), || {
        make(ctx, &cmd, data)
    })?;
    cmd.out_viommu_id = draft.id();
    user.write(&cmd)?;
    draft.publish();
    Ok(())
}

/// Makes the vIOMMU. It keeps no reference to the device that names its IOMMU.
fn make<'c>(
    ctx: &'c FileRef<Ctx>,
    cmd: &uapi::ViommuAlloc,
    data: Option<UserData>,
) -> Result<Draft<'c, Viommu>> {
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let (dev, backend) = (device.dev(), device.backend());
    if !backend.has_viommu(dev, cmd.type_) {
        return Err(Reason::ViommuType.with(cmd.type_.into()));
    }
    let parent = HwptInUse::with_paging(ctx, cmd.hwpt_id, |parent| {
        if parent.can_be_parent() {
            Ok(parent.clone())
        } else {
            Err(Reason::ViommuNotParent.with(cmd.hwpt_id.into()))
        }
    })?;
    let reservation = ctx.objects().reserve()?;
    let request = Request {
        identity: Identity::new(ctx, reservation.id()),
        kind: cmd.type_,
        parent: parent.domain().clone(),
        data,
    };
    let ops = backend
        .alloc_viommu(dev, request)
        .because(Reason::ViommuDriver, cmd.type_.into())?;
    reservation.fill(Ok(Viommu { ops, parent }))
}
