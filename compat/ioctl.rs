// SPDX-License-Identifier: GPL-2.0-only

//! The ioctls of a VFIO container, and the ioctl that selects the IOAS for them.
//!
//! Each struct begins with the size that the caller knows. Unlike those of iommufd, a struct is
//! read with the size that it has in our header, and what the caller adds to it is ignored.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed,
    uaccess::UserSlice, //
};

use crate::{
    compat::{
        compat_ioas,
        info,
        ioas_id,
        read, //
    },
    ioas::Ioas,
    kapi::{
        iommu::domain::Prot,
        latency::Timed,
        mm::{
            locked_vm::may_do_raw_io,
            user::UserStruct, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        trace,
        uapi::{
            self,
            vfio, //
        },
        units::{
            to_u64,
            IovaRange, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

/// IOMMU_VFIO_IOAS.
pub(crate) fn vfio_ioas(ctx: &Ctx, mut cmd: uapi::VfioIoas, user: &UserStruct) -> Result {
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    match u32::from(cmd.op) {
        uapi::vfio_ioas::GET => {
            cmd.ioas_id = ioas_id(ctx)?;
            user.write(&cmd)
        }
        uapi::vfio_ioas::SET => {
            let ioas: Ref<Ioas> = ctx.objects().get(cmd.ioas_id)?;
            ctx.objects().mark(&ioas);
            Ok(())
        }
        uapi::vfio_ioas::CLEAR => {
            ctx.objects().unmark();
            Ok(())
        }
        op => Err(Reason::ContainerOperation.with(op.into())),
    }
}

/// Performs an ioctl of a container and returns its value. Returns `ENOTTY` for an unknown number,
/// and the errors of the command.
pub(crate) fn ioctl(ctx: &Ctx, number: u32, arg: usize) -> Result<u32> {
    let user = UserPtr::from_addr(arg);
    match number {
        vfio::nr::GET_API_VERSION => Ok(vfio::API_VERSION),
        vfio::nr::CHECK_EXTENSION => check_extension(ctx, arg).map(u32::from),
        vfio::nr::SET_IOMMU => set_iommu(ctx, arg).map(|()| 0),
        vfio::nr::GET_INFO => info::get_info(ctx, user).map(|()| 0),
        vfio::nr::MAP_DMA => map_dma(ctx, user).map(|()| 0),
        vfio::nr::UNMAP_DMA => unmap_dma(ctx, user).map(|()| 0),
        // VFIO_IOMMU_DIRTY_PAGES is one of these: IOMMU_HWPT_GET_DIRTY_BITMAP takes its place.
        _ => Err(Reason::CommandUnknown.with(number.into())),
    }
}

/// Returns the name of an ioctl of a container in the uAPI header, or "ioctl" for an unknown number.
pub(crate) fn name(number: u32) -> &'static CStr {
    match number {
        vfio::nr::GET_API_VERSION => c"VFIO_GET_API_VERSION",
        vfio::nr::CHECK_EXTENSION => c"VFIO_CHECK_EXTENSION",
        vfio::nr::SET_IOMMU => c"VFIO_SET_IOMMU",
        vfio::nr::GET_INFO => c"VFIO_IOMMU_GET_INFO",
        vfio::nr::MAP_DMA => c"VFIO_IOMMU_MAP_DMA",
        vfio::nr::UNMAP_DMA => c"VFIO_IOMMU_UNMAP_DMA",
        _ => c"ioctl",
    }
}

/// VFIO_CHECK_EXTENSION. Returns `ENODEV` if the answer depends on the compat IOAS and there is
/// none.
fn check_extension(ctx: &Ctx, kind: usize) -> Result<bool> {
    use vfio::extension;

    match u32::try_from(kind) {
        Ok(extension::TYPE1 | extension::TYPE1_V2 | extension::UNMAP_ALL) => Ok(!ctx.no_iommu()),
        Ok(extension::NO_IOMMU) => Ok(cfg!(CONFIG_VFIO_NOIOMMU)),
        Ok(extension::DMA_CC) => Ok(compat_ioas(ctx)?.is_coherent()),
        _ => Ok(false),
    }
}

/// VFIO_SET_IOMMU. Returns `EINVAL` for a type that the groups of the context cannot have, `EPERM`
/// if the caller needs CAP_SYS_RAWIO for the type and lacks it, `ENODEV` before a group has joined,
/// and the errors of [`Ioas::set_large_pages`].
fn set_iommu(ctx: &Ctx, kind: usize) -> Result {
    use vfio::extension;

    match (u32::try_from(kind), ctx.no_iommu()) {
        (Ok(extension::NO_IOMMU), true) if cfg!(CONFIG_VFIO_NOIOMMU) => {
            if may_do_raw_io() {
                Ok(())
            } else {
                Err(Reason::ContainerPrivilege.with(0))
            }
        }
        // Version 1 can unmap any part of a mapping, and large pages cannot be split.
        (Ok(extension::TYPE1), false) => compat_ioas(ctx)?.set_large_pages(false, || Ok(())),
        (Ok(extension::TYPE1_V2), false) => compat_ioas(ctx).map(drop),
        _ => Err(Reason::ContainerType.with(to_u64(kind))),
    }
}

/// Returns `EINVAL` if `argsz` does not cover a `T`, or there are unknown flags.
fn check_struct<T>(argsz: u32, unknown: u32) -> Result {
    if (argsz as usize) < size_of::<T>() {
        return Err(Reason::ContainerTooShort.with(argsz.into()));
    }
    if unknown != 0 {
        return Err(Reason::CommandFlags.errno(EINVAL, unknown.into()));
    }
    Ok(())
}

/// VFIO_IOMMU_MAP_DMA. Returns `EINVAL` for a struct that is too short, for unknown flags and for
/// no permission at all, `ENODEV` if there is no compat IOAS, and the errors of [`Ioas::map_user`].
fn map_dma(ctx: &Ctx, arg: UserPtr) -> Result {
    use vfio::map;

    let cmd: vfio::DmaMap = read(arg)?;
    let prot = Prot {
        read: cmd.flags & map::READ != 0,
        write: cmd.flags & map::WRITE != 0,
        mmio: false,
    };
    check_struct::<vfio::DmaMap>(cmd.argsz, cmd.flags & !(map::READ | map::WRITE))?;
    if !(prot.read || prot.write) {
        return Err(Reason::MapNoPermission.with(0));
    }
    let ioas = compat_ioas(ctx)?;
    let account = ctx.account();
    ctx.latencies().watch(
        Timed::Map,
        (),
        |()| {
            ioas.map_user(cmd.iova, cmd.vaddr, cmd.size, prot, account)?;
            ctx.counters().maps.fetch_add(1, Relaxed);
            Ok(())
        },
        |(), result| trace::Map {
            context: ctx.id(),
            ioas: ioas.id(),
            iova: cmd.iova,
            length: cmd.size,
            fd: -1,
            start: cmd.vaddr,
            flags: cmd.flags,
            error: trace::errno(result),
        },
    )
}

/// VFIO_IOMMU_UNMAP_DMA. Returns `EINVAL` for a struct that is too short and for unknown flags,
/// `ENODEV` if there is no compat IOAS, and the errors of [`unmap_range`]. It is no error if
/// nothing is mapped.
fn unmap_dma(ctx: &Ctx, arg: UserPtr) -> Result {
    use vfio::unmap;

    let mut cmd: vfio::DmaUnmap = read(arg)?;
    check_struct::<vfio::DmaUnmap>(cmd.argsz, cmd.flags & !unmap::ALL)?;
    let ioas = compat_ioas(ctx)?;
    let all = cmd.flags & unmap::ALL != 0;
    if all && (cmd.iova != 0 || cmd.size != 0) {
        return Err(Reason::ContainerAll.with(cmd.iova | cmd.size));
    }
    let (unmapped, result) = ctx.latencies().watch(
        Timed::Unmap,
        (),
        |()| {
            let mut unmapped = 0;
            let result = if all {
                Ok(ioas.unmap_all(&mut unmapped))
            } else {
                unmap_range(&ioas, cmd.iova, cmd.size, &mut unmapped)
            };
            if unmapped != 0 {
                ctx.counters().unmaps.fetch_add(1, Relaxed);
            }
            (unmapped, result)
        },
        |(), &(unmapped, result)| trace::Unmap {
            context: ctx.id(),
            ioas: ioas.id(),
            iova: cmd.iova,
            length: cmd.size,
            unmapped,
            error: trace::errno(&result.and_then(|inner| inner)),
        },
    );
    let result = result?;
    // The number of unmapped bytes is reported also if unmapping has failed halfway.
    cmd.size = unmapped;
    UserSlice::new(arg, size_of::<vfio::DmaUnmap>())
        .writer()
        .write(&cmd)?;
    result
}

/// Unmaps `length` bytes. The outer error is that of [`Ioas::cut_after`], and then nothing was
/// unmapped. The inner error is that of [`Ioas::unmap`], `EINVAL` if `length` is 0, or `EOVERFLOW`
/// if the range passes the end of the address space.
fn unmap_range(ioas: &Ioas, iova: u64, length: u64, unmapped: &mut u64) -> Result<Result> {
    if !ioas.large_pages() {
        // As in C iommufd the cuts come before the check of the range. If the range passes the end
        // of the address space then its last address is taken modulo 2^64.
        ioas.cut_after(iova.wrapping_add(length).wrapping_sub(1))?;
        if let Some(before) = iova.checked_sub(1) {
            ioas.cut_after(before)?;
        }
    }
    Ok(IovaRange::from_len(iova, length)
        .because(Reason::CommandRange, iova)
        .and_then(|within| ioas.unmap(within, unmapped)))
}
