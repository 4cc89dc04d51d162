// SPDX-License-Identifier: GPL-2.0-only

//! HW queues: a guest's queues of requests that the hardware reads.

use kernel::{
    prelude::*,
    sync::SetOnce, //
};

use crate::{
    drivers::HwQueueOps,
    ioas::PhysPin,
    kapi::{
        bug::warn_on_once,
        file::file_ref::FileRef,
        iommu::{
            hw_queue::Request,
            viommu::Identity, //
        },
        lines::Lines,
        mm::user::UserStruct,
        reason::{
            Because,
            Reason,
            Result, //
        },
        uapi::{
            self,
            hw_queue, //
        }, //
    },
    object::{
        Ctx,
        Draft,
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

/// A queue that the hardware reads.
struct HwQueue {
    /// Set when the driver has made the queue.
    ops: SetOnce<KBox<dyn HwQueueOps>>,
    viommu: PartOf,
    /// `enum iommu_hw_queue_type`.
    kind: u32,
    index: u32,
}

impl Kind for HwQueue {
    const NAME: &'static CStr = c"hw-queue";

    fn show(&self, lines: &Lines<'_>) {
        lines.number("viommu", self.viommu.id());
        lines.number("type", self.kind);
        lines.number("index", self.index);
    }
}

impl HwQueue {
    /// Drops the reference to this object that the driver's queue has.
    fn disown(&self) {
        if let Some(ops) = self.ops.as_ref() {
            ops.disown();
        }
    }
}

/// Handles IOMMU_HW_QUEUE_ALLOC. While the queue exists its memory cannot be unmapped.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::HwQueueAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    if cmd.type_ == hw_queue::TYPE_DEFAULT {
        return Err(Reason::HwQueueType.with(cmd.type_.into()));
    }
    let last = cmd
        .length
        .checked_sub(1)
        .ok_or(Reason::CommandRange.with(cmd.nesting_parent_iova))?;
    cmd.nesting_parent_iova
        .checked_add(last)
        .ok_or(Reason::CommandOverflow.with(cmd.nesting_parent_iova))?;
    let viommu: Ref<Viommu> = ctx.objects().get(cmd.viommu_id)?;
    if !viommu.ops().has_hw_queue(cmd.type_) {
        return Err(Reason::HwQueueType.with(cmd.type_.into()));
    }
    let reservation = ctx.objects().reserve()?;
    let ioas = viommu.parent().ioas();
    let memory = PhysPin::new(ioas, cmd.nesting_parent_iova, cmd.length)?;
    let memory = KBox::new(memory, GFP_KERNEL_ACCOUNT)?;
    let draft = reservation.fill(Ok(HwQueue {
        ops: SetOnce::new(),
        viommu: PartOf::new(viommu, Part::HwQueue),
        kind: cmd.type_,
        index: cmd.index,
    }))?;
    match start(ctx, &draft, memory, &mut cmd, user) {
        Ok(()) => draft.publish_and_get().disown(),
        Err(error) => {
            draft.disown();
            draft.discard();
            return Err(error);
        }
    }
    Ok(())
}

/// Has the driver make the queue, and writes the answer. Other queues may depend on it from then
/// on.
fn start(
    ctx: &FileRef<Ctx>,
    draft: &Draft<'_, HwQueue>,
    memory: KBox<PhysPin>,
    cmd: &mut uapi::HwQueueAlloc,
    user: &UserStruct,
) -> Result {
    let made = draft.viommu.ops().make_hw_queue(Request {
        identity: Identity::new(&ObjectPlace::drafted(ctx, draft)),
        kind: cmd.type_,
        index: cmd.index,
        iova: cmd.nesting_parent_iova,
        length: cmd.length,
        memory,
    });
    let ops = made.because(Reason::HwQueueDriver, cmd.index.into())?;
    warn_on_once!(!draft.ops.populate(ops));
    cmd.out_hw_queue_id = draft.id();
    user.write(cmd)
}
