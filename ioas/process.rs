// SPDX-License-Identifier: GPL-2.0-only

//! Moving a context's mappings to another process, to which their memory is charged from then on.
//!
//! No object can be published meanwhile (`Table::publishing`, rank 18), and `Ioas::space` (rank 25)
//! of every address space is held for writing, in the order of their ids, so no area is made or
//! removed. Only this file holds more than one of these locks. `Pages::inner` (rank 30) is taken
//! inside, one at a time. What accesses and domains that join or leave pin and unpin meanwhile
//! counts for both processes.

use kernel::prelude::*;

use crate::{
    ioas::{
        pages::{
            not_charged,
            Pages, //
        },
        space::Space,
        Ioas, //
    },
    kapi::{
        mm::{
            advance::Advance,
            locked_vm::Accounting,
            usage::{
                Owner,
                Usage, //
            },
            user::UserStruct, //
        },
        reason::{
            Reason,
            Result, //
        },
        sync::{
            chunks::Chunks,
            rwsem::WriteGuard,
            shared::Shared,
            signal, //
        },
        uapi, //
    },
    object::Ctx, //
};

/// IOMMU_IOAS_CHANGE_PROCESS.
pub(crate) fn change_process(
    ctx: &Ctx,
    cmd: uapi::IoasChangeProcess,
    _user: &UserStruct,
) -> Result {
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    // Mappings may be accounted in different ways.
    let pending_owner = Usage::current_owner(ctx.usage(), Accounting::Process)?;
    let mut advance = Advance::new();
    loop {
        let ended = ctx.usage().pins_ended();
        let mut pinning = None;
        let changed = try_change(ctx, &pending_owner, &mut advance, &mut pinning);
        let refusal = match changed {
            // The caller's mmap lock is waited for here, where no lock is held.
            // If tasks that pin are the reason why it is too much, the next try finds them.
            Err(refusal) if refusal.error() == EAGAIN => match advance.pay() {
                Ok(()) | Err(ENOMEM) => continue,
                Err(error) => not_charged(&pending_owner, Accounting::Process, 0, error),
            },
            Err(refusal) => refusal,
            Ok(()) => return Ok(()),
        };
        match pinning {
            // Tasks that have charged the same pages may have made the sum exceed the limit.
            Some(pages) if refusal.reason() == Reason::MapLimit => {
                advance.give_back();
                pages.wait_for_pin()?;
            }
            // Such tasks may have ended before they were looked for.
            None if refusal.reason() == Reason::MapLimit && ctx.usage().pins_ended() != ended => {
                advance.give_back();
            }
            _ => return Err(refusal),
        }
    }
}

/// Moves the mappings, without waiting for the caller's mmap lock. Returns `EAGAIN` if it is not free, after
/// which [`Advance::pay`] pays for all of them at once: the next call needs the lock only for what is pinned
/// meanwhile. On failure, `pinning` gets memory whose pages other tasks may have charged twice meanwhile.
fn try_change(
    ctx: &Ctx,
    pending_owner: &Owner,
    advance: &mut Advance,
    pinning: &mut Option<Shared<Pages>>,
) -> Result {
    let frozen = ctx.objects().freeze();
    let ioases = frozen.all::<Ioas>()?;
    let mut spaces = Chunks::new();
    for ioas in ioases.iter() {
        spaces.push(ioas.space.write_under(frozen.guard()))?;
    }
    let spaces = Spaces(&spaces);
    spaces.check()?;
    let charge = PendingCharge(&spaces, pinning);
    let mut wanted = 0;
    let mut busy = None;
    for pages in spaces.sources() {
        signal::check_killed()?;
        let paid = busy.is_none().then_some(&mut *advance);
        match pages.charge_pending_owner(pending_owner, paid, &mut wanted) {
            Err(refusal) if refusal.error() == EAGAIN => busy = Some(refusal),
            charged => charged?,
        }
    }
    if let Some(refusal) = busy {
        advance.want(pending_owner, wanted);
        return Err(refusal);
    }
    // What is left would count in the limit of what others pin, who do not wait for it.
    advance.give_back();
    charge.commit();
    Ok(())
}

/// All address spaces of a context.
struct Spaces<'a>(&'a Chunks<WriteGuard<'a, Space>>);

impl Spaces<'_> {
    /// Checks that every mapping can be moved. Returns `EBUSY` if one is being made or destroyed,
    /// `EINVAL` if its memory is private to a process or that of a device, and `EINTR` if the
    /// caller is killed.
    fn check(&self) -> Result {
        for (range, area) in self.0.iter().flat_map(|space| space.areas.iter()) {
            signal::check_killed()?;
            if !area.is_mapped() {
                return Err(Reason::ProcessBusy.with(range.start()));
            }
            if !area.slice.pages.is_file() {
                return Err(Reason::ProcessPrivate.with(range.start()));
            }
        }
        Ok(())
    }

    /// Returns the memory of every mapping. Memory with several mappings is returned several times.
    fn sources(&self) -> impl Iterator<Item = &Shared<Pages>> {
        let areas = self.0.iter().flat_map(|space| space.areas.iter());
        areas.map(|(_, area)| &area.slice.pages)
    }
}

/// A charge of the memory to the caller, besides that to its owner. Dropping it removes that
/// charge, and keeps memory that other tasks have pinned meanwhile.
struct PendingCharge<'a>(&'a Spaces<'a>, &'a mut Option<Shared<Pages>>);

impl PendingCharge<'_> {
    /// Makes the caller the owner, and removes the charge to the old one. Cannot fail.
    fn commit(self) {
        self.0.sources().for_each(|pages| pages.commit_owner());
    }
}

impl Drop for PendingCharge<'_> {
    fn drop(&mut self) {
        for pages in self.0.sources() {
            if pages.revert_owner() {
                self.1.get_or_insert_with(|| pages.clone());
            }
        }
    }
}
