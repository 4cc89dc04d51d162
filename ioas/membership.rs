// SPDX-License-Identifier: GPL-2.0-only

//! Which domains have which areas while a domain joins or leaves an address space.
//!
//! A domain that joins is filled area by area, and one that leaves is emptied area by area, while
//! other areas are mapped and unmapped. Each area keeps in a [`Followed`] which changes it has
//! followed, so [`Membership::has`] says at any time whether a domain has it:
//!
//! ```text
//!            begin_join()          end()                  leave()               end()
//!   (free) -------------> Joining -------> Full member --------------> Leaving -------> (free)
//!                            |                                                            ^
//!                            | begin_undo()                   end()                       |
//!                            +-------------> Undoing -------------------------------------+
//!
//!   an area                  has the domain, while it is
//!                            Joining        Undoing       Leaving       a full member
//!   that existed before      once followed  until followed  until followed  yes
//!   made meanwhile           yes            no            no            yes
//! ```
//!
//! One domain joins or leaves at a time. The change ends when no area is behind it. A domain that is to
//! leave meanwhile begins to when the change ends.
//!
//! A domain that joins is filled by the task that adds it. The work on one that leaves, or is undone, is
//! done by one task at a time, and may be handed over to another: [`Membership::take_work`].
//!
//! Pure logic. Protected by `Ioas::space` (rank 25).

use kernel::prelude::*;

/// The last change of the domains that an area has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed(u64);

/// Where the domain that joins or leaves is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No domain joins or leaves.
    Settled,
    /// The domain of this slot joins.
    Joining(usize),
    /// The domain of this slot has failed to join.
    Undoing(usize),
    /// The domain of this slot leaves.
    Leaving(usize),
}

/// The domains of an address space.
///
/// # Invariants
///
/// - The slot that `stage` names has a domain.
/// - If no domain joins or leaves, none is to leave.
/// - No area has followed a change later than `change`. If no domain joins, `change` is not below
///   that of any area; while one does, an area has followed `change` exactly if the domain has it.
pub(crate) struct Membership<D> {
    /// A domain keeps its slot as long as an area has it, so a task that works on an area can go
    /// from slot to slot without a lock.
    slots: KVVec<Option<Member<D>>>,
    /// No domain has a lower slot.
    first: usize,
    /// No lower slot is free.
    first_free: usize,
    /// The number of domains that are to leave and do not yet.
    to_leave: usize,
    stage: Stage,
    /// A task works on the domain that leaves, or is undone.
    working: bool,
    /// Where the next task goes on with that: no area that ends before this address is behind.
    from: u64,
    /// The number of the present change, or of the last one. The first is 1: see `follow`.
    change: u64,
}

/// The domain of a slot.
struct Member<D> {
    domain: D,
    /// It leaves when the present change ends.
    to_leave: bool,
}

/// The work on a domain that leaves, or has failed to join: to empty it of the areas that are behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Work<D> {
    /// The domain.
    pub(crate) domain: D,
    /// No area that ends before this address is behind.
    pub(crate) from: u64,
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

impl<D: Clone> Membership<D> {
    /// Creates an empty set.
    pub(crate) const fn new() -> Self {
        Self {
            slots: KVVec::new(),
            first: 0,
            first_free: 0,
            to_leave: 0,
            stage: Stage::Settled,
            working: false,
            from: 0,
            change: 1,
        }
    }

    /// Returns true if no domain joins or leaves.
    pub(crate) fn is_settled(&self) -> bool {
        self.stage == Stage::Settled
    }

    /// Returns true if there is no domain, not even one that joins or leaves.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the domains from `slot` on, also one that joins or leaves, and their slots.
    fn from(&self, slot: usize) -> impl Iterator<Item = (usize, &D)> {
        let slots = self.slots.iter().enumerate().skip(slot.max(self.first));
        slots.filter_map(|(slot, member)| Some((slot, &member.as_ref()?.domain)))
    }

