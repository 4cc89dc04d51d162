// SPDX-License-Identifier: GPL-2.0-only

//! The VFIO type1 container spoken on `/dev/iommu`, for programs and for vfio's group interface.
//!
//! A container's ioctls name no address space: they are about the context's compat IOAS, which is
//! the object that the table has marked. The first VFIO group that joins makes one, unless user
//! space chose one before; it is an object like any other. Groups without an IOMMU join contexts
//! that have none, and keep others out.
//!
//! This module keeps no state and takes no locks of its own.

mod info;
pub(crate) mod ioctl;

use kernel::{
    prelude::*,
    transmute::FromBytes,
    uaccess::UserSlice, //
};

use crate::{
    ioas::Ioas,
    object::{
        Ctx,
        Ref, //
    }, //
};

/// The context's compat IOAS. `ENODEV` where it has none.
fn compat_ioas(ctx: &Ctx) -> Result<Ref<Ioas>> {
    ctx.objects().marked().ok_or(ENODEV)
}

/// Reads a struct of the size that it has in the header, whatever size it says itself. `EFAULT`.
fn read<T: FromBytes>(arg: UserPtr) -> Result<T> {
    UserSlice::new(arg, size_of::<T>()).reader().read()
}

/// The id of the compat IOAS. `ENODEV` where there is none.
pub(crate) fn ioas_id(ctx: &Ctx) -> Result<u32> {
    Ok(compat_ioas(ctx)?.id())
}

/// Makes the compat IOAS unless there is one: a group with an IOMMU joins. `EINVAL` where a group
/// without one has joined before, `ENOMEM`.
pub(crate) fn join(ctx: &Ctx) -> Result {
    let ioas = ctx.objects().reserve()?.fill(Ioas::new())?;
    ioas.publish_as_marked(|| if ctx.no_iommu() { Err(EINVAL) } else { Ok(()) })
}

/// A group without an IOMMU joins. `EINVAL` where there is a compat IOAS.
pub(crate) fn join_without_iommu(ctx: &Ctx) -> Result {
    ctx.set_no_iommu().map_err(|_| EINVAL)
}
