// SPDX-License-Identifier: GPL-2.0-only

//! The addresses of an address space: what is mapped, what is reserved, what is allowed.
//!
//! Everything here is under `Ioas::space`.

use kernel::{
    device::Device,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ioas::{
        area::Area,
        interval::IntervalMap,
        iova_alloc::{
            self,
            RangeList, //
        },
        Ioas, //
    },
    kapi::{
        fault_injection,
        iommu::resv::{
            resv_regions,
            ResvKind, //
        },
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    },
    object::Ref, //
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

    /// Whether every area could be mapped with pages of `alignment` bytes.
    pub(crate) fn fits(&self, alignment: u64) -> bool {
        self.areas
            .iter()
            .all(|(range, area)| area.is_aligned(range, alignment))
    }
}

impl Ioas {
    /// Replaces the allowed ranges. `EADDRINUSE` where one is reserved already.
    pub(crate) fn allow(&self, allowed: IntervalMap<IovaUnit, ()>) -> Result {
        let mut space = self.space.write();
        if allowed
            .iter()
            .any(|(range, ())| space.reserved.conflict(range).is_some())
        {
            return Err(EADDRINUSE);
        }
        let old = core::mem::replace(&mut space.allowed, allowed);
        drop(space);
        drop(old);
        Ok(())
    }

    /// Reserves a range as long as the address space exists. `EADDRINUSE` where something in it is
    /// mapped or allowed, `ENOMEM`.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn reserve_range(&self, range: IovaRange) -> Result {
        self.space.write().reserve(range, Owner::of(self))
    }

    /// Reserves what a device cannot use, until the result is dropped. `EADDRINUSE` where something
    /// is mapped there or allowed, `EINVAL` where the driver contradicts itself, `ENOMEM`.
    pub(crate) fn reserve_for(ioas: &Ref<Ioas>, dev: &Device) -> Result<ReservedIovas> {
        fault_injection::point(EINVAL)?;
        let regions = resv_regions(dev)?;
        let reserved = ReservedIovas {
            ioas: ioas.clone(),
            dev: dev.into(),
        };
        let owner = Owner::of(dev);
        let count = |kind| regions.iter().filter(|region| region.kind == kind).count();
        let (hw_msi, sw_msi) = (count(ResvKind::HwMsi), count(ResvKind::SwMsi));

        let mut space = ioas.space.write();
        let result = regions
            .iter()
            .filter(|region| region.kind != ResvKind::DirectRelaxable)
            .try_for_each(|region| space.reserve(region.range, owner));
        drop(space);
        result?;
        // No driver places interrupts itself and lets software place them, or offers two places.
        if (sw_msi != 0 && hw_msi != 0) || sw_msi > 1 {
            return Err(EINVAL);
        }
        Ok(reserved)
    }
}

/// What a device cannot use is reserved in an address space. Dropping it opens it again.
pub(crate) struct ReservedIovas {
    ioas: Ref<Ioas>,
    dev: ARef<Device>,
}

impl Drop for ReservedIovas {
    fn drop(&mut self) {
        self.ioas.space.write().unreserve(Owner::of(&*self.dev));
    }
}
