// SPDX-License-Identifier: GPL-2.0-only

//! Mapping into a process what a vIOMMU's driver offers of its device's memory.

use kernel::{
    mm::virt::{
        flags,
        VmaNew, //
    },
    prelude::*, //
};

use crate::{
    kapi::mm::vma,
    object::Ctx, //
};

/// mmap() of a context: an offer as a whole, shared, and never to be executed. The vIOMMU cannot be
/// destroyed while a part of it is mapped. `EINVAL` for a private mapping, `EPERM` for one to
/// execute, `ENXIO` where nothing is offered that has this offset and length, `ENOMEM`. Called with
/// the mmap lock held.
pub(crate) fn map(ctx: &Ctx, vma: &VmaNew) -> Result {
    if vma.flags() & flags::SHARED == 0 {
        return Err(EINVAL);
    }
    vma.try_clear_mayexec().map_err(|_| EPERM)?;
    let offset = vma::offset(vma).ok_or(ENXIO)?;
    let (owner, memory) = ctx
        .offers()
        .get(offset, |id| ctx.objects().get_any(id).map_err(|_| ENXIO))?;
    memory.map(vma, owner.into_shared())
}
