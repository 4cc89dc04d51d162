// SPDX-License-Identifier: GPL-2.0-only

//! The areas of an address space and their memory, in lines for people.
//!
//! Nothing here waits: what another task has locked is said to be busy.

use kernel::{
    seq_file::seq_print,
    sync::atomic::ordering::Relaxed, //
};

use crate::{
    ioas::{
        area::{
            Area,
            State, //
        },
        pages::{
            Pages,
            Source, //
        },
        space::Space,
        Ioas, //
    },
    kapi::{
        file::listing::Piece,
        units::{
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Moving => "moving",
            Self::Dying => "dying",
        }
    }
}

impl Pages {
    /// Passes the physical address and the number of pages of each run of pinned memory in `range`
    /// from page `first` on to `f`, until that returns a value. Returns `None` if pages are being
    /// pinned or unpinned.
    fn try_runs<T>(
        &self,
        range: PageRange,
        first: u64,
        mut f: impl FnMut(u64, u64) -> Option<T>,
    ) -> Option<Option<T>> {
        let inner = self.inner.try_lock()?;
        let found = PageRange::new(first, range.last()).and_then(|rest| {
            let mut runs = inner.segments.runs(rest);
            runs.find_map(|run| f(run.phys(), run.npages()))
        });
        Some(found)
    }
}

impl Ioas {
    /// Writes a line for each area from address `from` on, as long as there is room. Returns the
    /// address from which on the rest is, if there is a rest. `id` is the id of the address space.
    pub(crate) fn list_areas(&self, id: u32, from: u64, out: &Piece<'_>) -> Option<u64> {
        self.list(id, from, out, |range, area, _| {
            list_area(id, range, area, out);
            None
        })
    }

    /// As [`Ioas::list_areas`], with a line for each run of physical memory.
    pub(crate) fn list_extents(&self, id: u32, from: u64, out: &Piece<'_>) -> Option<u64> {
        self.list(id, from, out, |range, area, from| {
            list_runs(id, range, area, from, out)
        })
    }

    /// Calls `f` for each area from address `from` on as long as there is room, until it returns an
    /// address, with the address from which on it is to be listed.
    fn list(
        &self,
        id: u32,
        from: u64,
        out: &Piece<'_>,
        mut f: impl FnMut(IovaRange, &Area, u64) -> Option<u64>,
    ) -> Option<u64> {
        if !out.has_room() {
            return Some(from);
        }
        // Held for writing for a few instructions.
        let Some(space) = self.space.try_read() else {
            seq_print!(out.file(), "ioas={id} busy\n");
            return None;
        };
        let space: &Space = &space;
        let rest = IovaRange::new(from, u64::MAX)?;
        space.areas.iter_in(rest).find_map(|(range, area)| {
            let from = from.max(range.start());
            if out.has_room() {
                f(range, area, from)
            } else {
                Some(from)
            }
        })
    }
}

fn list_area(id: u32, range: IovaRange, area: &Area, out: &Piece<'_>) {
    let (start, length) = (range.start(), range.len());
    let read = if area.prot.read { "r" } else { "-" };
    let write = if area.prot.write { "w" } else { "-" };
    let (kind, origin) = match &area.slice.pages.source {
        Source::User { addr } => ("memory", *addr),
        Source::File { start, .. } => ("file", *start),
        Source::Mmio { start, .. } => ("dma-buf", *start),
    };
    let origin = origin.wrapping_add(area.slice.start);
    let state = area.state.name();
    let accesses = area.accesses.load(Relaxed);
    seq_print!(
        out.file(),
        "ioas={id} iova={start:#x} length={length:#x} prot={read}{write} {kind}={origin:#x} \
         state={state} accesses={accesses}\n"
    );
}

/// Writes a line for each run of the memory of an area, from address `from` in it on. Returns the
/// address from which on there was no more room.
fn list_runs(
    id: u32,
    range: IovaRange,
    area: &Area,
    mut from: u64,
    out: &Piece<'_>,
) -> Option<u64> {
    let (start, last) = (range.start(), range.last());
    let Ok(pages) = area.slice.page_range() else {
        return None;
    };
    // The first page, from its beginning.
    let first = (area.slice.start + (from - start)) >> PAGE_SHIFT;
    let mut offset = (area.slice.start + (from - start)) & ((1 << PAGE_SHIFT) - 1);
    // Held while memory is pinned.
    let listed = area.slice.pages.try_runs(pages, first, |phys, npages| {
        if !out.has_room() {
            return Some(from);
        }
        let skip = core::mem::take(&mut offset);
        let length = ((npages << PAGE_SHIFT) - skip).min(last - from + 1);
        let phys = phys + skip;
        seq_print!(
            out.file(),
            "ioas={id} iova={from:#x} phys={phys:#x} length={length:#x}\n"
        );
        from = from.saturating_add(length);
        None
    });
    listed.unwrap_or_else(|| {
        seq_print!(out.file(), "ioas={id} iova={from:#x} busy\n");
        None
    })
}
