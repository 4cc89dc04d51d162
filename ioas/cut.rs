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
        interval::Vacancy,
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::warn_on_once,
        reason::{
            Reason,
            Result, //
        },
        units::IovaRange, //
    }, //
};

/// What has become of a cut.
enum Cut {
    /// An area was cut.
    Done,
    /// There is nothing to cut.
    Nothing,
    /// Another task moves or reads the area, which must be waited for.
    Wait,
}

impl Ioas {
    /// Cuts the area that contains `last` and the address behind it, if there is one. On failure
    /// nothing has changed.
    ///
    /// Returns `EBUSY` if another task maps or unmaps the area, `EOPNOTSUPP` for device memory,
    /// `ENOMEM`, and `EINTR` if the task is killed while another one moves or reads the area.
    /// Returns `EINVAL` if the cut is not aligned, if an access pins pages of the area, or if page
    /// tables may have large pages for it.
    pub(crate) fn cut_after(&self, last: u64) -> Result {
        let result = loop {
            let mut space = self.space.write();
            match space.cut_after(last) {
                Ok(Cut::Wait) => {}
                result => {
                    drop(space);
                    break result;
                }
            }
            if let Err(error) = self.settled.wait_killable(space) {
                break Err(error.into());
            }
        };
        self.let_readers_in(last, false);
        if let Cut::Done = result? {
            self.stats.areas.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

impl Space {
    /// As [`Ioas::cut_after`].
    fn cut_after(&mut self, last: u64) -> Result<Cut> {
        let Space {
            domains,
            areas,
            alignment,
            ..
        } = self;
        let Some((range, area)) = areas.first_in_mut(IovaRange::at(last)) else {
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
        let length = rest.start() - range.start();
        let tail = Slice {
            pages: area.slice.pages.clone(),
            start: area.slice.start + length,
            length: area.slice.length - length,
        };
        if (rest.start() | tail.start) & (*alignment - 1) != 0 {
            return Err(Reason::UnmapCutUnaligned.with(rest.start()));
        }
        // Accesses begin and end while the lock is held for reading, so none does now.
        if area.accesses.load(Relaxed) != 0 || domains.may_have_large_pages() {
            return Err(Reason::UnmapCutInUse.with(range.start()));
        }
        if area.must_wait() {
            return Ok(Cut::Wait);
        }
        let vacancy = Vacancy::new()?;
        let pinned = domains.members.is_pinned(area.followed);
        tail.pages.divide(tail.start, pinned)?;

        // Nothing fails from here on.
        let mut second = Area::building(tail, area.prot, area.followed);
        second.state = State::Ready;
        let refused = self.split(vacancy, range, rest.start(), second);
        warn_on_once!(refused.is_err());
        Ok(Cut::Done)
    }
}

/// Returns the part of `range` behind `last`, which is in it.
fn after(range: IovaRange, last: u64) -> Option<IovaRange> {
    IovaRange::new(last.checked_add(1)?, range.last())
}
