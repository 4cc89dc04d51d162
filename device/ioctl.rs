// SPDX-License-Identifier: GPL-2.0-only

//! The ioctl on devices.

use kernel::uaccess::UserSlice;

use crate::{
    device::BoundDevice,
    kapi::{
        bug::some_or_warn,
        iommu::{
            group::{
                capable,
                Capability, //
            },
            hwinfo::{
                pasid_info,
                HwInfo, //
            }, //
        },
        mm::user::{
            self,
            UserStruct, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        uapi::{
            self,
            hw_info, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

/// IOMMU_GET_HW_INFO.
pub(crate) fn get_hw_info(ctx: &Ctx, mut cmd: uapi::HwInfo, user: &UserStruct) -> Result {
    let unknown = cmd.flags & !hw_info::FLAG_INPUT_TYPE;
    if unknown != 0 {
        return Err(Reason::CommandFlags.with(unknown.into()));
    }
    if let Some(byte) = cmd.__reserved.into_iter().find(|byte| *byte != 0) {
        return Err(Reason::CommandReserved.with(byte.into()));
    }
    let wanted = if cmd.flags & hw_info::FLAG_INPUT_TYPE != 0 {
        uapi::hw_info_type(&cmd)
    } else {
        hw_info::TYPE_DEFAULT
    };
    let info = describe(ctx, &mut cmd, wanted)?;

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
    // The driver has told the length as a `u32`.
    cmd.data_len = some_or_warn!(u32::try_from(bytes.len()).ok())?;
    uapi::set_hw_info_type(&mut cmd, info.kind());
    user.write(&cmd)
}

/// Asks the driver of a device, and sets what the struct says of PASIDs and capabilities.
///
/// The reference to the device is dropped before anything is written to user memory, which may take
/// long. Unbinding waits for that reference.
fn describe(ctx: &Ctx, cmd: &mut uapi::HwInfo, wanted: u32) -> Result<HwInfo> {
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let dev = device.dev();
    let info = device
        .backend()
        .hw_info(dev, wanted)
        .because(Reason::HwInfoType, wanted.into())?;
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
    cmd.out_max_pasid_log2 = pasid.max_log2;
    cmd.out_capabilities = capabilities;
    Ok(info)
}
