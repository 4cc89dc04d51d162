// SPDX-License-Identifier: GPL-2.0-only

//! Cutting areas, so that a part of what was mapped as one can be unmapped.
//!
//! Domains and pins stay as they are: both parts go on to be mapped and held, each on its own.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};

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
    kapi::units::IovaRange, //
};

impl Ioas {
    /// Cuts the area that has `last` and the address behind it, if there is one. `EBUSY` where
    /// somebody works on it, `EOPNOTSUPP` where it is device memory, `EINVAL` where the cut is not
    /// aligned, an access has pages of the area, or page tables may have large pages for it;
    /// `ENOMEM`. On failure nothing has changed.
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
        // No mapping is a single byte, so nobody wants this cut; whoever asks finds out later.
        if last == range.start() {
            return Ok(());
        }
        if area.state != State::Ready || area.prevent_access {
            return Err(EBUSY);
        }
        if area.slice.pages.mmio().is_some() {
            return Err(EOPNOTSUPP);
        }
        let length = rest.start() - range.start();
        let tail = Slice {
            pages: area.slice.pages.clone(),
            start: area.slice.start + length,
            length: area.slice.length - length,
        };
        if (rest.start() | tail.start) & (space.alignment - 1) != 0 {
            return Err(EINVAL);
        }
        // Accesses begin and end under the lock held for reading, so now none does.
        if area.accesses.load(Relaxed) != 0 || domains.may_have_large_pages() {
            return Err(EINVAL);
        }
        let prot = area.prot;
        let vacancy = Vacancy::new()?;
        tail.pages.divide(tail.start, !domains.is_empty())?;

        // From here on nothing fails.
        let mut area = Area::building(tail, prot);
        area.state = State::Ready;
        drop(space.areas.split(vacancy, range, rest.start(), area));
        let head = IovaRange::new(range.start(), last);
        if let Some(area) = head.and_then(|head| space.areas.get_mut(head)) {
            area.slice.length = length;
        }
        Ok(())
    }
}

/// What of `range` lies behind `last`, which is in it.
fn after(range: IovaRange, last: u64) -> Option<IovaRange> {
    IovaRange::new(last.checked_add(1)?, range.last())
}
