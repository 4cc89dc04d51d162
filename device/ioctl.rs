// SPDX-License-Identifier: GPL-2.0-only

//! The ioctls on devices, and the making of page tables for one.

use crate::device::BoundDevice;
use crate::hwpt::FaultQueue;
use crate::hwpt::HwptPaging;
use crate::hwpt::Request;
use crate::ioas::Ioas;
use crate::kapi::domain::UserData;
use crate::kapi::group::capable;
use crate::kapi::group::Capability;
use crate::kapi::hwinfo::pasid_info;
use crate::kapi::uapi;
use crate::kapi::uapi::hw_info;
use crate::kapi::user;
use crate::kapi::user::UserStruct;
use crate::object::Ctx;
use crate::object::Ref;
use kernel::prelude::*;
use kernel::uaccess::UserSlice;

/// IOMMU_HWPT_ALLOC.
pub(crate) fn hwpt_alloc(ctx: &Ctx, mut cmd: uapi::HwptAlloc, user: &UserStruct) -> Result {
    if cmd.__reserved != 0 || cmd.__reserved2 != 0 {
        return Err(EOPNOTSUPP);
    }
    if (cmd.data_type == uapi::hwpt::DATA_NONE) != (cmd.data_len == 0) {
        return Err(EINVAL);
    }
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let target = ctx.objects().get_any(cmd.pt_id).map_err(|_| EINVAL)?;
    let ioas = match target.downcast::<Ioas>() {
        Ok(ioas) => ioas,
        Err(other) => {
            // TODO[NESTING]: nested page tables on a parent.
            let nested = other.downcast::<HwptPaging>().is_ok();
            return Err(if nested { EOPNOTSUPP } else { EINVAL });
        }
    };
    let data = (cmd.data_len != 0).then(|| UserData {
        kind: cmd.data_type,
        ptr: user::ptr(cmd.data_uptr),
        len: cmd.data_len as usize,
    });
    let faults = (cmd.flags & uapi::hwpt::FAULT_ID_VALID != 0)
        .then(|| ctx.objects().get::<FaultQueue>(cmd.fault_id));
    let queue = faults.as_ref().and_then(|queue| queue.as_ref().ok());
    let hwpt = ctx.objects().reserve()?.fill(HwptPaging::new(
        ioas,
        Request {
            dev: device.dev(),
            backend: device.backend(),
            flags: cmd.flags,
            data,
            faults: queue.cloned(),
            automatic: false,
        },
    ))?;
    hwpt.fill()?;
    // That there is no such queue is said last.
    faults.transpose()?;
    cmd.out_hwpt_id = hwpt.id();
    user.write(&cmd)?;
    hwpt.publish();
    Ok(())
}

/// IOMMU_GET_HW_INFO.
pub(crate) fn get_hw_info(ctx: &Ctx, mut cmd: uapi::HwInfo, user: &UserStruct) -> Result {
    if cmd.flags & !hw_info::FLAG_INPUT_TYPE != 0 || cmd.__reserved != [0; 3] {
        return Err(EOPNOTSUPP);
    }
    let wanted = if cmd.flags & hw_info::FLAG_INPUT_TYPE != 0 {
        uapi::hw_info_type(&cmd)
    } else {
        hw_info::TYPE_DEFAULT
    };
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let dev = device.dev();
    let info = device.backend().hw_info(dev, wanted)?;

    // What the caller has room for beyond the struct is cleared.
    let room = cmd.data_len as usize;
    let bytes = info.bytes();
    let copied = bytes.len().min(room);
    let data = user::ptr(cmd.data_uptr);
    if let Some(bytes) = bytes.get(..copied) {
        UserSlice::new(data, copied).writer().write_slice(bytes)?;
    }
    if copied < room {
        user::clear(data.wrapping_byte_add(copied), room - copied)?;
    }

    let pasid = pasid_info(dev);
    let mut capabilities = 0;
    for (present, bit) in [
        (
            capable(dev, Capability::DirtyTracking),
            hw_info::CAP_DIRTY_TRACKING,
        ),
        (
            !capable(dev, Capability::PciAts),
            hw_info::CAP_ATS_NOT_SUPPORTED,
        ),
        (pasid.exec, hw_info::CAP_PASID_EXEC),
        (pasid.privileged, hw_info::CAP_PASID_PRIV),
    ] {
        if present {
            capabilities |= bit;
        }
    }
    cmd.data_len = u32::try_from(bytes.len()).map_err(|_| EOVERFLOW)?;
    uapi::set_hw_info_type(&mut cmd, info.kind());
    cmd.out_max_pasid_log2 = pasid.max_log2;
    cmd.out_capabilities = capabilities;
    user.write(&cmd)
}
