// SPDX-License-Identifier: GPL-2.0-only

//! Iteration over the mappings of an address space, for dirty tracking.

use crate::{
    ioas::{
        area::Area,
        reader::Reader,
        Ioas, //
    },
    kapi::units::IovaRange, //
};

/// Ranges that are mapped to memory, in order. The mappings of dma-bufs are left out, because their
/// exporter may have them unmapped at any time.
///
/// The range that was returned last remains mapped until the next one is asked for, or this is
/// dropped. No lock is held meanwhile. They end early if the task is killed while it waits for another
/// one to unmap or cut an area.
pub(crate) struct Mappings<'a> {
    reader: Reader<'a>,
    /// What was not looked at yet.
    rest: Option<IovaRange>,
    /// The first gap is the end.
    contiguous: bool,
}

impl Ioas {
    /// Returns the ranges that are mapped to memory.
    pub(crate) fn memory(&self) -> Mappings<'_> {
        Mappings {
            reader: self.reader(),
            rest: Some(IovaRange::ALL),
            contiguous: false,
        }
    }

    /// Returns the ranges that are mapped without a gap from the start of `within` on, cut to
    /// `within`. The mappings of dma-bufs are no gap.
    pub(crate) fn contiguous_memory(&self, within: IovaRange) -> Mappings<'_> {
        Mappings {
            reader: self.reader(),
            rest: Some(within),
            contiguous: true,
        }
    }
}

impl Iterator for Mappings<'_> {
    type Item = IovaRange;

    fn next(&mut self) -> Option<IovaRange> {
        loop {
            let within = self.rest.take()?;
            let wanted = if self.contiguous {
                IovaRange::at(within.start())
            } else {
                within
            };
            let find =
                |range: IovaRange, area: &Area| Ok((range.intersection(&within), area.is_mmio()));
            let (part, is_mmio) = self.reader.next(wanted, find).ok()??;
            let part = part?;
            let next = part.last().checked_add(1);
            self.rest = next.and_then(|start| IovaRange::new(start, within.last()));
            if !is_mmio {
                return Some(part);
            }
        }
    }
}
