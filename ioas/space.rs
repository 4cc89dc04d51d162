// SPDX-License-Identifier: GPL-2.0-only

//! The addresses of an address space: what is mapped, what is reserved, what is allowed.
//!
//! Everything here is under `Ioas::space`.

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
    kapi::units::{
        IovaRange,
        IovaUnit, //
    }, //
};

/// Whose restriction a reserved range is: the address of the device or domain, which is compared
/// and never followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(usize);

impl Owner {
    /// The restrictions of `thing`, which stays in place while they stand.
    pub(crate) fn of<T>(thing: &T) -> Self {
        Self(core::ptr::from_ref(thing).addr())
    }
}

/// See the module.
pub(crate) struct Space {
    /// Mapped ranges.
    pub(crate) areas: IntervalMap<IovaUnit, Area>,
    /// What devices and domains cannot use.
    reserved: RangeList<Owner>,
    /// What must stay usable, disjoint. Empty: no wish.
    allowed: IntervalMap<IovaUnit, ()>,
    /// What addresses and lengths must be multiples of: a power of two, at most a page.
    pub(crate) alignment: u64,
}

impl Space {
    /// Everything is open.
    pub(crate) fn new() -> Self {
        Self {
            areas: IntervalMap::new(),
            reserved: RangeList::new(),
            allowed: IntervalMap::new(),
            alignment: 1,
        }
    }

    /// Chooses an address: see [`iova_alloc::choose`].
    pub(crate) fn choose(&self, addr: u64, length: u64) -> Result<u64> {
        iova_alloc::choose(
            &self.areas,
            &self.reserved,
            &self.allowed,
            addr,
            length,
            self.alignment,
        )
    }

    /// Checks an address that the user chose: see [`iova_alloc::check`].
    pub(crate) fn check(&self, range: IovaRange) -> Result {
        iova_alloc::check(&self.areas, &self.reserved, range)
    }

    /// The ranges that are not reserved, in order.
    pub(crate) fn usable(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.reserved.gaps()
    }

    /// Reserves a range. `EADDRINUSE` where something in it is mapped or allowed, `ENOMEM`.
    pub(crate) fn reserve(&mut self, range: IovaRange, owner: Owner) -> Result {
        if self.areas.first_in(range).is_some() || self.allowed.first_in(range).is_some() {
            return Err(EADDRINUSE);
        }
        self.reserved.insert(range, owner)
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
        if allowed
            .iter()
            .any(|(range, ())| self.reserved.conflict(range).is_some())
        {
            return Err(EADDRINUSE);
        }
        Ok(core::mem::replace(&mut self.allowed, allowed))
    }

    /// Whether every area could be mapped with pages of `alignment` bytes.
    pub(crate) fn fits(&self, alignment: u64) -> bool {
        self.areas
            .iter()
            .all(|(range, area)| area.is_aligned(range, alignment))
    }
}
