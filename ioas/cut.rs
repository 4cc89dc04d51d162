// SPDX-License-Identifier: GPL-2.0-only

//! Cutting of areas, so that a part of a mapping can be unmapped.
//!
//! The page tables and the pins stay as they are. Each part is unmapped and unpinned for itself
//! from then on.

use kernel::sync::atomic::ordering::Relaxed;

use crate::{
    ioas::{
        area::{
            Area,
            Slice,
            State, //
        },
        behind::Follower,
        interval::Vacancy,
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::{
            debug_warn_on_once,
            some_or_warn,
            warn_on_once, //
        },
        reason::{
            Reason,
            Result, //
        },
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// What has become of a cut.
enum Cut {
    /// An area was cut.
    Done,
    /// There is nothing to cut.
    Nothing,
    /// Another task moves, cuts or reads the area, which must be waited for.
    Wait,
    /// An area must be cut, and there is no memory for the second part. Nothing has changed.
    NoMemory,
    /// The area is in [`State::Cutting`]. Its memory is pinned, and must be divided.
    Begun(Begun),
}

/// A cut that has begun.
struct Begun {
    /// The area.
    range: IovaRange,
    /// The first address of the second part.
    at: u64,
    /// The memory of the second part.
    tail: Slice,
    /// Memory for its area.
    vacancy: Vacancy<IovaUnit, Area>,
}

impl Ioas {
    /// Cuts the area that contains `last` and the address behind it, if there is one. On failure
    /// nothing has changed.
    ///
    /// Returns `EBUSY` if another task maps or unmaps the area, `EOPNOTSUPP` for device memory,
    /// `ENOMEM`, and `EINTR` if the task is killed while another one moves, cuts or reads the area, or
    /// maps memory of its source. Returns `EINVAL` if the cut is not aligned, if an access pins pages of
    /// the area, or if page tables may have large pages for it.
    pub(crate) fn cut_after(&self, last: u64) -> Result {
        let mut vacancy = None;
        let result = loop {
            let mut space = self.space.write();
            match space.begin_cut(last, &mut vacancy) {
                Ok(Cut::Wait) => {}
                Ok(Cut::NoMemory) => {
                    drop(space);
                    match Vacancy::new() {
                        Ok(new) => vacancy = Some(new),
                        Err(error) => break Err(error.into()),
                    }
                    continue;
                }
                Ok(Cut::Begun(begun)) => {
                    drop(space);
                    break self.finish_cut(begun);
                }
                result => {
                    if let Ok(Cut::Done) = result {
                        self.stats.areas.fetch_add(1, Relaxed);
                    }
                    drop(space);
                    break result.map(drop);
                }
            }
            if let Err(error) = self.settled.wait_killable(space) {
                break Err(error.into());
            }
        };
        self.let_readers_in(last, false);
        result
    }

    /// Divides the pinned memory and then the area, which becomes ready. `Ioas::space` is not held
    /// while this waits for another task that maps memory of the source.
    fn finish_cut(&self, begun: Begun) -> Result {
        let Begun {
            range,
            at,
            tail,
            vacancy,
        } = begun;
        let result = tail.pages.divide(tail.start);
        let mut space = self.space.write();
        // What is in a domain and may be cut is aligned to pages of the CPU, and no device needs more.
        debug_warn_on_once!(space.check_cut(at, &tail).is_err());
        // No other task removes or cuts an area in `State::Cutting`.
        let area = some_or_warn!(space.areas.get_mut(range))?;
        // Readers are kept out of it.
        warn_on_once!(*area.readers.get_mut() != 0);
        let followed = area.followed();
        // Readers may come to the parts.
        area.set_state(State::Moving);
        if result.is_ok() {
            let second = Area::second(area, tail);
            let refused = space.split(vacancy, range, at, second);
            warn_on_once!(refused.is_err());
            self.stats.areas.fetch_add(1, Relaxed);
        }
        let mut areas = space.areas.iter_in(range);
        let parts = [areas.next(), areas.next()];
        // Dropped after the lock is released, since other tasks may unmap the parts then.
        let parts = parts.map(|part| part.map(|(range, area)| (range, area.slice.clone())));
        let parts = parts.iter().flatten().map(|(range, slice)| (*range, slice));
        let mut space = self.catch_up(space, followed, parts.clone());
        space.make_ready(parts.map(|(range, _)| range));
        self.settle(space);
        result
    }
}

impl Space {
    /// As [`Ioas::cut_after`], up to the division of pinned memory. Takes the memory for the second part
    /// out of `vacancy`.
    fn begin_cut(
        &mut self,
        last: u64,
        vacancy: &mut Option<Vacancy<IovaUnit, Area>>,
    ) -> Result<Cut> {
        let Some((range, area)) = self.areas.first_in_mut(IovaRange::at(last)) else {
            return Ok(Cut::Nothing);
        };
        let Some(rest) = after(range, last) else {
            return Ok(Cut::Nothing);
        };
        // Such a cut leaves a byte before it, which is not aligned. It is ignored, and the
        // unmapping fails later.
        if last == range.start() {
            return Ok(Cut::Nothing);
        }
        if !area.is_mapped() || area.prevent_access {
            return Err(Reason::UnmapBusy.with(range.start()));
        }
        if area.slice.pages.mmio().is_some() {
            return Err(Reason::UnmapCutDevice.with(range.start()));
        }
        let at = rest.start();
        let length = at - range.start();
        let tail = Slice {
            pages: area.slice.pages.clone(),
            start: area.slice.start + length,
            length: area.slice.length - length,
        };
        // Accesses begin and end while the lock is held for reading, so none does now.
        let in_use = area.accesses.load(Relaxed) != 0;
        self.check_cut(at, &tail)?;
        if in_use || self.domains.may_have_large_pages() {
            return Err(Reason::UnmapCutInUse.with(range.start()));
        }
        let area = some_or_warn!(self.areas.get_mut(range))?;
        if area.must_wait() {
            return Ok(Cut::Wait);
        }
        let Some(vacancy) = vacancy.take() else {
            return Ok(Cut::NoMemory);
        };
        if self.domains.members.is_pinned(area.followed()) {
            area.set_state(State::Cutting);
            return Ok(Cut::Begun(Begun {
                range,
                at,
                tail,
                vacancy,
            }));
        }
        // Nothing fails from here on.
        let second = Area::second(area, tail);
        let refused = self.split(vacancy, range, at, second);
        warn_on_once!(refused.is_err());
        Ok(Cut::Done)
    }

    /// Returns `EINVAL` if an area may not begin at address `at`, with `tail` as its memory.
    fn check_cut(&self, at: u64, tail: &Slice) -> Result {
        if (at | tail.start) & (self.alignment - 1) == 0 {
            Ok(())
        } else {
            Err(Reason::UnmapCutUnaligned.with(at))
        }
    }
}

/// Returns the part of `range` behind `last`, which is in it.
fn after(range: IovaRange, last: u64) -> Option<IovaRange> {
    IovaRange::new(last.checked_add(1)?, range.last())
}
