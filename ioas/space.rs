// SPDX-License-Identifier: GPL-2.0-only

//! The IOVAs of an address space: areas, reserved ranges and allowed ranges; and its domains.
//!
//! Protected by `Ioas::space` (rank 25).

use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::Arc, //
};

use crate::{
    ioas::{
        allowed::Allowed,
        area::{
            Area,
            State, //
        },
        behind::{
            Follower,
            MOST_LOOKS, //
        },
        domains::{
            id_of,
            Domains, //
        },
        interval::{
            IntervalMap,
            Vacancy, //
        },
        iova_alloc::{
            self,
            Search, //
        },
        membership::Followed,
        reserved::Reserved, //
    },
    kapi::{
        bug::{
            debug_warn_on_once,
            sub_or_warn,
            warn_on_once, //
        },
        iommu::domain::Domain,
        reason::{
            Reason,
            Result, //
        },
        sync::range_tree::Removed,
        units::{
            to_u64,
            IovaRange,
            IovaUnit,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// See the module.
pub(crate) struct Space {
    /// The domains that have the areas, and what else uses them.
    pub(crate) domains: Domains,
    /// The areas. They are added, removed and split by the functions of [`Space`] only.
    pub(crate) areas: IntervalMap<IovaUnit, Area>,
    /// The number of areas by the alignment that they have, for each power of two below a page. If it
    /// does not fit, it stays the largest.
    unaligned: [u32; PAGE_SHIFT as usize],
    /// The addresses that devices and domains cannot use. No area has one of them.
    reserved: Reserved,
    /// Whether some of them are reserved as long as the address space exists.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    reserved_for_good: bool,
    /// The apertures of the domains, and the alignments that they need, by the address of the domain,
    /// which is compared only.
    needs: RBTree<usize, (IovaRange, u64)>,
    /// The ranges that must not be reserved. If there are none, all may be.
    allowed: Allowed,
    /// The alignment of addresses and lengths in bytes: a power of two, at most a page.
    pub(crate) alignment: u64,
}

impl Space {
    /// Creates an address space without areas, in which nothing is reserved.
    pub(crate) fn new() -> Self {
        Self {
            domains: Domains::new(),
            areas: IntervalMap::new(),
            unaligned: [0; PAGE_SHIFT as usize],
            reserved: Reserved::new(),
            #[cfg(CONFIG_IOMMUFD_RS_TEST)]
            reserved_for_good: false,
            needs: RBTree::new(),
            allowed: Allowed::new(),
            alignment: 1,
        }
    }

    /// Adds an area. Returns it and changes nothing if part of the range is taken.
    pub(crate) fn insert(
        &mut self,
        vacancy: Vacancy<IovaUnit, Area>,
        range: IovaRange,
        area: Area,
    ) -> Result<(), Area> {
        let alignment = area.alignment(range);
        let followed = area.followed();
        self.areas.insert(vacancy, range, area)?;
        self.count(alignment);
        self.domains.members.add_area(followed);
        Ok(())
    }

    /// Removes the area with exactly this range.
    pub(crate) fn remove(&mut self, range: IovaRange) -> Option<Area> {
        let area = self.areas.remove(range)?;
        self.uncount(area.alignment(range));
        self.domains.members.remove_area(area.followed());
        Some(area)
    }

    /// Removes the first area that intersects `within`. See [`IntervalMap::take_first_in`].
    pub(crate) fn take_first_in<E>(
        &mut self,
        within: IovaRange,
        check: impl FnOnce(IovaRange, &mut Area) -> Result<(), E>,
    ) -> Option<Result<Removed<IovaUnit, Area>, E>> {
        let taken = self.areas.take_first_in(within, check);
        if let Some(Ok(taken)) = &taken {
            let area = taken.value();
            self.uncount(area.alignment(taken.range()));
            self.domains.members.remove_area(area.followed());
        }
        taken
    }

    /// Splits the area at `range` before `at`, which is in it and not its start. The second part is
    /// `tail`. Returns `tail` and changes nothing if there is no such area.
    pub(crate) fn split(
        &mut self,
        vacancy: Vacancy<IovaUnit, Area>,
        range: IovaRange,
        at: u64,
        mut tail: Area,
    ) -> Result<(), Area> {
        let parts = IovaRange::until(range.start(), at).zip(IovaRange::new(at, range.last()));
        let (Some((first, second)), Some(head)) = (parts, self.areas.get_mut(range)) else {
            return Err(tail);
        };
        let whole = head.alignment(range);
        head.slice.length = first.len();
        tail.slice.length = second.len();
        let (first, second) = (head.alignment(first), tail.alignment(second));
        let followed = tail.followed();
        self.areas.split(vacancy, range, at, tail)?;
        self.uncount(whole);
        self.count(first);
        self.count(second);
        self.domains.members.add_area(followed);
        Ok(())
    }

    /// Ends the caller's work on areas. No domain that leaves may have one of them.
    pub(crate) fn make_ready(&mut self, ranges: impl Iterator<Item = IovaRange>) {
        for range in ranges {
            let area = self.areas.get_mut(range);
            // No other task removes an area on which one works, or cuts it.
            warn_on_once!(area.is_none());
            if let Some(area) = area {
                area.set_state(State::Ready);
            }
        }
    }

    /// An area on which the caller works has followed the changes up to `followed`.
    pub(crate) fn follow(&mut self, range: IovaRange, followed: Followed) {
        let Self { domains, areas, .. } = self;
        let area = areas.get_mut(range);
        // No other task removes an area on which one works, or cuts it.
        warn_on_once!(area.is_none());
        if let Some(area) = area {
            area.follow(followed, &mut domains.members);
        }
    }

    /// Removes a domain that has left, and that no area has any more, and what it needs. Returns it.
    pub(crate) fn take_gone(&mut self) -> Option<Arc<Domain>> {
        let gone = self.domains.members.take_gone()?;
        self.remove_needs(id_of(&gone));
        self.alignment = self.domains.alignment();
        Some(gone)
    }

    /// Counts one more area with this alignment.
    fn count(&mut self, alignment: u32) {
        if let Some(number) = self.unaligned.get_mut(alignment as usize) {
            *number = number.saturating_add(1);
        }
    }

    /// Counts one area with this alignment fewer.
    fn uncount(&mut self, alignment: u32) {
        let number = self.unaligned.get_mut(alignment as usize);
        if let Some(number) = number.filter(|number| **number != u32::MAX) {
            sub_or_warn!(*number, 1);
        }
    }

    /// Returns true if every area can be mapped with pages of `alignment` bytes, which is a power
    /// of two and at most a page.
    pub(crate) fn fits(&self, alignment: u64) -> bool {
        let less = self
            .unaligned
            .iter()
            .take(alignment.trailing_zeros() as usize);
        less.copied().all(|number| number == 0)
    }

    /// Chooses an IOVA. See [`iova_alloc::choose`]. Returns `None` after [`MOST_LOOKS`] looks. Then the
    /// caller releases the lock and calls it again.
    pub(crate) fn choose(
        &mut self,
        addr: u64,
        length: u64,
        search: &mut Search,
    ) -> Result<Option<u64>> {
        if !self.reserved.find_some_room(MOST_LOOKS) {
            return Ok(None);
        }
        let reserved = self.reserved.room();
        // The room between areas is the largest part of a gap that is not reserved.
        let room = |gap| reserved.largest_gap(gap);
        if !self.areas.find_some_room(MOST_LOOKS, room) {
            return Ok(None);
        }
        let areas = self.areas.room(room);
        let (allowed, alignment) = (&self.allowed, self.alignment);
        let search = search.step(MOST_LOOKS);
        iova_alloc::choose(areas, reserved, allowed, addr, length, alignment, search).map_err(
            |error| match error {
                ENOSPC => Reason::MapNoRoom.with(length),
                EINVAL => Reason::MapMemoryUnaligned.with(addr),
                EOVERFLOW => Reason::MapOverflow.with(length),
                error => error.into(),
            },
        )
    }

    /// Checks a range that the user has chosen. See [`iova_alloc::check`].
    pub(crate) fn check(&mut self, range: IovaRange) -> Result {
        let areas = &mut self.areas;
        iova_alloc::check(areas, &self.reserved, range).map_err(|error| {
            let reserved = self.reserved.conflict(range).map(|at| at.start());
            let mapped = areas.first_in(range).map(|(at, _)| at.start());
            match (error, reserved, mapped) {
                (EINVAL, Some(at), _) => Reason::MapReserved.with(at),
                (EEXIST, _, Some(at)) => Reason::MapExists.with(at),
                (error, ..) => error.into(),
            }
        })
    }

    /// Returns the parts of `within` that are not reserved, in order.
    pub(crate) fn usable(&self, within: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        self.reserved.gaps(within)
    }

    /// Reserves ranges, each once more. On failure nothing has changed. Returns `EADDRINUSE` if
    /// part of one is mapped or allowed, and `ENOMEM`.
    pub(crate) fn reserve(&mut self, ranges: impl Iterator<Item = IovaRange> + Clone) -> Result {
        let mut count = 0;
        let result = ranges.clone().try_for_each(|range| {
            let mapped = self.areas.first_in(range).map(|(at, _)| at);
            let allowed = self.allowed.first_in(range);
            if let Some(at) = mapped.or(allowed) {
                return Err(Reason::IoasInUse.with(at.start()));
            }
            self.reserved.add(range)?;
            self.areas.room_changed(range);
            count += 1;
            Ok(())
        });
        if result.is_err() {
            self.unreserve(ranges.take(count));
        }
        result
    }

    /// Reserves a range as long as the address space exists. Returns the errors of
    /// [`Space::reserve`].
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn reserve_for_good(&mut self, range: IovaRange) -> Result {
        self.reserved_for_good = true;
        self.reserve(core::iter::once(range))
    }

    /// Undoes [`Space::reserve`] of the same ranges. Needs no memory.
    pub(crate) fn unreserve(&mut self, ranges: impl Iterator<Item = IovaRange>) {
        for range in ranges {
            self.reserved.remove(range);
            self.areas.room_changed(range);
        }
    }

    /// Reserves the addresses outside of the aperture of a domain, which `owner` identifies, and counts
    /// the alignment that it needs. Returns the errors of [`Space::reserve`].
    pub(crate) fn add_needs(
        &mut self,
        owner: usize,
        aperture: IovaRange,
        alignment: u64,
    ) -> Result {
        self.needs
            .try_create_and_insert(owner, (aperture, alignment), GFP_KERNEL_ACCOUNT)?;
        let result = self.reserve(outside(aperture));
        if result.is_ok() {
            self.domains.alignments.add(alignment);
        } else {
            self.needs.remove(&owner);
        }
        result
    }

    /// Undoes [`Space::add_needs`].
    pub(crate) fn remove_needs(&mut self, owner: usize) {
        // A driver may have changed the domain meanwhile.
        if let Some((aperture, alignment)) = self.needs.remove(&owner) {
            self.unreserve(outside(aperture));
            self.domains.alignments.remove(alignment);
        }
    }

    /// Replaces the allowed ranges and returns the old ones. Returns `EADDRINUSE` if one of them is
    /// reserved.
    pub(crate) fn allow(&mut self, allowed: Allowed) -> Result<Allowed> {
        if let Some(at) = allowed.conflict(&self.reserved) {
            return Err(Reason::IoasAllowReserved.with(at.start()));
        }
        Ok(core::mem::replace(&mut self.allowed, allowed))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        debug_warn_on_once!(!self.areas.iter().all(|(_, area)| area.is_unused()));
        debug_warn_on_once!(to_u64(self.areas.iter().count()) != self.domains.members.areas());
        // What devices and domains have reserved is given back before the address space is dropped.
        #[cfg(CONFIG_IOMMUFD_RS_TEST)]
        let expected = self.reserved_for_good;
        #[cfg(not(CONFIG_IOMMUFD_RS_TEST))]
        let expected = false;
        warn_on_once!(!self.reserved.is_empty() && !expected);
        warn_on_once!(self.needs.iter().next().is_some());
    }
}

/// Returns the addresses outside of a domain's aperture.
fn outside(aperture: IovaRange) -> impl Iterator<Item = IovaRange> + Clone {
    let below = aperture.start().checked_sub(1);
    let above = aperture.last().checked_add(1);
    let outside = [
        below.and_then(|last| IovaRange::new(0, last)),
        above.and_then(|start| IovaRange::new(start, u64::MAX)),
    ];
    outside.into_iter().flatten()
}
