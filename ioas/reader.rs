// SPDX-License-Identifier: GPL-2.0-only

//! Use of areas without a lock of the address space: for dirty pages, for accesses, for physical
//! addresses, and to copy mappings.

use kernel::sync::atomic::ordering::Relaxed;

use crate::{
    ioas::{
        area::Area,
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        reason::Result,
        units::IovaRange, //
    }, //
};

/// The number of areas that are looked at while `Ioas::space` is held once.
const MOST_LOOKS: usize = 1024;

/// Goes from area to area, and is counted in [`Area::readers`] of the one that it is at. That area
/// is neither unmapped nor cut meanwhile; the tasks that want to do so wait.
pub(super) struct Reader<'a> {
    ioas: &'a Ioas,
    at: Option<IovaRange>,
    /// The caller is counted in the areas already, as a reader or as an access. The reader ignores
    /// [`Area::wanted`] then, because the task that has set it waits for the caller.
    held: bool,
}

impl Ioas {
    /// Returns a reader that is at no area.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            ioas: self,
            at: None,
            held: false,
        }
    }

    /// Returns a reader of areas in which the caller is counted as a reader or an access, so that
    /// they are neither unmapped nor cut. It never waits.
    pub(super) fn reader_of_held(&self) -> Reader<'_> {
        Reader {
            ioas: self,
            at: None,
            held: true,
        }
    }

    /// Returns a reader of several areas at once, from the start of `range` on, that is at none.
    pub(super) fn hold(&self, range: IovaRange) -> Held<'_> {
        Held {
            ioas: self,
            range,
            last: None,
        }
    }

    /// If a task unmaps or cuts the area at `iova`, or waits to do so, waits until something has changed.
    /// Returns `EINTR` if the task is killed.
    pub(super) fn give_way(&self, iova: u64) -> Result {
        let space = self.space.write();
        let area = space.areas.first_in(IovaRange::at(iova));
        if area.is_some_and(|(_, area)| area.keeps_readers_out()) {
            self.settled.wait_killable(space)?;
        }
        Ok(())
    }

    /// Returns the alignment of addresses and lengths in bytes: a power of two, at most a page.
    pub(crate) fn alignment(&self) -> u64 {
        self.space.read().alignment
    }
}

impl Reader<'_> {
    /// Leaves the area that the reader is at, and goes to the first mapped area in `within`. Calls
    /// `f` with it, under `Ioas::space` held for reading, which is released after [`MOST_LOOKS`] areas that
    /// are not mapped. Returns `None` if there is no such area, `EINTR` if the task is killed while it
    /// waits for another one to unmap or cut the area, and the error of `f`; the reader is at no area
    /// then.
    pub(super) fn next<T>(
        &mut self,
        mut within: IovaRange,
        mut f: impl FnMut(IovaRange, &Area) -> Result<T>,
    ) -> Result<Option<T>> {
        loop {
            let left = self.at.take();
            let space = self.ioas.space.read();
            if let Some(at) = left {
                leave(&space, at);
            }
            let mut mapped = space.areas.iter_in(within);
            let found = (mapped.by_ref().take(MOST_LOOKS)).find(|(_, area)| area.is_mapped());
            let more = match found {
                Some(_) => None,
                None => mapped.next().map(|(range, _)| range.start()),
            };
            let wanted_at = found
                .filter(|(_, area)| area.keeps_readers_out() && !self.held)
                .map(|(range, _)| range.start().max(within.start()));
            let result = match found {
                Some((range, area)) if wanted_at.is_none() => f(range, area).map(|value| {
                    area.readers.add(1, Relaxed);
                    self.at = Some(range);
                    Some(value)
                }),
                _ => Ok(None),
            };
            drop(space);
            if left.is_some() {
                self.ioas.settled.wake_all();
            }
            match (wanted_at, more) {
                (Some(iova), _) => self.ioas.give_way(iova)?,
                (None, Some(start)) => {
                    within = some_or_warn!(IovaRange::new(start, within.last()))?;
                    self.ioas.space.let_waiters_in();
                }
                (None, None) => return result,
            }
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let Some(at) = self.at.take() else {
            return;
        };
        let space = self.ioas.space.read();
        leave(&space, at);
        drop(space);
        self.ioas.settled.wake_all();
    }
}

/// The number of areas that a [`Held`] leaves at once.
const LEAVE_AT_ONCE: usize = 64;

/// Areas that are counted as being read, one behind the other from the start of `range` to `last`.
/// Dropping it ends that. The task must not wait for another one that unmaps or cuts an area
/// meanwhile.
pub(super) struct Held<'a> {
    ioas: &'a Ioas,
    range: IovaRange,
    last: Option<u64>,
}

impl Held<'_> {
    /// Counts a reader of `area`, which is the next one, and covers the range up to `last`. The caller
    /// holds `Ioas::space`.
    pub(super) fn add(&mut self, area: &Area, last: u64) {
        area.readers.add(1, Relaxed);
        self.last = Some(last);
    }

    /// Returns the range that the areas cover.
    pub(super) fn covered(&self) -> Option<IovaRange> {
        IovaRange::new(self.range.start(), self.last?)
    }

    /// Ends the reading. Calls `f` with each area before, under `Ioas::space` held for reading.
    pub(super) fn release(&mut self, mut f: impl FnMut(&Area)) {
        let mut rest = self.covered();
        while let Some(within) = rest.take() {
            let space = self.ioas.space.read();
            let mut areas = space.areas.iter_in(within);
            for (_, area) in areas.by_ref().take(LEAVE_AT_ONCE) {
                f(area);
                area.reader_leaves();
            }
            // It is there when the lock was released, since it has a reader.
            rest = areas
                .next()
                .and_then(|(next, _)| IovaRange::new(next.start(), within.last()));
            drop(space);
            if rest.is_some() {
                self.ioas.space.let_waiters_in();
            }
        }
        if self.last.take().is_some() {
            self.ioas.settled.wake_all();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.release(|_| {});
    }
}

/// Ends the reading of the area at `range`, which was counted. The area is still there, since that
/// keeps it from being removed and cut.
fn leave(space: &Space, range: IovaRange) {
    let area = space.areas.get(range);
    warn_on_once!(area.is_none());
    area.into_iter().for_each(Area::reader_leaves);
}