    /// Returns the domains, also one that joins or leaves.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &D> {
        self.from(0).map(|(_, domain)| domain)
    }

    /// Returns the domains that have every area.
    pub(crate) fn full(&self) -> impl Iterator<Item = &D> {
        let changing = self.changing();
        self.from(0)
            .filter(move |(slot, _)| Some(*slot) != changing)
            .map(|(_, domain)| domain)
    }

    /// Returns the slot of the domain that joins or leaves.
    fn changing(&self) -> Option<usize> {
        match self.stage {
            Stage::Settled => None,
            Stage::Joining(slot) | Stage::Undoing(slot) | Stage::Leaving(slot) => Some(slot),
        }
    }

    /// Returns true if a domain other than the one that joins or leaves has every area.
    pub(crate) fn has_full(&self) -> bool {
        self.full().next().is_some()
    }

    /// Returns what a new area has followed.
    pub(crate) fn up_to_date(&self) -> Followed {
        match self.stage {
            Stage::Undoing(_) => Followed(self.change - 1),
            _ => Followed(self.change),
        }
    }

    /// Returns true if an area has not followed the present change, for which it must be filled
    /// into the domain, or emptied from it.
    pub(crate) fn is_behind(&self, followed: Followed) -> bool {
        match self.stage {
            Stage::Settled => false,
            Stage::Joining(_) | Stage::Leaving(_) => followed.0 != self.change,
            Stage::Undoing(_) => followed.0 == self.change,
        }
    }

    /// Returns true if the domain of a slot has an area.
    fn has(&self, slot: usize, followed: Followed) -> bool {
        match self.stage {
            Stage::Joining(changing) | Stage::Undoing(changing) if changing == slot => {
                followed.0 == self.change
            }
            Stage::Leaving(changing) if changing == slot => followed.0 != self.change,
            _ => true,
        }
    }

    /// Returns the domains from `slot` on that have an area, and their slots.
    fn having(&self, slot: usize, followed: Followed) -> impl Iterator<Item = (usize, &D)> {
        self.from(slot)
            .filter(move |(slot, _)| self.has(*slot, followed))
    }

    /// Returns the first domain from `slot` on that has an area.
    pub(crate) fn next(&self, slot: usize, followed: Followed) -> Option<Next<D>> {
        let mut having = self.having(slot, followed);
        let (slot, domain) = having.next()?;
        Some(Next {
            slot,
            domain: domain.clone(),
            more: having.next().is_some(),
        })
    }

    /// Returns true if a domain has an area. Then its memory is pinned.
    pub(crate) fn is_pinned(&self, followed: Followed) -> bool {
        self.having(0, followed).next().is_some()
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
        self.first = self.first.min(slot);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Member {
                domain,
                to_leave: false,
            });
        }
        self.stage = Stage::Joining(slot);
        self.change += 1;
        Ok(())
    }

    /// Begins to remove the domain that joins. The areas that it has are behind then.
    pub(crate) fn begin_undo(&mut self) {
        if let Stage::Joining(slot) = self.stage {
            self.stage = Stage::Undoing(slot);
            self.from = 0;
        }
    }

    /// Has the domain leave for which `which` returns true: now if the set is settled, or else when the
    /// present change ends. Returns false if there is no such domain.
    pub(crate) fn leave(&mut self, which: impl Fn(&D) -> bool) -> bool {
        let mut members = self.slots.iter_mut().skip(self.first).flatten();
        let found = members.find(|member| which(&member.domain));
        let is_member = found.is_some();
        if let Some(member) = found {
            self.to_leave += usize::from(!member.to_leave);
            member.to_leave = true;
            self.begin_next_leave();
        }
        is_member
    }

    /// If the set is settled and a domain is to leave, begins to remove it. All areas are behind then.
    fn begin_next_leave(&mut self) {
        if !self.is_settled() || self.to_leave == 0 {
            return;
        }
        let to_leave = |member: &Option<Member<D>>| member.as_ref().is_some_and(|m| m.to_leave);
        if let Some(slot) = self.slots.iter().position(to_leave) {
            self.to_leave -= 1;
            self.stage = Stage::Leaving(slot);
            self.from = 0;
            self.change += 1;
        }
    }

    /// Returns the work on the domain that leaves, or is undone, if no task does it. The caller must do
    /// it, until it calls [`Membership::end`] or [`Membership::put_work_down`].
    ///
    /// A task that has put its work down because an area was in use by another task relies on that one
    /// to call this when it has finished.
    pub(crate) fn take_work(&mut self) -> Option<Work<D>> {
        match self.stage {
            Stage::Undoing(slot) | Stage::Leaving(slot) if !self.working => {
                let member = self.slots.get(slot)?.as_ref()?;
                self.working = true;
                Some(Work {
                    domain: member.domain.clone(),
                    from: self.from,
                })
            }
            _ => None,
        }
    }

    /// Lets another task take the work, which goes on where the caller has stopped.
    pub(crate) fn put_work_down(&mut self, work: Work<D>) {
        self.working = false;
        self.from = work.from;
    }

    /// Returns true if an area has followed the present change, or the last one.
    #[cfg(test)]
    pub(crate) fn is_last(&self, followed: Followed) -> bool {
        followed.0 == self.change
    }

    /// Returns what an area that was behind has followed after it was filled or emptied.
    pub(crate) fn follow(&self) -> Followed {
        self.up_to_date()
    }

    /// Ends the present change. No area may be behind. Returns the domain if it is no member any
    /// more. Begins to remove the next domain that is to leave, for which the caller calls
    /// [`Membership::take_work`].
    pub(crate) fn end(&mut self) -> Option<D> {
        self.working = false;
        let stage = core::mem::replace(&mut self.stage, Stage::Settled);
        let gone = match stage {
            Stage::Settled | Stage::Joining(_) => None,
            Stage::Undoing(slot) | Stage::Leaving(slot) => {
                self.first_free = self.first_free.min(slot);
                self.slots.get_mut(slot).and_then(Option::take)
            }
        };
        // Free slots at both ends would be looked at for each area.
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        while let Some(None) = self.slots.get(self.first) {
            self.first += 1;
        }
        self.first = self.first.min(self.slots.len());
        self.begin_next_leave();
        gone.map(|member| member.domain)
    }
}
