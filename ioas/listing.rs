// SPDX-License-Identifier: GPL-2.0-only

//! The areas of an address space and their memory, in lines for people.
//!
//! Nothing here sleeps: what another task has locked, and does not unlock at once, is said to be
//! busy.

use core::hint::spin_loop;

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
        leaves::leaves,
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
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// How often a lock that is held for a few instructions is tried. If it is held even then, its owner
/// is not running, and the reader, which is not preempted, would not let it run.
const TRIES: usize = 256;

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Moving => "moving",
            Self::Cutting => "cutting",
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
        self.list(id, from, out, |_, range, area, _| {
            list_area(id, range, area, out);
            None
        })
    }

    /// As [`Ioas::list_areas`], with a line for each run of physical memory.
    pub(crate) fn list_extents(&self, id: u32, from: u64, out: &Piece<'_>) -> Option<u64> {
        self.list(id, from, out, |_, range, area, from| {
            list_runs(id, range, area, from, out)
        })
    }

    /// As [`Ioas::list_areas`], with lines for the entries of page tables that map the memory. `id`
    /// is the id of the page tables, `sizes` a bit mask of their page sizes.
    pub(crate) fn list_leaves(
        &self,
        id: u32,
        sizes: u64,
        from: u64,
        out: &Piece<'_>,
    ) -> Option<u64> {
        self.list(id, from, out, |space, range, area, from| {
            let small = space.domains.small_pages;
            let sizes = if small { PAGE_SIZE } else { sizes };
            list_leaves(id, sizes, range, area, from, out)
        })
    }

    /// Calls `f` for each area from address `from` on as long as there is room, until it returns an
    /// address, with the address from which on it is to be listed.
    fn list(
        &self,
        id: u32,
        from: u64,
        out: &Piece<'_>,
        mut f: impl FnMut(&Space, IovaRange, &Area, u64) -> Option<u64>,
    ) -> Option<u64> {
        if !out.has_room() {
            return Some(from);
        }
        // Held for writing for a few instructions.
        let mut tries = (0..TRIES).map(|_| self.space.try_read().ok_or_else(spin_loop));
        let Some(space) = tries.find_map(Result::ok) else {
            seq_print!(out.file(), "ioas={id} busy\n");
            return None;
        };
        let space: &Space = &space;
        let rest = IovaRange::new(from, u64::MAX)?;
        space.areas.iter_in(rest).find_map(|(range, area)| {
            let from = from.max(range.start());
            if out.has_room() {
                f(space, range, area, from)
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
    let state = area.state().name();
    let accesses = area.accesses.load(Relaxed);
    seq_print!(
        out.file(),
        "ioas={id} iova={start:#x} length={length:#x} prot={read}{write} {kind}={origin:#x} \
         state={state} accesses={accesses}\n"
    );
}

/// Calls `f` for each run of the memory of an area from address `from` in it on, with its address,
/// physical address and length, until `f` returns false. Returns the address from which on the rest
/// is, if there is a rest. Returns `None` if pages are being pinned or unpinned.
fn each_run(
    range: IovaRange,
    area: &Area,
    mut from: u64,
    mut f: impl FnMut(u64, u64, u64) -> bool,
) -> Option<Option<u64>> {
    let (start, last) = (range.start(), range.last());
    let Ok(pages) = area.slice.page_range() else {
        return Some(None);
    };
    // The first page, from its beginning.
    let first = (area.slice.start + (from - start)) >> PAGE_SHIFT;
    let mut offset = (area.slice.start + (from - start)) & (PAGE_SIZE - 1);
    // Held while memory is pinned.
    area.slice.pages.try_runs(pages, first, |phys, npages| {
        let skip = core::mem::take(&mut offset);
        let length = ((npages << PAGE_SHIFT) - skip).min(last - from + 1);
        if !f(from, phys + skip, length) {
            return Some(from);
        }
        from = from.saturating_add(length);
        None
    })
}

/// Writes a line for each run of the memory of an area, from address `from` in it on. Returns the
/// address from which on there was no more room.
fn list_runs(id: u32, range: IovaRange, area: &Area, from: u64, out: &Piece<'_>) -> Option<u64> {
    let listed = each_run(range, area, from, |iova, phys, length| {
        let has_room = out.has_room();
        if has_room {
            seq_print!(
                out.file(),
                "ioas={id} iova={iova:#x} phys={phys:#x} length={length:#x}\n"
            );
        }
        has_room
    });
    listed.unwrap_or_else(|| {
        seq_print!(out.file(), "ioas={id} iova={from:#x} busy\n");
        None
    })
}

/// The most runs of a line about entries.
const MOST_RUNS: usize = 64;

/// Writes a line about the entries that map the memory of an area, from address `from` in it on, or
/// the first [`MOST_RUNS`] runs of it. Returns the address from which on the rest is.
fn list_leaves(
    id: u32,
    sizes: u64,
    range: IovaRange,
    area: &Area,
    from: u64,
    out: &Piece<'_>,
) -> Option<u64> {
    let mut counts = [0_u64; 64];
    let (mut runs, mut bytes) = (0, 0);
    let listed = each_run(range, area, from, |iova, phys, length| {
        runs += 1;
        if runs > MOST_RUNS {
            return false;
        }
        leaves(iova, phys, length, sizes, |size, count| {
            if let Some(counted) = counts.get_mut(size.trailing_zeros() as usize) {
                *counted += count;
            }
        });
        bytes += length;
        true
    });
    let Some(rest) = listed else {
        seq_print!(out.file(), "hwpt={id} iova={from:#x} busy\n");
        return None;
    };
    if bytes != 0 {
        seq_print!(out.file(), "hwpt={id} iova={from:#x} length={bytes:#x}");
        for (bit, count) in counts.iter().enumerate() {
            if *count != 0 {
                seq_print!(out.file(), " {:#x}={count}", 1_u64 << bit);
            }
        }
        seq_print!(out.file(), "\n");
    }
    rest
}
