// SPDX-License-Identifier: GPL-2.0-only

//! Making page tables: for an address space, on a parent, or on a vIOMMU.

use kernel::prelude::*;

use crate::{
    device::BoundDevice,
    hwpt::{
        FaultQueue,
        HwptNested,
        HwptPaging,
        NestedRequest,
        Request, //
    },
    ioas::Ioas,
    kapi::{
        iommu::domain::UserData,
        mm::user::{
            self,
            UserStruct, //
        },
        uapi, //
    },
    object::{
        AnyRef,
        Ctx,
        Draft,
        Kind,
        Ref, //
    },
    viommu::Viommu, //
};

/// IOMMU_HWPT_ALLOC.
pub(crate) fn alloc(ctx: &Ctx, cmd: uapi::HwptAlloc, user: &UserStruct) -> Result {
    if cmd.__reserved != 0 || cmd.__reserved2 != 0 {
        return Err(EOPNOTSUPP);
    }
    if (cmd.data_type == uapi::hwpt::DATA_NONE) != (cmd.data_len == 0) {
        return Err(EINVAL);
    }
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let target = ctx.objects().get_any(cmd.pt_id).map_err(|_| EINVAL)?;
    let data = (cmd.data_len != 0).then(|| UserData {
        kind: cmd.data_type,
        ptr: user::ptr(cmd.data_uptr),
        len: cmd.data_len as usize,
    });
    let faults = (cmd.flags & uapi::hwpt::FAULT_ID_VALID != 0)
        .then(|| ctx.objects().get::<FaultQueue>(cmd.fault_id));
    let queue = faults
        .as_ref()
        .and_then(|queue| queue.as_ref().ok())
        .cloned();
    let target = match target.downcast::<Ioas>() {
        Ok(ioas) => {
            let hwpt = ctx.objects().reserve()?.fill(HwptPaging::new(
                ioas,
                Request {
                    dev: device.dev(),
                    backend: device.backend(),
                    flags: cmd.flags,
                    data,
                    faults: queue,
                    automatic: false,
                },
            ))?;
            hwpt.fill()?;
            return finish(hwpt, faults, cmd, user);
        }
        Err(other) => other,
    };
    let hwpt = ctx
        .objects()
        .reserve()?
        .fill(nested(&device, target, cmd.flags, data, queue))?;
    finish(hwpt, faults, cmd, user)
}

/// Publishes what was made. The last that can fail: `ENOENT` where there is no such fault queue,
/// `EFAULT`.
fn finish<K: Kind>(
    hwpt: Draft<'_, K>,
    faults: Option<Result<Ref<FaultQueue>>>,
    mut cmd: uapi::HwptAlloc,
    user: &UserStruct,
) -> Result {
    faults.transpose()?;
    cmd.out_hwpt_id = hwpt.id();
    user.write(&cmd)?;
    hwpt.publish();
    Ok(())
}

/// Makes nested page tables on `target`. `EINVAL` where that cannot be their base, `EOPNOTSUPP`
/// where there are none of that kind.
fn nested(
    device: &BoundDevice,
    target: AnyRef,
    flags: u32,
    data: Option<UserData>,
    faults: Option<Ref<FaultQueue>>,
) -> Result<HwptNested> {
    let (dev, backend) = (device.dev(), device.backend());
    let target = match target.downcast::<HwptPaging>() {
        Ok(parent) => {
            let request = NestedRequest::new(flags, data)?;
            if !backend.has_nested(dev) {
                return Err(EOPNOTSUPP);
            }
            if !parent.can_be_parent() {
                return Err(EINVAL);
            }
            let base = parent.domain().clone();
            let domain = backend.alloc_nested(dev, base, request.driver_flags(), request.data())?;
            return HwptNested::new(domain, &request, parent, None, faults);
        }
        Err(other) => other,
    };
    let viommu = target.downcast::<Viommu>().map_err(|_| EINVAL)?;
    if !viommu.ops().serves(dev) {
        return Err(EINVAL);
    }
    let request = NestedRequest::new(flags, data)?;
    let domain = viommu
        .ops()
        .alloc_nested(request.driver_flags(), request.data())?;
    let parent = viommu.parent().clone();
    HwptNested::new(domain, &request, parent, Some(viommu.into()), faults)
}
