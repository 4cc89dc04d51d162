// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `ioas/`: areas, domains, the tasks that map, unmap and cut areas, add domains and
//! remove them, and those that pin or read memory. What calls C is replaced: the pages of memory, and how
//! they get into page tables.

#[path = "../../../ioas/access.rs"]
mod access;
#[path = "../../../ioas/accessor.rs"]
pub(crate) mod accessor;
#[path = "../../../ioas/alignments.rs"]
mod alignments;
#[path = "../../../ioas/allowed.rs"]
mod allowed;
#[path = "../../../ioas/area.rs"]
pub(crate) mod area;
#[path = "../../../ioas/behind.rs"]
mod behind;
#[path = "../../../ioas/cut.rs"]
mod cut;
#[path = "../../../ioas/domains.rs"]
mod domains;
#[path = "../../../ioas/interval.rs"]
mod interval;
#[path = "../../../ioas/iova_alloc.rs"]
mod iova_alloc;
#[path = "../../../ioas/map.rs"]
pub(crate) mod map;
#[path = "../../../ioas/mappings.rs"]
mod mappings;
#[path = "../../../ioas/members.rs"]
mod members;
#[path = "../../../ioas/membership.rs"]
mod membership;
pub(crate) mod pages;
#[path = "../../../ioas/parts.rs"]
mod parts;
#[path = "../../../ioas/phys_pin.rs"]
mod phys_pin;
#[path = "../../../ioas/ranges.rs"]
mod ranges;
#[path = "../../../ioas/reader.rs"]
mod reader;
#[path = "../../../ioas/reserved.rs"]
mod reserved;
#[path = "../../../ioas/room.rs"]
mod room;
#[path = "../../../ioas/space.rs"]
pub(crate) mod space;
#[path = "../../../ioas/stats.rs"]
mod stats;
#[path = "../../../ioas/tally.rs"]
mod tally;
#[path = "../../../ioas/transfer.rs"]
pub(crate) mod transfer;
#[path = "../../../ioas/unmap.rs"]
mod unmap;

use kernel::prelude::*;

use crate::{
    ioas::{
        behind::Follower,
        space::Space,
        stats::Stats, //
    },
    kapi::{
        lines::Lines,
        reason::Refusal,
        sync::{
            rwsem::{
                new_rwsem,
                RwSem, //
            },
            wait_queue::{
                new_wait_queue,
                WaitQueue, //
            }, //
        },
        units::IovaRange, //
    },
    object::Kind, //
};

pub(crate) use phys_pin::PhysPin;
pub(crate) use ranges::IoasRanges;

/// An I/O address space.
pub(crate) struct Ioas {
    space: RwSem<Space>,
    stats: Stats,
    settled: WaitQueue,
    change_ended: WaitQueue,
}

impl Kind for Ioas {
    const NAME: &'static CStr = c"ioas";

    fn show(&self, _lines: &Lines<'_>) {}
}

impl Ioas {
    /// An address space without mappings.
    pub(crate) fn new() -> impl PinInit<Self, Refusal> {
        try_pin_init!(Self {
            space <- new_rwsem!(Space::new(), "Ioas::space"),
            stats: Stats::new(),
            settled <- new_wait_queue!("Ioas::settled"),
            change_ended <- new_wait_queue!("Ioas::change_ended"),
        }? Refusal)
    }

    /// Waits until no task holds the lock of the address space, so it fails if the caller does.
    pub(crate) fn wait_for_lock(&self) {
        drop(self.space.write());
    }

    /// Returns the areas in the order of their addresses. All are ready and behind no domain, no domain
    /// joins or leaves, and all that is counted is right.
    pub(crate) fn at_rest(&self) -> Vec<IovaRange> {
        let space = self.space.read();
        let members = &space.domains.members;
        assert!(members.is_settled(), "a domain joins or leaves still");
        let areas = space.areas.iter();
        let areas = areas.map(|(range, area)| {
            assert!(area.is_ready() && area.is_unused());
            assert!(!area.wanted && !area.prevent_access);
            assert!(!members.is_behind(area.followed()));
            assert_eq!(members.is_pinned(area.followed()), !members.is_empty());
            range
        });
        let areas: Vec<_> = areas.collect();
        assert_eq!(members.areas(), areas.len() as u64);
        let bytes = areas.iter().map(IovaRange::len).sum();
        let [counted_areas, counted_bytes, domains, ..] = self.stats.numbers();
        assert_eq!(counted_areas, ("areas", areas.len() as u64));
        assert_eq!(counted_bytes, ("mapped", bytes));
        assert_eq!(domains, ("domains", members.full().count() as u64));
        areas
    }
}

/// Filling page tables with an area.
mod filler {
    use crate::kapi::{
        iommu::domain::{
            Domain,
            Prot, //
        },
        reason::Result,
        units::IovaRange, //
    };

    /// Fills page tables with an area. Dropping it unmaps what it has mapped.
    pub(crate) struct Filler<'a> {
        domain: &'a Domain,
        range: IovaRange,
        mapped: bool,
    }

    impl<'a> Filler<'a> {
        /// Prepares to map the area at `range`.
        pub(crate) fn new(
            domain: &'a Domain,
            range: IovaRange,
            _skip: u64,
            _prot: Prot,
            _small_pages: bool,
        ) -> Self {
            Self {
                domain,
                range,
                mapped: false,
            }
        }

        /// Maps the area.
        pub(super) fn take(&mut self) -> Result {
            self.domain.map(self.range)?;
            self.mapped = true;
            Ok(())
        }

        /// Keeps everything mapped.
        pub(crate) fn keep(mut self) {
            assert!(self.mapped);
            self.mapped = false;
        }
    }

    impl Drop for Filler<'_> {
        fn drop(&mut self) {
            if self.mapped {
                self.domain.unmap(super::ranges::RANGES, [self.range]);
            }
        }
    }
}

/// Filling page tables with several areas at once. No memory can be pinned without waiting.
mod together {
    use super::area::Slice;
    use crate::kapi::{
        iommu::domain::{
            Domain,
            Prot, //
        },
        reason::Result,
        units::IovaRange, //
    };

    /// More than all areas have.
    pub(super) const MOST_BYTES: u64 = u64::MAX;

    /// Is not called.
    pub(super) fn fill_together<'a>(
        _domain: &Domain,
        _areas: impl Iterator<Item = (IovaRange, &'a Slice, Prot)> + Clone,
        _small_pages: bool,
        _done: &mut usize,
    ) -> Result {
        unreachable!()
    }
}
