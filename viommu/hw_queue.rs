// SPDX-License-Identifier: GPL-2.0-only

//! HW queues: a guest's queues of requests that the hardware reads on its own.

use kernel::prelude::*;

use crate::{
    drivers::HwQueueOps,
    ioas::PhysPin,
    kapi::{
        iommu::{
            hw_queue::Request,
            viommu::Identity, //
        },
        mm::user::UserStruct,
        sync::shared::Shared,
        uapi::{
            self,
            hw_queue, //
        }, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    },
    viommu::Viommu, //
};

/// A queue that the hardware reads.
struct HwQueue {
    _ops: KBox<dyn HwQueueOps>,
    _viommu: Ref<Viommu>,
}

impl Kind for HwQueue {}

/// IOMMU_HW_QUEUE_ALLOC. While the queue exists its memory cannot be unmapped.
pub(crate) fn alloc(ctx: &Shared<Ctx>, mut cmd: uapi::HwQueueAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 || cmd.type_ == hw_queue::TYPE_DEFAULT {
        return Err(EOPNOTSUPP);
    }
    let last = cmd.length.checked_sub(1).ok_or(EINVAL)?;
    cmd.nesting_parent_iova.checked_add(last).ok_or(EOVERFLOW)?;
    let viommu: Ref<Viommu> = ctx.objects().get(cmd.viommu_id)?;
    if !viommu.ops().has_hw_queue(cmd.type_) {
        return Err(EOPNOTSUPP);
    }
    let reservation = ctx.objects().reserve()?;
    let ioas = viommu.parent().ioas();
    let memory = PhysPin::new(ioas, cmd.nesting_parent_iova, cmd.length)?;
    let memory = KBox::new(memory, GFP_KERNEL_ACCOUNT)?;
    let ops = viommu.ops().make_hw_queue(Request {
        identity: Identity::new(ctx, reservation.id()),
        kind: cmd.type_,
        index: cmd.index,
        iova: cmd.nesting_parent_iova,
        length: cmd.length,
        memory,
    })?;
    let draft = reservation.fill(Ok(HwQueue {
        _ops: ops,
        _viommu: viommu,
    }))?;
    cmd.out_hw_queue_id = draft.id();
    user.write(&cmd)?;
    draft.publish();
    Ok(())
}
