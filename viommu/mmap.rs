// SPDX-License-Identifier: GPL-2.0-only

//! Which memory a process may map: what the drivers of vIOMMUs offer of their devices.

use kernel::{
    mm::virt::{
        flags,
        VmaNew, //
    },
    prelude::*, //
};

use crate::{
    kapi::{
        bug::some_or_warn,
        mm::vma::{
            self,
            DeviceMemory, //
        },
        reason::{
            Reason,
            Result, //
        },
        sync::shared::SharedAny, //
    },
    object::Ctx, //
};

/// Returns the memory that a VMA of the context's file is to map, together with its owner, which
/// the VMA must hold. An offer is mapped as a whole, shared, and never to be executed.
///
/// Returns `EINVAL` for a private mapping, `EPERM` for one to execute, and `ENXIO` if nothing is
/// offered at this offset. Called with the mmap lock held.
pub(crate) fn find(ctx: &Ctx, vma: &VmaNew) -> Result<(SharedAny, DeviceMemory)> {
    if vma.flags() & flags::SHARED == 0 {
        return Err(Reason::MmapPrivate.with(0));
    }
    vma.try_clear_mayexec()
        .map_err(|_| Reason::MmapExecutable.with(0))?;
    let offset = vma::offset(vma).ok_or(Reason::MmapOffset.with(u64::MAX))?;
    let (owner, memory) = ctx.offers().get(offset, |id| {
        let owner = ctx.objects().get_any(id);
        let owner = owner.map_err(|refusal| refusal.with_error(ENXIO))?;
        some_or_warn!(owner.into_shared())
    })?;
    Ok((owner, memory))
}
