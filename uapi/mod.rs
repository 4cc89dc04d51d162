// SPDX-License-Identifier: GPL-2.0-only

//! The ioctl table of `/dev/iommu`.
//!
//! The argument of a command points to a struct that begins with its size. Fields at the end that
//! the caller's struct does not have are zero. It must have the field that the table names
//! (`EINVAL`), and bytes after the fields that are known here must be zero (`E2BIG`). The handler
//! gets the struct by value, and writes the answer by the [`UserStruct`].

use kernel::prelude::*;

use crate::{
    compat,
    device,
    hwpt,
    ioas,
    kapi::{
        file::file_ref::FileRef,
        mm::user::UserStruct,
        reason::{
            Reason,
            Result, //
        },
        uapi, //
    },
    object::Ctx,
    viommu, //
};

/// Handles IOMMU_DESTROY. Returns the errors of [`Table::take`](crate::object::Table::take).
fn destroy(ctx: &Ctx, cmd: uapi::Destroy, _user: &UserStruct) -> Result {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    return crate::selftests::mock::destroy(ctx, cmd.id);
    #[cfg(not(CONFIG_IOMMUFD_RS_TEST))]
    ctx.objects().destroy(cmd.id)
}

/// A command.
struct Command {
    /// `_IO(';', nr)`.
    number: u32,
    /// The name of the number in the uAPI header.
    name: &'static CStr,
    /// The least size of the struct in bytes.
    min_size: usize,
    run: fn(&FileRef<Ctx>, &UserStruct) -> Result,
}

