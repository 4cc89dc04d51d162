// SPDX-License-Identifier: GPL-2.0-only

//! Which domains have which areas while domains join or leave an address space.
//!
//! A domain that joins is filled area by area, and one that leaves is emptied area by area, while
//! other areas are mapped and unmapped. The changes are numbered, and each area keeps in a [`Followed`]
//! which ones it has followed, so [`Membership::has`] says at any time whether a domain has it:
//!
//! ```text
//!            begin_join()          end()                 take_work()          end()
//!   (free) -------------> Joining -------> Full member -------------> Leaving ------> Lingering
//!      ^                     |                                           ^                |
//!      |                     +-------------------------------------------+                |
//!      |                                     begin_undo()                                 |
//!      +----------------------------------------------------------------------------------+
//!                                            take_gone()
//!
//!   an area                             has the domain, while it is
//!                                       Joining        a full member  Leaving or Lingering
//!   that had it before                                 yes            until followed
//!   that did not have it before         once followed                 no
//!   made meanwhile                      yes            yes            no
//! ```
//!
//! One task at a time goes through the areas, to fill them into a domain or to empty them from one. It
//! fills all areas that are behind. It empties those that no other task works on, and passes over the
//! others: the domain *lingers* in these until each task has taken it out of its own
//! ([`Membership::next_leaving`]), or has removed its area. A domain that is to leave while a task goes
//! through the areas begins to when that task has come to the end.
//!
//! Pure logic. Protected by `Ioas::space` (rank 25).

use core::ops::Range;

use kernel::prelude::*;

use crate::kapi::{
    bug::{
        sub_or_warn,
        warn_on_once, //
    },
    units::to_usize, //
};

/// The last change of the domains that an area has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed(u64);

/// What a task goes through the areas for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No task does.
    Idle,
    /// To fill them into the domain of this slot.
    Joining(usize),
    /// To empty them from the domain of this slot, which leaves or has failed to join.
    Leaving(usize),
}

/// The domains of an address space.
///
/// # Invariants
///
/// - Only the domain of the slot that `stage` names is in [`Phase::Joining`] or [`Phase::Leaving`].
/// - When the lock is released and `stage` is [`Stage::Idle`], none is in [`Phase::ToLeave`].
/// - While a domain joins, none leaves or lingers.
/// - No area has followed a change later than `change`. Every area has followed those by which the full
///   members have joined.
/// - [`Member::behind`] is the number of areas for which [`Member::is_behind`] returns true.
pub(crate) struct Membership<D> {
    /// A domain keeps its slot as long as an area has it, so a task that works on an area can go
    /// from slot to slot without a lock.
    slots: KVVec<Option<Member<D>>>,
    /// No domain has a lower slot.
    first: u32,
    /// No lower slot is free.
    first_free: usize,
    stage: Stage,
    /// The number of domains in [`Phase::ToLeave`].
    to_leave: u32,
    /// The number of domains in [`Phase::Lingering`].
    lingering: u32,
    /// Their slots are in this range, which is empty if there are none.
    lingering_in: Range<u32>,
    /// The number of these that no area has any more.
    gone: u32,
    /// The number of areas.
    areas: u64,
    /// The number of the last change that has begun.
    change: u64,
}

/// The domain of a slot.
struct Member<D> {
    domain: D,
    /// The change by which it joined.
    joined: u64,
    phase: Phase,
    /// The number of areas that are behind.
    behind: u64,
}

/// What a domain has come to. The number is that of the change by which it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A task fills it.
    Joining,
    /// It has every area.
    Full,
    /// The same, and it leaves when no task goes through the areas any more.
    ToLeave,
    /// A task empties it.
    Leaving(u64),
    /// The only areas that have it are those that tasks worked on when it was emptied, and do still.
    Lingering(u64),
}

impl<D> Member<D> {
    /// Returns true if it has every area.
    fn is_full(&self) -> bool {
        matches!(self.phase, Phase::Full | Phase::ToLeave)
    }

    /// Returns the change by which it leaves.
    fn left(&self) -> Option<u64> {
        match self.phase {
            Phase::Leaving(left) | Phase::Lingering(left) => Some(left),
            Phase::Joining | Phase::Full | Phase::ToLeave => None,
        }
    }

    /// Returns true if it has an area.
    fn has(&self, followed: Followed) -> bool {
        self.joined <= followed.0 && self.left().is_none_or(|left| followed.0 < left)
    }

