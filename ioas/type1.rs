// SPDX-License-Identifier: GPL-2.0-only

//! What the VFIO type1 container needs besides mapping and unmapping, and the ranges that can be
//! mapped.

use crate::{
    ioas::{
        area::Slice,
        map::{
            Part,
            Placement, //
        },
        pages::Pages,
        Ioas, //
    },
    kapi::{
        iommu::domain::Prot,
        mm::usage::Account,
        reason::Result,
        sync::chunks::Chunks,
        units::{
            IovaRange,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The number of usable ranges that are looked up at once.
const USABLE_AT_ONCE: usize = 32;

impl Ioas {
    /// Maps `length` bytes of the caller's memory from `addr` at `iova`. Returns the errors of
    /// [`Pages::from_user`] and [`Ioas::map`].
    pub(crate) fn map_user(
        &self,
        iova: u64,
        addr: u64,
        length: u64,
        prot: Prot,
        account: Account<'_>,
    ) -> Result {
        let (pages, start) = Pages::from_user(addr, length, prot.write, account)?;
        let slice = Slice {
            pages,
            start,
            length,
        };
        self.map(
            Chunks::from(Part::new(Part::vacancy()?, slice)),
            length,
            Placement::Fixed(iova),
            prot,
            None,
        )
    }

    /// Returns the page sizes that all domains have, as a bit mask. Sizes below a CPU page are
    /// reported as a CPU page. The result is at least the alignment of the address space.
    pub(crate) fn page_sizes(&self) -> u64 {
        let space = self.space.read();

        let small = PAGE_SIZE - 1;
        let domains = &space.domains.members;
        let mut sizes = domains
            .full()
            .fold(u64::MAX, |sizes, domain| sizes & domain.page_sizes());
        if sizes & small != 0 {
            sizes = (sizes & !small) | PAGE_SIZE;
        }
        sizes.max(space.alignment)
    }

    /// Returns true if no device can bypass the CPU's caches, in any domain.
    pub(crate) fn is_coherent(&self) -> bool {
        let space = self.space.read();
        let mut domains = space.domains.members.full();
        domains.all(|domain| domain.is_coherent())
    }

    /// Calls `f` for each range that can be mapped, in order. No lock is held meanwhile, so `f` may
    /// write user memory. The first [`USABLE_AT_ONCE`] ranges were all usable at one time, and so
    /// were the next ones. Returns the first error of `f`.
    pub(crate) fn try_for_each_usable(&self, mut f: impl FnMut(IovaRange) -> Result) -> Result {
        let mut rest = Some(IovaRange::ALL);
        while let Some(within) = rest {
            let mut found = [None; USABLE_AT_ONCE];
            let space = self.space.read();
            for (place, range) in found.iter_mut().zip(space.usable(within)) {
                *place = Some(range);
            }
            drop(space);
            found.iter().flatten().try_for_each(|range| f(*range))?;
            // If there is a last one then there may be more.
            let last = found.last().copied().flatten();
            let next = last.and_then(|last| last.last().checked_add(1));
            rest = next.and_then(|start| IovaRange::new(start, u64::MAX));
        }
        Ok(())
    }
}
