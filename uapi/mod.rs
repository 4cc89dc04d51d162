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
        trace::{
            self,
            emit, //
        },
        uapi, //
    },
    object::Ctx,
    viommu, //
};

/// Handles IOMMU_DESTROY. Returns the errors of [`Table::destroy`](crate::object::Table::destroy).
fn destroy(ctx: &Ctx, cmd: uapi::Destroy, _user: &UserStruct) -> Result {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    match crate::selftests::mock::destroy(ctx, cmd.id) {
        Err(error) if error == ENOENT => {}
        result => return result,
    }
    ctx.objects().destroy(cmd.id)
}

/// A command.
struct Command {
    /// `_IO(';', nr)`.
    number: u32,
    /// The least size of the struct in bytes.
    min_size: usize,
    run: fn(&FileRef<Ctx>, &UserStruct) -> Result,
}

/// Returns the size of the field that `_of` returns, in bytes.
const fn field_size<S, F>(_of: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! command {
    ($nr:literal, $struct:ident, $last:ident, $handler:path) => {
        Command {
            number: uapi::ioctl_number($nr),
            min_size: core::mem::offset_of!(uapi::$struct, $last)
                + field_size(|s: &uapi::$struct| &s.$last),
            run: |ctx, user| $handler(ctx, user.read::<uapi::$struct>()?, user),
        }
    };
}

/// The commands by number, from [`uapi::CMD_BASE`] on without gaps.
#[rustfmt::skip] // One line a command.
static COMMANDS: &[Command] = &[
    command!(0x80, Destroy, id, destroy),
    command!(0x81, IoasAlloc, out_ioas_id, ioas::ioctl::alloc),
    command!(0x82, IoasAllowIovas, allowed_iovas, ioas::ioctl::allow_iovas),
    command!(0x83, IoasCopy, src_iova, ioas::ioctl::copy),
    command!(0x84, IoasIovaRanges, out_iova_alignment, ioas::ioctl::iova_ranges),
    command!(0x85, IoasMap, iova, ioas::ioctl::map),
    command!(0x86, IoasUnmap, length, ioas::ioctl::unmap),
    command!(0x87, Option_, val64, ioas::ioctl::option),
    command!(0x88, VfioIoas, __reserved, compat::ioctl::vfio_ioas),
    command!(0x89, HwptAlloc, __reserved, viommu::hwpt::alloc),
    command!(0x8a, HwInfo, __reserved, device::ioctl::get_hw_info),
    command!(0x8b, HwptSetDirtyTracking, __reserved, hwpt::dirty::set_dirty_tracking),
    command!(0x8c, HwptGetDirtyBitmap, data, hwpt::dirty::get_dirty_bitmap),
    command!(0x8d, HwptInvalidate, __reserved, viommu::invalidate::invalidate),
    command!(0x8e, FaultAlloc, out_fault_fd, hwpt::fault::alloc),
    command!(0x8f, IoasMapFile, iova, ioas::ioctl::map_file),
    command!(0x90, ViommuAlloc, out_viommu_id, viommu::alloc),
    command!(0x91, VdeviceAlloc, virt_id, viommu::vdevice::alloc),
    command!(0x92, IoasChangeProcess, __reserved, ioas::process::change_process),
    command!(0x93, VeventqAlloc, out_veventq_fd, viommu::veventq::alloc),
    command!(0x94, HwQueueAlloc, length, viommu::hw_queue::alloc),
    command!(0x95, IoasNoiommuGetPa, out_phys, ioas::phys::noiommu_get_pa),
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
        return Err(EINVAL);
    }
    crate::selftests::mock::ioctl(ctx, user.read()?, &user)
}

/// Carries out an ioctl and returns its value. A number outside of the table may be one of a VFIO
/// container.
///
/// Returns `ENOTTY` for an unknown command, `EFAULT` for a bad pointer, `EINVAL` if the struct is
/// too short, `E2BIG` if it is longer than the known one and not zero there, or the error of the
/// command.
pub(crate) fn ioctl(ctx: &FileRef<Ctx>, number: u32, arg: usize) -> Result<u32> {
    let result = carry_out(ctx, number, arg);
    if result.is_err() {
        emit(|| trace::Refused {
            context: ctx.id(),
            command: number,
            error: trace::errno(&result),
        });
    }
    result
}

/// As [`ioctl`].
fn carry_out(ctx: &FileRef<Ctx>, number: u32, arg: usize) -> Result<u32> {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    if number == uapi::ioctl_number(uapi::test::NR) {
        return test(ctx, arg);
    }
    let place = kernel::ioctl::_IOC_NR(number).checked_sub(uapi::CMD_BASE);
    let Some(command) = place.and_then(|place| COMMANDS.get(place as usize)) else {
        return compat::ioctl::ioctl(ctx, number, arg);
    };
    // `EFAULT` comes before `ENOTTY` for numbers in the range of the table.
    let user = UserStruct::new(UserPtr::from_addr(arg))?;
    if command.number != number {
        return Err(ENOTTY);
    }
    if (user.size() as usize) < command.min_size {
        return Err(EINVAL);
    }
    (command.run)(ctx, &user).map(|()| 0)
}
