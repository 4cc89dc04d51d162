// SPDX-License-Identifier: GPL-2.0-only

//! The IOVAs of an address space: areas, reserved ranges and allowed ranges.
//!
//! Protected by `Ioas::space` (rank 25).

use kernel::prelude::*;

use crate::{
    ioas::{
        area::Area,
        interval::IntervalMap,
        iova_alloc::{
            self,
            RangeList, //
        }, //
    },
    kapi::{
        reason::{
            Reason,
            Result, //
        },
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// The owner of a reserved range, identified by the address of a device, domain or address space.
/// The address is compared only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(usize);

impl Owner {
    /// Identifies `thing`, which must not move while it has reserved ranges.
    pub(crate) fn of<T>(thing: &T) -> Self {
        Self(core::ptr::from_ref(thing).addr())
    }
}

/// See the module.
pub(crate) struct Space {
    /// The areas.
    pub(crate) areas: IntervalMap<IovaUnit, Area>,
    /// The ranges that devices and domains cannot use.
    reserved: RangeList<Owner>,
    /// The ranges that must not be reserved. If there are none, all may be.
    allowed: IntervalMap<IovaUnit, ()>,
    /// The alignment of addresses and lengths in bytes: a power of two, at most a page.
    pub(crate) alignment: u64,
}

impl Space {
    /// Creates an address space without areas, in which nothing is reserved.
    pub(crate) fn new() -> Self {
        Self {
            areas: IntervalMap::new(),
            reserved: RangeList::new(),
            allowed: IntervalMap::new(),
            alignment: 1,
        }
    }

    /// Chooses an IOVA. See [`iova_alloc::choose`].
    pub(crate) fn choose(&self, addr: u64, length: u64) -> Result<u64> {
        iova_alloc::choose(
            &self.areas,
            &self.reserved,
            &self.allowed,
            addr,
            length,
            self.alignment,
        )
        .map_err(|error| match error {
            ENOSPC => Reason::MapNoRoom.with(length),
            EINVAL => Reason::MapMemoryUnaligned.with(addr),
            EOVERFLOW => Reason::MapOverflow.with(length),
            error => error.into(),
        })
    }

    /// Checks a range that the user has chosen. See [`iova_alloc::check`].
    pub(crate) fn check(&self, range: IovaRange) -> Result {
        let areas = &self.areas;
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

    /// Returns the ranges that are not reserved, in order.
    pub(crate) fn usable(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.reserved.gaps()
    }

    /// Reserves a range. Returns `EADDRINUSE` if part of it is mapped or allowed, and `ENOMEM`.
    pub(crate) fn reserve(&mut self, range: IovaRange, owner: Owner) -> Result {
        let mapped = self.areas.first_in(range).map(|(at, _)| at);
        let allowed = self.allowed.first_in(range).map(|(at, ())| at);
        if let Some(at) = mapped.or(allowed) {
            return Err(Reason::IoasInUse.with(at.start()));
        }
        Ok(self.reserved.insert(range, owner)?)
    }

    /// Removes the reserved ranges of `owner`.
    pub(crate) fn unreserve(&mut self, owner: Owner) {
        self.reserved.retain(|o| *o != owner);
    }

    /// Replaces the allowed ranges and returns the old ones. Returns `EADDRINUSE` if one of them is
    /// reserved.
    pub(crate) fn allow(
        &mut self,
        allowed: IntervalMap<IovaUnit, ()>,
    ) -> Result<IntervalMap<IovaUnit, ()>> {
        let conflict = allowed
            .iter()
            .find_map(|(range, ())| self.reserved.conflict(range));
        if let Some(at) = conflict {
            return Err(Reason::IoasAllowReserved.with(at.start()));
        }
        Ok(core::mem::replace(&mut self.allowed, allowed))
    }

    /// Returns true if every area can be mapped with pages of `alignment` bytes.
    pub(crate) fn fits(&self, alignment: u64) -> bool {
        self.areas
            .iter()
            .all(|(range, area)| area.is_aligned(range, alignment))
    }
}
