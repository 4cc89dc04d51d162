// SPDX-License-Identifier: GPL-2.0-only

//! The VFIO type1 container interface of `/dev/iommu`, for programs and for the group interface of
//! vfio.
//!
//! The ioctls of a container do not name an address space. They use the compat IOAS of the context,
//! which is the marked object of the table. The first VFIO group that joins the context makes one
//! unless user space has selected one before. Groups with and without an IOMMU cannot be in the
//! same context.
//!
//! This module has no state and no locks of its own.

mod info;
pub(crate) mod ioctl;

use kernel::{
    prelude::*,
    transmute::FromBytes,
    uaccess::UserSlice, //
};

use crate::{
    ioas::Ioas,
    kapi::reason::{
        Reason,
        Result, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

/// Returns the compat IOAS of the context, or `ENODEV` if it has none.
fn compat_ioas(ctx: &Ctx) -> Result<Ref<Ioas>> {
    ctx.objects().marked().ok_or(Reason::ContainerNone.with(0))
}

/// Reads a struct with the size that it has in our header. Returns `EFAULT`.
fn read<T: FromBytes>(arg: UserPtr) -> Result<T> {
    Ok(UserSlice::new(arg, size_of::<T>()).reader().read()?)
}

/// Returns the id of the compat IOAS, or `ENODEV` if there is none.
pub(crate) fn ioas_id(ctx: &Ctx) -> Result<u32> {
    Ok(compat_ioas(ctx)?.id())
}

/// Makes the compat IOAS unless there is one, because a group with an IOMMU joins. Returns `EINVAL`
/// if a group without an IOMMU has joined before, and `ENOMEM`.
pub(crate) fn join(ctx: &Ctx) -> Result {
    let ioas = ctx.objects().reserve()?.fill(Ioas::new())?;
    ioas.publish_as_marked(|| {
        if ctx.no_iommu() {
            Err(Reason::ContainerNoIommu.with(0))
        } else {
            Ok(())
        }
    })
}

/// Lets a group without an IOMMU join. Returns `EINVAL` if there is a compat IOAS.
pub(crate) fn join_without_iommu(ctx: &Ctx) -> Result {
    ctx.set_no_iommu()
        .map_err(|refusal| refusal.with_error(EINVAL))
}
