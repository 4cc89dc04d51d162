// SPDX-License-Identifier: GPL-2.0-only

//! The ioctls on address spaces. Fields are checked in the order that C iommufd has: unknown flags
//! and reserved fields, numbers, ids.

use core::mem::offset_of;

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed,
    uaccess::UserSlice, //
};

use crate::{
    ioas::{
        allowed::Allowed,
        area::Slice,
        interval::Vacancy,
        map::{
            Commit,
            Part,
            Placement, //
        },
        pages::Pages,
        Ioas, //
    },
    kapi::{
        iommu::domain::Prot,
        latency::Timed,
        mm::{
            locked_vm::may_change_limits,
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
        sync::chunks::Chunks,
        trace::{
            self,
            emit, //
        },
        uapi,
        units::IovaRange, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

/// The largest number of ranges that a user may allow in one address space.
const MAX_ALLOWED_RANGES: u32 = 1 << 16;

/// IOMMU_IOAS_ALLOC.
pub(crate) fn alloc(ctx: &Ctx, mut cmd: uapi::IoasAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    let ioas = ctx.objects().reserve()?.fill(Ioas::new())?;
    cmd.out_ioas_id = ioas.id();
    user.write(&cmd)?;
    ioas.publish();
    Ok(())
}

/// IOMMU_IOAS_IOVA_RANGES.
pub(crate) fn iova_ranges(ctx: &Ctx, mut cmd: uapi::IoasIovaRanges, user: &UserStruct) -> Result {
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    let ioas: Ref<Ioas> = ctx.objects().get(cmd.ioas_id)?;
    let room = cmd.num_iovas;
    let bytes = size_of::<uapi::IovaRangeElm>().saturating_mul(room as usize);
    let mut out = UserSlice::new(user::ptr(cmd.allowed_iovas), bytes).writer();

    cmd.num_iovas = 0;
    cmd.out_iova_alignment = ioas.alignment();
    ioas.try_for_each_usable(|range| {
        if cmd.num_iovas < room {
            out.write(&uapi::IovaRangeElm {
                start: range.start(),
                last: range.last(),
            })?;
        }
        cmd.num_iovas += 1;
        Ok(())
    })?;
    user.write(&cmd)?;
    if cmd.num_iovas > room {
        return Err(Reason::IoasMoreRanges.with(cmd.num_iovas.into()));
    }
    Ok(())
}

/// IOMMU_IOAS_ALLOW_IOVAS.
pub(crate) fn allow_iovas(ctx: &Ctx, cmd: uapi::IoasAllowIovas, _user: &UserStruct) -> Result {
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    let ioas: Ref<Ioas> = ctx.objects().get(cmd.ioas_id)?;
    let bytes = size_of::<uapi::IovaRangeElm>().saturating_mul(cmd.num_iovas as usize);
    let mut input = UserSlice::new(user::ptr(cmd.allowed_iovas), bytes).reader();
    let mut allowed = Allowed::new();
    for count in 0..cmd.num_iovas {
        let elm: uapi::IovaRangeElm = input.read()?;
        if count == MAX_ALLOWED_RANGES {
            return Err(Reason::IoasManyRanges.with(MAX_ALLOWED_RANGES.into()));
        }
        let range = IovaRange::new(elm.start, elm.last).filter(|r| r.start() != r.last());
        let bad = Reason::IoasBadRange.with(count.into());
        allowed
            .add(Vacancy::new()?, range.ok_or(bad)?)
            .map_err(|()| bad)?;
    }
    ioas.allow(allowed)
}

/// Returns the permissions that the flags of MAP, MAP_FILE and COPY stand for. Returns `EINVAL` if
/// there is none.
fn prot_of(flags: u32) -> Result<Prot> {
    let prot = Prot {
        read: flags & uapi::map::READABLE != 0,
        write: flags & uapi::map::WRITEABLE != 0,
        mmio: false,
    };
    if prot.read || prot.write {
        Ok(prot)
    } else {
        Err(Reason::MapNoPermission.with(0))
    }
}

fn check_map_flags(flags: u32) -> Result {
    const KNOWN: u32 = uapi::map::FIXED_IOVA | uapi::map::WRITEABLE | uapi::map::READABLE;

    if flags & !KNOWN != 0 {
        Err(Reason::CommandFlags.with((flags & !KNOWN).into()))
    } else {
        Ok(())
    }
}

fn placement_of(flags: u32, iova: u64) -> Placement {
    if flags & uapi::map::FIXED_IOVA != 0 {
        Placement::Fixed(iova)
    } else {
        Placement::Anywhere
    }
}

/// Returns `EOVERFLOW` if a number is `u64::MAX`, which no address or length may be.
fn check_numbers(numbers: &[u64]) -> Result {
    if numbers.contains(&u64::MAX) {
        Err(Reason::CommandOverflow.with(u64::MAX))
    } else {
        Ok(())
    }
}

/// Returns a range of addresses. Returns `EINVAL` if it is empty, and `EOVERFLOW` if it passes the
/// end of 64 bits.
fn range_of(start: u64, length: u64) -> Result<IovaRange> {
    IovaRange::from_len(start, length).because(Reason::CommandRange, start)
}

/// What IOMMU_IOAS_MAP or IOMMU_IOAS_MAP_FILE asks for.
struct Wanted {
    ioas_id: u32,
    flags: u32,
    reserved: u32,
    /// The IOVA, which is replaced by the one that was chosen.
    iova: u64,
    length: u64,
    /// The file's descriptor, or `None` for the caller's memory.
    fd: Option<i32>,
    /// The address of the memory, or the offset into the file, in bytes.
    start: u64,
}

/// IOMMU_IOAS_MAP.
pub(crate) fn map(ctx: &Ctx, mut cmd: uapi::IoasMap, user: &UserStruct) -> Result {
    let wanted = Wanted {
        ioas_id: cmd.ioas_id,
        flags: cmd.flags,
        reserved: cmd.__reserved,
        iova: cmd.iova,
        length: cmd.length,
        fd: None,
        start: cmd.user_va,
    };
    map_memory(ctx, wanted, &mut |iova| {
        cmd.iova = iova;
        user.write_field(&cmd, |cmd| &cmd.iova)
    })
}

/// IOMMU_IOAS_MAP_FILE.
pub(crate) fn map_file(ctx: &Ctx, mut cmd: uapi::IoasMapFile, user: &UserStruct) -> Result {
    let wanted = Wanted {
        ioas_id: cmd.ioas_id,
        flags: cmd.flags,
        reserved: 0,
        iova: cmd.iova,
        length: cmd.length,
        fd: Some(cmd.fd),
        start: cmd.start,
    };
    map_memory(ctx, wanted, &mut |iova| {
        cmd.iova = iova;
        user.write_field(&cmd, |cmd| &cmd.iova)
    })
}

/// Maps memory, and tells user space the IOVA.
fn map_memory(ctx: &Ctx, wanted: Wanted, commit: Commit<'_>) -> Result {
    ctx.latencies().watch(
        Timed::Map,
        wanted,
        move |wanted| {
            let result = map_wanted(ctx, wanted, commit);
            if result.is_ok() {
                ctx.counters().maps.fetch_add(1, Relaxed);
            }
            result
        },
        move |wanted, result| trace::Map {
            context: ctx.id(),
            ioas: wanted.ioas_id,
            iova: wanted.iova,
            length: wanted.length,
            fd: wanted.fd.unwrap_or(-1),
            start: wanted.start,
            flags: wanted.flags,
            error: trace::errno(result),
        },
    )
}

#[inline(always)]
fn map_wanted(ctx: &Ctx, wanted: &mut Wanted, commit: Commit<'_>) -> Result {
    check_map_flags(wanted.flags)?;
    if wanted.reserved != 0 {
        return Err(Reason::CommandReserved.with(wanted.reserved.into()));
    }
    check_numbers(&[wanted.iova, wanted.length])?;
    let prot = prot_of(wanted.flags)?;
    let ioas: Ref<Ioas> = ctx.objects().get(wanted.ioas_id)?;
    let (start, length) = (wanted.start, wanted.length);
    let account = ctx.account();
    let (pages, start) = match wanted.fd {
        None => Pages::from_user(start, length, prot.write, account),
        Some(fd) => Pages::from_file(fd, start, length, prot.write, account),
    }?;
    let slice = Slice {
        pages,
        start,
        length,
    };
    let part = Part::new(Part::vacancy()?, slice);
    let placement = placement_of(wanted.flags, wanted.iova);
    let mut commit = |iova| {
        wanted.iova = iova;
        commit(iova)
    };
    let commit = untold(placement, &mut commit);
    ioas.map(Chunks::from(part), length, placement, prot, commit)
}

/// Calls `commit` with a fixed IOVA, before anything is mapped. Returns `None` if that succeeds. Otherwise returns
/// `commit`, for [`Ioas::map`] to call last: if the answer cannot be written, any other error of the call comes first.
#[inline(always)]
fn untold(placement: Placement, commit: Commit<'_>) -> Option<Commit<'_>> {
    match placement {
        Placement::Fixed(iova) if commit(iova).is_ok() => None,
        _ => Some(commit),
    }
}

/// IOMMU_IOAS_COPY.
pub(crate) fn copy(ctx: &Ctx, mut cmd: uapi::IoasCopy, user: &UserStruct) -> Result {
    let result = copy_slices(ctx, &mut cmd, user);
    if result.is_ok() {
        ctx.counters().maps.fetch_add(1, Relaxed);
    }
    emit(|| trace::Copied {
        context: ctx.id(),
        src_ioas: cmd.src_ioas_id,
        src_iova: cmd.src_iova,
        dst_ioas: cmd.dst_ioas_id,
        dst_iova: cmd.dst_iova,
        length: cmd.length,
        flags: cmd.flags,
        error: trace::errno(&result),
    });
    result
}

fn copy_slices(ctx: &Ctx, cmd: &mut uapi::IoasCopy, user: &UserStruct) -> Result {
    check_map_flags(cmd.flags)?;
    check_numbers(&[cmd.length, cmd.src_iova, cmd.dst_iova])?;
    let prot = prot_of(cmd.flags)?;
    let src: Ref<Ioas> = ctx.objects().get(cmd.src_ioas_id)?;
    let parts = src.parts(range_of(cmd.src_iova, cmd.length)?)?;
    drop(src);
    let dst: Ref<Ioas> = ctx.objects().get(cmd.dst_ioas_id)?;
    let placement = placement_of(cmd.flags, cmd.dst_iova);
    let length = cmd.length;
    let mut commit = |iova| {
        cmd.dst_iova = iova;
        user.write_field(cmd, |cmd| &cmd.dst_iova)
    };
    dst.map(
        parts,
        length,
        placement,
        prot,
        untold(placement, &mut commit),
    )
}

/// IOMMU_IOAS_UNMAP.
pub(crate) fn unmap(ctx: &Ctx, cmd: uapi::IoasUnmap, user: &UserStruct) -> Result {
    let length = cmd.length;
    ctx.latencies().watch(
        Timed::Unmap,
        (cmd, 0),
        move |(cmd, unmapped)| {
            let result = unmap_range(ctx, cmd, user, unmapped);
            if *unmapped != 0 {
                ctx.counters().unmaps.fetch_add(1, Relaxed);
            }
            result
        },
        move |&(ref cmd, unmapped), result| trace::Unmap {
            context: ctx.id(),
            ioas: cmd.ioas_id,
            iova: cmd.iova,
            length,
            unmapped,
            error: trace::errno(result),
        },
    )
}

/// Adds the number of bytes that were unmapped to `unmapped`, also on failure.
#[inline(always)]
fn unmap_range(
    ctx: &Ctx,
    cmd: &mut uapi::IoasUnmap,
    user: &UserStruct,
    unmapped: &mut u64,
) -> Result {
    let ioas: Ref<Ioas> = ctx.objects().get(cmd.ioas_id)?;
    let result = if cmd.iova == 0 && cmd.length == u64::MAX {
        ioas.unmap_all(unmapped)
    } else {
        check_numbers(&[cmd.iova, cmd.length])?;
        let within = range_of(cmd.iova, cmd.length)?;
        let result = ioas.unmap(within, unmapped);
        if result.is_ok() && *unmapped == 0 {
            return Err(Reason::UnmapNothing.with(cmd.iova));
        }
        result
    };
    // The number of unmapped bytes is reported also if unmapping has failed halfway.
    cmd.length = *unmapped;
    let report = || user.write_field(cmd, |cmd| &cmd.length);
    match result {
        Ok(()) => report(),
        Err(error) => {
            // Why it has failed is the answer, also if the number cannot be written.
            if *unmapped != 0 {
                let _ = report();
            }
            Err(error)
        }
    }
}

/// IOMMU_OPTION.
pub(crate) fn option(ctx: &Ctx, mut cmd: uapi::Option_, user: &UserStruct) -> Result {
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    let op = u32::from(cmd.op);
    match cmd.option_id {
        uapi::option::RLIMIT_MODE => {
            if cmd.object_id != 0 {
                return Err(Reason::OptionObject.with(cmd.object_id.into()));
            }
            match op {
                uapi::option::GET => cmd.val64 = u64::from(ctx.process_accounting()),
                uapi::option::SET => return set_rlimit_mode(ctx, &cmd, user),
                _ => return Err(Reason::OptionOperation.with(op.into())),
            }
        }
        uapi::option::HUGE_PAGES => {
            let ioas: Ref<Ioas> = ctx.objects().get(cmd.object_id)?;
            match op {
                uapi::option::GET => cmd.val64 = u64::from(ioas.large_pages()),
                uapi::option::SET => {
                    let large = bool_of(cmd.val64)?;
                    // `Ioas::space` is held while the answer is written.
                    let answer = user.field_range(offset_of!(uapi::Option_, val64));
                    return retry_faults(&[answer], || {
                        ioas.set_large_pages(large, || user.write_field(&cmd, |cmd| &cmd.val64))
                    });
                }
                _ => return Err(Reason::OptionOperation.with(op.into())),
            }
        }
        _ => return Err(Reason::OptionUnknown.with(cmd.option_id.into())),
    }
    user.write_field(&cmd, |cmd| &cmd.val64)
}

fn set_rlimit_mode(ctx: &Ctx, cmd: &uapi::Option_, user: &UserStruct) -> Result {
    if !may_change_limits() {
        return Err(Reason::OptionPrivilege.with(0));
    }
    ctx.set_process_accounting(|| {
        let process = bool_of(cmd.val64)?;
        user.write_field(cmd, |cmd| &cmd.val64)?;
        Ok(process)
    })
}

fn bool_of(value: u64) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reason::OptionValue.with(value)),
    }
}
