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

impl Ioas {
    /// Cuts the area that contains `last` and the address behind it, if there is one. On failure
    /// nothing has changed.
    ///
    /// Returns `EBUSY` if another task works on the area, `EOPNOTSUPP` for device memory, and
    /// `ENOMEM`. Returns `EINVAL` if the cut is not aligned, if an access pins pages of the area,
    /// or if page tables may have large pages for it.
    pub(crate) fn cut_after(&self, last: u64) -> Result {
        let domains = self.domains.read();
        let mut space = self.space.write();

        let Some(point) = IovaRange::new(last, last) else {
            return Ok(());
        };
        let Some((range, area)) = space.areas.first_in(point) else {
            return Ok(());
        };
        let Some(rest) = after(range, last) else {
            return Ok(());
        };
        // Such a cut leaves a byte before it, which is not aligned. It is ignored, and the
        // unmapping fails later.
        if last == range.start() {
            return Ok(());
        }
        if area.state != State::Ready || area.prevent_access {
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
        if (rest.start() | tail.start) & (space.alignment - 1) != 0 {
            return Err(Reason::UnmapCutUnaligned.with(rest.start()));
        }
        // Accesses begin and end while the lock is held for reading, so none does now.
        if area.accesses.load(Relaxed) != 0 || domains.may_have_large_pages() {
            return Err(Reason::UnmapCutInUse.with(range.start()));
        }
        let prot = area.prot;
        let vacancy = Vacancy::new()?;
        tail.pages.divide(tail.start, !domains.is_empty())?;

        // Nothing fails from here on.
        let mut area = Area::building(tail, prot);
        area.state = State::Ready;
        let refused = space.split(vacancy, range, rest.start(), area);
        warn_on_once!(refused.is_err());
        self.stats.areas.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Returns the part of `range` behind `last`, which is in it.
fn after(range: IovaRange, last: u64) -> Option<IovaRange> {
    IovaRange::new(last.checked_add(1)?, range.last())
}
