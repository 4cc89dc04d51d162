// SPDX-License-Identifier: GPL-2.0-only

//! What is mapped, held still for somebody who goes through it.

use crate::{
    ioas::{
        area::State,
        space::Space,
        Ioas, //
    },
    kapi::{
        sync::rwsem::ReadGuard,
        units::IovaRange, //
    }, //
};

/// The mappings of an address space, which stay as they are while this exists.
pub(crate) struct Mappings<'a>(ReadGuard<'a, Space>);

impl Ioas {
    /// Holds what is mapped.
    pub(crate) fn mappings(&self) -> Mappings<'_> {
        Mappings(self.space.read())
    }
}

impl Mappings<'_> {
    /// What addresses and lengths are multiples of: a power of two, at most a page.
    pub(crate) fn alignment(&self) -> u64 {
        self.0.alignment
    }

    /// Every range that is mapped to memory, in order. Those of dma-bufs are left out: their
    /// exporter may have them unmapped at any time.
    pub(crate) fn memory(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.0
            .areas
            .iter()
            .filter(|(_, area)| area.state == State::Ready && !area.is_mmio())
            .map(|(range, _)| range)
    }

    /// The ranges that are mapped from the start of `within` on without a gap, in order and cut to
    /// it. Those of dma-bufs are left out, and are no gap.
    pub(crate) fn contiguous_memory(
        &self,
        within: IovaRange,
    ) -> impl Iterator<Item = IovaRange> + '_ {
        let mut next = Some(within.start());
        self.0
            .areas
            .iter_in(within)
            .map_while(move |(range, area)| {
                let part = range.intersection(&within)?;
                if area.state != State::Ready || next != Some(part.start()) {
                    return None;
                }
                next = part.last().checked_add(1);
                Some((part, area))
            })
            .filter(|(_, area)| !area.is_mmio())
            .map(|(part, _)| part)
    }
}