/// Returns the size of the field that `_of` returns, in bytes.
const fn field_size<S, F>(_of: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! command {
    ($nr:literal, $name:literal, $struct:ident, $last:ident, $handler:path) => {
        Command {
            number: uapi::ioctl_number($nr),
            name: $name,
            min_size: core::mem::offset_of!(uapi::$struct, $last)
                + field_size(|s: &uapi::$struct| &s.$last),
            run: |ctx, user| $handler(ctx, user.read::<uapi::$struct>()?, user),
        }
    };
}

/// The commands by number, from [`uapi::CMD_BASE`] on without gaps.
#[rustfmt::skip] // One line a command.
static COMMANDS: &[Command] = &[
    command!(0x80, c"IOMMU_DESTROY", Destroy, id, destroy),
    command!(0x81, c"IOMMU_IOAS_ALLOC", IoasAlloc, out_ioas_id, ioas::ioctl::alloc),
    command!(0x82, c"IOMMU_IOAS_ALLOW_IOVAS", IoasAllowIovas, allowed_iovas, ioas::ioctl::allow_iovas),
    command!(0x83, c"IOMMU_IOAS_COPY", IoasCopy, src_iova, ioas::ioctl::copy),
    command!(0x84, c"IOMMU_IOAS_IOVA_RANGES", IoasIovaRanges, out_iova_alignment, ioas::ioctl::iova_ranges),
    command!(0x85, c"IOMMU_IOAS_MAP", IoasMap, iova, ioas::ioctl::map),
    command!(0x86, c"IOMMU_IOAS_UNMAP", IoasUnmap, length, ioas::ioctl::unmap),
    command!(0x87, c"IOMMU_OPTION", Option_, val64, ioas::ioctl::option),
    command!(0x88, c"IOMMU_VFIO_IOAS", VfioIoas, __reserved, compat::ioctl::vfio_ioas),
    command!(0x89, c"IOMMU_HWPT_ALLOC", HwptAlloc, __reserved, viommu::hwpt::alloc),
    command!(0x8a, c"IOMMU_GET_HW_INFO", HwInfo, __reserved, device::ioctl::get_hw_info),
    command!(0x8b, c"IOMMU_HWPT_SET_DIRTY_TRACKING", HwptSetDirtyTracking, __reserved, hwpt::dirty::set_dirty_tracking),
    command!(0x8c, c"IOMMU_HWPT_GET_DIRTY_BITMAP", HwptGetDirtyBitmap, data, hwpt::dirty::get_dirty_bitmap),
    command!(0x8d, c"IOMMU_HWPT_INVALIDATE", HwptInvalidate, __reserved, viommu::invalidate::invalidate),
    command!(0x8e, c"IOMMU_FAULT_QUEUE_ALLOC", FaultAlloc, out_fault_fd, hwpt::fault::alloc),
    command!(0x8f, c"IOMMU_IOAS_MAP_FILE", IoasMapFile, iova, ioas::ioctl::map_file),
    command!(0x90, c"IOMMU_VIOMMU_ALLOC", ViommuAlloc, out_viommu_id, viommu::alloc),
    command!(0x91, c"IOMMU_VDEVICE_ALLOC", VdeviceAlloc, virt_id, viommu::vdevice::alloc),
    command!(0x92, c"IOMMU_IOAS_CHANGE_PROCESS", IoasChangeProcess, __reserved, ioas::process::change_process),
    command!(0x93, c"IOMMU_VEVENTQ_ALLOC", VeventqAlloc, out_veventq_fd, viommu::veventq::alloc),
    command!(0x94, c"IOMMU_HW_QUEUE_ALLOC", HwQueueAlloc, length, viommu::hw_queue::alloc),
    command!(0x95, c"IOMMU_IOAS_NOIOMMU_GET_PA", IoasNoiommuGetPa, out_phys, ioas::phys::noiommu_get_pa),
];

const _: () = {
    let mut place = 0;
    while place < COMMANDS.len() {
        // PANIC: Evaluated at compile time.
        assert!(COMMANDS[place].number == uapi::ioctl_number(uapi::CMD_BASE + place as u32));
        place += 1;
    }
};

/// Handles IOMMU_TEST_CMD, which only the test module has.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
fn test(ctx: &FileRef<Ctx>, arg: usize) -> Result<u32> {
    let user = UserStruct::new(UserPtr::from_addr(arg))?;
    if (user.size() as usize) < core::mem::offset_of!(uapi::test::Cmd, last) + size_of::<u32>() {
        return Err(Reason::CommandTooShort.with(user.size().into()));
    }
    crate::selftests::mock::ioctl(ctx, user.read()?, &user)
}

/// Returns the command with this number, or with this number within the range of the table.
fn command_of(number: u32) -> Option<&'static Command> {
    let place = kernel::ioctl::_IOC_NR(number).checked_sub(uapi::CMD_BASE)?;
    COMMANDS.get(place as usize)
}

/// Carries out an ioctl and returns its value. A number outside of the table may be one of a VFIO
/// container. The context records why it fails.
///
/// Returns `ENOTTY` for an unknown command, `EFAULT` for a bad pointer, `EINVAL` if the struct is
/// too short, `E2BIG` if it is longer than the known one and not zero there, or the error of the
/// command.
pub(crate) fn ioctl(ctx: &FileRef<Ctx>, number: u32, arg: usize) -> Result<u32, Error> {
    carry_out(ctx, number, arg).map_err(|refusal| {
        let name = command_of(number).map_or_else(|| compat::ioctl::name(number), |c| c.name);
        ctx.refuse(name, refusal)
    })
}

fn carry_out(ctx: &FileRef<Ctx>, number: u32, arg: usize) -> Result<u32> {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    if number == uapi::ioctl_number(uapi::test::NR) {
        return test(ctx, arg);
    }
    let Some(command) = command_of(number) else {
        return compat::ioctl::ioctl(ctx, number, arg);
    };
    // `EFAULT` comes before `ENOTTY` for numbers in the range of the table.
    let user = UserStruct::new(UserPtr::from_addr(arg))?;
    if command.number != number {
        return Err(Reason::CommandUnknown.with(number.into()));
    }
    if (user.size() as usize) < command.min_size {
        return Err(Reason::CommandTooShort.with(user.size().into()));
    }
    (command.run)(ctx, &user).map(|()| 0)
}