    /// Returns true if an area must be filled into it still, or emptied from it.
    fn is_behind(&self, followed: Followed) -> bool {
        match self.phase {
            Phase::Joining => !self.has(followed),
            Phase::Full | Phase::ToLeave => false,
            Phase::Leaving(_) | Phase::Lingering(_) => self.has(followed),
        }
    }

    /// Returns true if it has been emptied, but for areas that other tasks work on.
    fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering(_))
    }

    /// Returns true if it has been emptied, and no task has an area of it any more.
    fn is_gone(&self) -> bool {
        self.behind == 0 && self.is_lingering()
    }

    /// Counts one area fewer that is behind. Returns [`Member::is_gone`].
    fn caught_up(&mut self) -> bool {
        sub_or_warn!(self.behind, 1);
        self.is_gone()
    }
}

/// A domain that has an area.
pub(crate) struct Next<D> {
    /// Its slot.
    pub(crate) slot: usize,
    /// The domain.
    pub(crate) domain: D,
    /// Whether a domain of a later slot has the area, too.
    pub(crate) more: bool,
}

impl<D: Clone> Next<D> {
    /// Returns the first of these domains.
    fn of<'a>(mut domains: impl Iterator<Item = (usize, &'a Member<D>)>) -> Option<Self>
    where
        D: 'a,
    {
        let (slot, member) = domains.next()?;
        Some(Self {
            slot,
            domain: member.domain.clone(),
            more: domains.next().is_some(),
        })
    }
}

/// Returns the number of a slot in 32 bits. There is no memory for more domains.
fn number_of(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX - 1)
}

/// Returns the smallest range that contains a slot and all of `slots`, which may be empty.
fn with_slot(slots: &Range<u32>, slot: usize) -> Range<u32> {
    let slot = number_of(slot);
    match slots.is_empty() {
        true => slot..slot + 1,
        false => slots.start.min(slot)..slots.end.max(slot + 1),
    }
}

impl<D: Clone> Membership<D> {
    /// Creates an empty set.
    pub(crate) const fn new() -> Self {
        Self {
            slots: KVVec::new(),
            first: 0,
            first_free: 0,
            stage: Stage::Idle,
            to_leave: 0,
            lingering: 0,
            lingering_in: 0..0,
            gone: 0,
            areas: 0,
            change: 0,
        }
    }

    /// Returns true if no domain joins or leaves.
    pub(crate) fn is_settled(&self) -> bool {
        self.stage == Stage::Idle && self.lingering == 0
    }

