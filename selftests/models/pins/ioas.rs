// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `ioas/`: memory sources, their pinned pages, and how they are moved to another process.
//! What has areas is replaced.

#[path = "../../../ioas/builder.rs"]
mod builder;
#[path = "../../../ioas/consumer.rs"]
mod consumer;
#[path = "../../../ioas/division.rs"]
mod division;
#[path = "../../../ioas/extents.rs"]
mod extents;
#[path = "../../../ioas/interval.rs"]
mod interval;
#[path = "../../../ioas/missing.rs"]
mod missing;
#[path = "../../../ioas/pages.rs"]
pub(crate) mod pages;
#[path = "../../../ioas/pin.rs"]
mod pin;
#[path = "../../../ioas/process.rs"]
pub(crate) mod process;
#[path = "../../../ioas/runs.rs"]
mod runs;
#[path = "../../../ioas/segments.rs"]
mod segments;
#[path = "../../../ioas/tally.rs"]
mod tally;
#[path = "../../../ioas/transfer.rs"]
pub(crate) mod transfer;

use kernel::prelude::*;

use crate::{
    ioas::{
        consumer::Consumer,
        division::PIECE,
        pages::Pages,
        space::Space, //
    },
    kapi::{
        mm::{
            pin::PinnedRun,
            usage::Usage, //
        },
        reason::Result,
        sync::rwsem::RwSem,
        units::{
            PageRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// An address space.
pub(crate) struct Ioas {
    pub(crate) space: RwSem<Space>,
}

impl Ioas {
    /// Makes one without areas.
    pub(crate) fn new() -> Self {
        Self {
            space: RwSem::new(Space { areas: Vec::new() }).make().unwrap(),
        }
    }
}

/// Areas.
pub(crate) mod space {
    use crate::{
        ioas::pages::Pages,
        kapi::{
            sync::shared::Shared,
            units::IovaRange, //
        }, //
    };

    /// The areas of an address space.
    pub(crate) struct Space {
        pub(crate) areas: Vec<(IovaRange, Area)>,
    }

    /// An area, which is mapped.
    pub(crate) struct Area {
        pub(crate) slice: Slice,
    }

    /// The memory of an area.
    pub(crate) struct Slice {
        pub(crate) pages: Shared<Pages>,
    }

    impl Area {
        /// Whether it is mapped.
        pub(crate) fn is_mapped(&self) -> bool {
            true
        }
    }
}

/// Device memory, of which there is none.
mod mmio {
    use kernel::prelude::*;

    use crate::kapi::dma_buf::import::DmaBuf;

    /// Device memory.
    pub(crate) enum Mmio {}

    impl Mmio {
        /// Attaches it.
        pub(crate) fn attach(buf: DmaBuf) -> Result<Self> {
            match buf {}
        }
    }
}

/// Keeps the numbers of the pages that it is given, like page tables or a driver.
struct Taker {
    taken: Vec<u64>,
    /// It refuses what comes when it has so many.
    room: usize,
}

impl Consumer for Taker {
    fn take<'p>(&mut self, runs: impl Iterator<Item = PinnedRun<'p>>) -> Result {
        for run in runs {
            if self.taken.len() >= self.room {
                return Err(ENOSPC.into());
            }
            let pfn = run.phys() >> PAGE_SHIFT;
            self.taken.extend(pfn..pfn + run.npages());
        }
        Ok(())
    }
}

/// What a [`Division`](division::Division) needs to end a piece in front of the page `at`.
pub(crate) fn piece_before(at: u64) -> u64 {
    PIECE - at
}

impl Pages {
    /// Pins pages as a domain does that is filled, which takes at most so many of them. Returns where they
    /// are.
    pub(crate) fn fill(&self, range: PageRange, phase: u64, room: usize) -> Result<Vec<u64>> {
        let mut taker = Taker {
            taken: Vec::new(),
            room,
        };
        let mut pending = self.begin_pin(range, phase);
        pending.pin(&mut taker)?;
        pending.commit();
        Ok(taker.taken)
    }

    /// As [`Pages::fill`], without waiting. Returns `None` if that is not possible.
    pub(crate) fn fill_at_once(&self, range: PageRange) -> Option<Vec<u64>> {
        let mut taker = Taker {
            taken: Vec::new(),
            room: usize::MAX,
        };
        let filled = self.pin_present(range, &mut taker);
        filled.unwrap().then_some(taker.taken)
    }

    /// Returns where pinned pages are.
    pub(crate) fn read_pinned(&self, range: PageRange) -> Vec<u64> {
        let mut taker = Taker {
            taken: Vec::new(),
            room: usize::MAX,
        };
        self.for_pinned(range, 0, &mut taker).unwrap();
        taker.taken
    }

    /// Looks, between two steps of other tasks, whether all pages are charged that are pinned, and no more
    /// unless a task pins. Returns how many are pinned. Another source has `beside` pages.
    pub(crate) fn look(&self, usage: &Usage, beside: u64) -> u64 {
        let inner = self.inner();
        let pinned = inner.segments.pinned();
        let charged = usage.pinned() - beside;
        assert!(pinned <= charged, "pages are pinned and not charged");
        assert!(
            inner.pins.get() != 0 || pinned == charged,
            "pages are charged that no task pins"
        );
        pinned
    }

    /// As [`Pages::look`], where no task pins.
    pub(crate) fn at_rest(&self, usage: &Usage, beside: u64) -> u64 {
        assert_eq!(self.inner().pins.get(), 0, "tasks that pin");
        self.look(usage, beside)
    }
}
