// SPDX-License-Identifier: GPL-2.0-only

//! Iteration over the mappings of an address space.

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

/// The mappings of an address space. They do not change while this exists, because it holds
/// `Ioas::space` for reading.
pub(crate) struct Mappings<'a>(ReadGuard<'a, Space>);

impl Ioas {
    /// Locks the mappings.
    pub(crate) fn mappings(&self) -> Mappings<'_> {
        Mappings(self.space.read())
    }
}

impl Mappings<'_> {
    /// Returns the alignment of addresses and lengths in bytes: a power of two, at most a page.
    pub(crate) fn alignment(&self) -> u64 {
        self.0.alignment
    }

    /// Returns the ranges that are mapped to memory, in order. The mappings of dma-bufs are left
    /// out, because their exporter may have them unmapped at any time.
    pub(crate) fn memory(&self) -> impl Iterator<Item = IovaRange> + '_ {
        self.0
            .areas
            .iter()
            .filter(|(_, area)| area.state == State::Ready && !area.is_mmio())
            .map(|(range, _)| range)
    }

    /// Returns the ranges that are mapped without a gap from the start of `within` on, in order and
    /// cut to `within`. The mappings of dma-bufs are left out, and are no gap.
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