    /// Returns true if there is no domain, not even one that joins or leaves.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns true if a task empties areas from a domain.
    pub(crate) fn is_emptying(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_))
    }

    /// Returns the domains from `slot` on, also those that join or leave, and their slots.
    fn from(&self, slot: usize) -> impl Iterator<Item = (usize, &Member<D>)> {
        let slots = self.slots.iter().enumerate().skip(slot.max(self.first()));
        slots.filter_map(|(slot, member)| Some((slot, member.as_ref()?)))
    }

    /// Returns the field of that name.
    fn first(&self) -> usize {
        to_usize(self.first.into())
    }

    /// Returns the slot of the first domain for which `is` returns true.
    fn find(&self, is: impl Fn(&Member<D>) -> bool) -> Option<usize> {
        let mut members = self.from(self.first());
        members.find(|(_, member)| is(member)).map(|(slot, _)| slot)
    }

    /// Returns the domains, also those that join or leave.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &D> {
        self.from(0).map(|(_, member)| &member.domain)
    }

    /// Returns the domains that have every area.
    pub(crate) fn full(&self) -> impl Iterator<Item = &D> {
        let members = self.from(0).map(|(_, member)| member);
        members
            .filter(|member| member.is_full())
            .map(|member| &member.domain)
    }

    /// Returns true if there is a domain that has every area.
    pub(crate) fn has_full(&self) -> bool {
        self.full().next().is_some()
    }

    /// Returns the domain that a task fills or empties.
    fn changing(&self) -> Option<&Member<D>> {
        match self.stage {
            Stage::Idle => None,
            Stage::Joining(slot) | Stage::Leaving(slot) => self.slots.get(slot)?.as_ref(),
        }
    }

    /// Calls `each` with the domains that join or leave, and possibly with others.
    #[inline]
    fn for_changing(&mut self, mut each: impl FnMut(&mut Member<D>)) {
        // There may be a thousand domains, and more areas than that, so no other slot is looked at.
        let Range { start, end } = self.lingering_in.clone();
        let (start, end) = (to_usize(start.into()), to_usize(end.into()));
        // The last ones may be gone.
        let last = end.min(self.slots.len());
        let lingering = self.slots.get_mut(start..last).unwrap_or_default();
        lingering.iter_mut().flatten().for_each(&mut each);
        if let Stage::Joining(slot) | Stage::Leaving(slot) = self.stage {
            let alone = !(start..end).contains(&slot);
            if let Some(Some(member)) = self.slots.get_mut(slot).filter(|_| alone) {
                each(member);
            }
        }
    }

    /// Returns the last change. A new area has followed it.
    pub(crate) fn up_to_date(&self) -> Followed {
        Followed(self.change)
    }

    /// Returns true if the task that fills or empties a domain has to do so with this area.
    pub(crate) fn is_behind(&self, followed: Followed) -> bool {
        self.changing()
            .is_some_and(|member| member.is_behind(followed))
    }

    /// Returns the domains from `slot` on that have an area, and their slots.
    fn having(&self, slot: usize, followed: Followed) -> impl Iterator<Item = (usize, &Member<D>)> {
        self.from(slot)
            .filter(move |(_, member)| member.has(followed))
    }

    /// Returns the first domain from `slot` on that has an area.
    #[inline]
    pub(crate) fn next(&self, slot: usize, followed: Followed) -> Option<Next<D>> {
        if self.is_empty() {
            return None;
        }
        Next::of(self.having(slot, followed))
    }

    /// Returns the first domain from `slot` on that has an area, and leaves by a change up to `until`.
    ///
    /// A task that has worked on an area takes it out of these domains until there are none. Only then it
    /// lets other tasks work on the area, and the lock is held from the one to the other.
    pub(crate) fn next_leaving(
        &self,
        slot: usize,
        followed: Followed,
        until: Followed,
    ) -> Option<Next<D>> {
        if !self.is_emptying() && self.lingering == 0 {
            return None;
        }
        let having = self.having(slot, followed);
        Next::of(having.filter(|(_, member)| member.left().is_some_and(|left| left <= until.0)))
    }

    /// Returns true if a domain has an area. Then its memory is pinned.
    pub(crate) fn is_pinned(&self, followed: Followed) -> bool {
        self.having(0, followed).next().is_some()
    }

    /// Counts an area that was made, or is the second part of one that was cut.
    #[inline]
    pub(crate) fn add_area(&mut self, followed: Followed) {
        self.areas += 1;
        if !self.is_settled() {
            self.add_behind(followed);
        }
    }

    /// Counts an area that was added for the domains that join or leave.
    #[inline(never)]
    fn add_behind(&mut self, followed: Followed) {
        self.for_changing(|member| member.behind += u64::from(member.is_behind(followed)));
    }

    /// Counts an area fewer.
    #[inline]
    pub(crate) fn remove_area(&mut self, followed: Followed) {
        sub_or_warn!(self.areas, 1);
        if !self.is_settled() {
            self.remove_behind(followed);
        }
    }

    /// Counts an area that was removed for the domains that join or leave.
    #[inline(never)]
    fn remove_behind(&mut self, followed: Followed) {
        let mut gone = 0;
        self.for_changing(|member| {
            if member.is_behind(followed) {
                gone += u32::from(member.caught_up());
            }
        });
        self.gone += gone;
    }

    /// Counts that an area has followed more changes than before.
    pub(crate) fn follow(&mut self, before: Followed, now: Followed) {
        let mut gone = 0;
        self.for_changing(|member| {
            if member.is_behind(before) && !member.is_behind(now) {
                gone += u32::from(member.caught_up());
            }
        });
        self.gone += gone;
    }

    /// Returns the number of areas.
    pub(crate) fn areas(&self) -> u64 {
        self.areas
    }

    /// Begins to add a domain. All areas are behind then. The set must be settled. Returns
    /// `ENOMEM`, and then nothing has changed.
    pub(crate) fn begin_join(&mut self, domain: D) -> Result {
        let mut slots = self.slots.iter().enumerate().skip(self.first_free);
        let free = slots.find(|(_, member)| member.is_none());
        let slot = free.map_or(self.slots.len(), |(slot, _)| slot);
        if free.is_none() {
            self.slots.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        self.first_free = slot + 1;
        self.first = self.first.min(number_of(slot));
        self.change += 1;
        let place = self.slots.get_mut(slot);
        warn_on_once!(place.is_none());
        if let Some(place) = place {
            *place = Some(Member {
                domain,
                joined: self.change,
                phase: Phase::Joining,
                behind: self.areas,
            });
        }
        self.stage = Stage::Joining(slot);
        Ok(())
    }

    /// Begins to remove the domain that joins. The areas that it has are behind then.
    pub(crate) fn begin_undo(&mut self) {
        let Stage::Joining(slot) = self.stage else {
            warn_on_once!(true);
            return;
        };
        self.begin_leave(slot);
    }

    /// Begins to remove the domain of a slot. The areas that it has are behind then.
    fn begin_leave(&mut self, slot: usize) {
        self.change += 1;
        self.stage = Stage::Leaving(slot);
        let member = self.slots.get_mut(slot).and_then(Option::as_mut);
        warn_on_once!(member.is_none());
        if let Some(member) = member {
            let mut having = self.areas;
            sub_or_warn!(having, member.behind);
            member.behind = having;
            member.phase = Phase::Leaving(self.change);
        }
    }

    /// Has the full member leave for which `which` returns true. Returns false if there is none. The
    /// caller then calls [`Membership::take_work`].
    pub(crate) fn leave(&mut self, which: impl Fn(&D) -> bool) -> bool {
        let first = self.first();
        let mut members = self.slots.iter_mut().skip(first).flatten();
        let found = members.find(|m| m.phase == Phase::Full && which(&m.domain));
        let is_member = found.is_some();
        if let Some(member) = found {
            member.phase = Phase::ToLeave;
            self.to_leave += 1;
        }
        is_member
    }

    /// If a domain is to leave and no task goes through the areas, begins to remove it. All areas are
    /// behind then. The caller must empty them, until it calls [`Membership::end`].
    pub(crate) fn take_work(&mut self) -> Option<D> {
        if self.stage != Stage::Idle || self.to_leave == 0 {
            return None;
        }
        let slot = self.find(|member| member.phase == Phase::ToLeave);
        warn_on_once!(slot.is_none());
        let slot = slot?;
        self.to_leave -= 1;
        self.begin_leave(slot);
        self.changing().map(|member| member.domain.clone())
    }

    /// The task that went through the areas has come to the end. If a domain joins, no area may be
    /// behind; if one leaves, only areas may that other tasks work on. The caller calls
    /// [`Membership::take_work`] and [`Membership::take_gone`].
    pub(crate) fn end(&mut self) {
        let stage = core::mem::replace(&mut self.stage, Stage::Idle);
        let (Stage::Joining(slot) | Stage::Leaving(slot)) = stage else {
            warn_on_once!(true);
            return;
        };
        let Some(Some(member)) = self.slots.get_mut(slot) else {
            warn_on_once!(true);
            return;
        };
        if let Phase::Leaving(left) = member.phase {
            member.phase = Phase::Lingering(left);
            self.lingering += 1;
            self.lingering_in = with_slot(&self.lingering_in, slot);
            self.gone += u32::from(member.is_gone());
        } else {
            warn_on_once!(member.behind != 0);
            member.phase = Phase::Full;
        }
    }

    /// Removes a domain that has left, and that no area has any more. Returns it.
    pub(crate) fn take_gone(&mut self) -> Option<D> {
        if self.gone == 0 {
            return None;
        }
        let slot = self.find(Member::is_gone);
        warn_on_once!(slot.is_none());
        let slot = slot?;
        let member = self.slots.get_mut(slot).and_then(Option::take);
        self.gone -= 1;
        self.lingering -= 1;
        // One may linger for as long as an area is worked on, and others beside it come and go.
        let mut lingering_in = 0..0;
        if self.lingering != 0 {
            let lingering = self.from(0).filter(|(_, member)| member.is_lingering());
            lingering_in = lingering.fold(0..0, |slots, (slot, _)| with_slot(&slots, slot));
        }
        self.lingering_in = lingering_in;
        self.first_free = self.first_free.min(slot);
        // Free slots at both ends would be looked at for each area.
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        while let Some(None) = self.slots.get(self.first()) {
            self.first += 1;
        }
        self.first = self.first.min(number_of(self.slots.len()));
        member.map(|member| member.domain)
    }

    /// Returns true if an area has followed the last change.
    #[cfg(test)]
    pub(crate) fn is_last(&self, followed: Followed) -> bool {
        followed.0 == self.change
    }
}
