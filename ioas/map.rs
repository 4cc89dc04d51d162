// SPDX-License-Identifier: GPL-2.0-only

//! Mapping of memory, and of memory that is mapped elsewhere.
//!
//! First the addresses are taken by areas in [`State::Building`], which other tasks do not change;
//! then the memory is pinned and mapped into the domains that there were at that moment; last the
//! areas become ready. `Ioas::space` is held for the first and the last step only. Each step has a
//! guard that undoes it when it is dropped.

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    }, //
};

use crate::{
    ioas::{
        area::{
            Area,
            Slice,
            State, //
        },
        domains::{
            fill_one,
            release,
            unfill_one, //
        },
        interval::Vacancy,
        membership::{
            Followed,
            Next, //
        },
        Ioas, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        iommu::domain::{
            Domain,
            Prot, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        sync::{
            chunks::Chunks,
            signal, //
        },
        units::{
            align_up,
            page_offset,
            IovaRange,
            IovaUnit,
            PAGE_SIZE, //
        }, //
    }, //
};

/// Where to put a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Placement {
    /// At this IOVA.
    Fixed(u64),
    /// At an IOVA of the kernel's choice.
    Anywhere,
}

/// A slice that is being mapped.
pub(crate) struct Part {
    slice: Slice,
    /// Memory for its area, until there is an area.
    vacancy: Option<Vacancy<IovaUnit, Area>>,
    /// The range of its area, once there is an area.
    range: Option<IovaRange>,
}

impl Part {
    /// Allocates memory for its area. Returns `ENOMEM`.
    #[inline]
    pub(crate) fn new(slice: Slice) -> Result<Self, Error> {
        Ok(Self {
            slice,
            vacancy: Some(Vacancy::new()?),
            range: None,
        })
    }
}

/// Returns the parts that have an area.
fn areas(parts: &Chunks<Part>) -> impl Iterator<Item = (IovaRange, &Slice)> + Clone {
    parts
        .iter()
        .filter_map(|part| Some((part.range?, &part.slice)))
}

/// Areas in [`State::Building`]. Dropping it removes them.
struct Taken<'a> {
    ioas: &'a Ioas,
    parts: Chunks<Part>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let mut space = self.ioas.space.write();
        for (range, _) in areas(&self.parts) {
            // The slice of the part keeps the memory from being dropped under the lock.
            warn_on_once!(space.remove(range).is_none());
        }
        self.ioas.settle(space);
    }
}

/// What was decided when the addresses were taken.
struct Terms {
    /// The first IOVA.
    iova: u64,
    prot: Prot,
    /// Tells which domains the areas are mapped into.
    followed: Followed,
    /// The first of these domains.
    first: Option<Next<Arc<Domain>>>,
    small_pages: bool,
}

/// Areas that domains have. Dropping it unmaps them.
struct Filled<'a> {
    ioas: &'a Ioas,
    parts: &'a Chunks<Part>,
    followed: Followed,
    /// The slot up to which all domains have all areas.
    slot: usize,
    /// The number of the parts that the domain of that slot has as well, from the first.
    count: usize,
    /// The number of the parts whose memory is pinned, from the first.
    pinned: usize,
}

impl<'a> Filled<'a> {
    /// Maps the areas into every domain that is to have them. What is mapped on failure is unmapped
    /// when the result is dropped. Returns the errors of [`fill_one`], and `EINTR` if the task is
    /// being killed.
    fn fill(ioas: &'a Ioas, parts: &'a Chunks<Part>, terms: Terms) -> Result<Self> {
        let mut filled = Self {
            ioas,
            parts,
            followed: terms.followed,
            slot: 0,
            count: 0,
            pinned: 0,
        };
        let mut first = true;
        let mut next = terms.first;
        while let Some(Next { slot, domain, more }) = next {
            filled.slot = slot;
            for (range, slice) in areas(parts) {
                // There may be millions, whose memory is pinned already.
                signal::check_killed()?;
                fill_one(&domain, range, slice, terms.prot, terms.small_pages, first)?;
                filled.count += 1;
                filled.pinned += usize::from(first);
            }
            first = false;
            filled.slot = slot + 1;
            filled.count = 0;
            next = ioas.next_domain(more, slot, terms.followed);
        }
        Ok(filled)
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        let mut next = self.ioas.first_domain(self.followed);
        while let Some(Next { slot, domain, more }) = next {
            if slot > self.slot || (slot == self.slot && self.count == 0) {
                break;
            }
            let count = if slot == self.slot {
                self.count
            } else {
                usize::MAX
            };
            unfill_one(&domain, areas(self.parts).take(count));
            next = self.ioas.next_domain(more, slot, self.followed);
        }
        for (_, slice) in areas(self.parts).take(self.pinned) {
            release(slice);
        }
    }
}

impl Ioas {
    /// Returns the first domain that has the areas that have followed these changes. The caller
    /// must work on such an area, so that domains keep their slots.
    fn first_domain(&self, followed: Followed) -> Option<Next<Arc<Domain>>> {
        self.space.read().domains.members.next(0, followed)
    }

    /// Returns the domain behind that of `slot`, if there are `more`. See [`Ioas::first_domain`].
    pub(super) fn next_domain(
        &self,
        more: bool,
        slot: usize,
        followed: Followed,
    ) -> Option<Next<Arc<Domain>>> {
        if !more {
            return None;
        }
        self.space.read().domains.members.next(slot + 1, followed)
    }

    /// Maps parts one behind the other, `length` bytes in all. Calls `commit` with the
    /// IOVA of the first byte when all is mapped, before other tasks can see it. On failure, also
    /// of `commit`, nothing has changed.
    ///
    /// Returns `EINVAL` for misalignment and reserved addresses, `EEXIST` if part of the range is
    /// mapped, `ENOSPC` if no address fits, `EOVERFLOW` if the range passes the end of the address
    /// space, `EPERM` if devices shall write to memory that permits only reads, `ENOMEM`, `EINTR`
    /// if the task is being killed, and `EFAULT`.
    pub(crate) fn map(
        &self,
        parts: Chunks<Part>,
        length: u64,
        placement: Placement,
        prot: Prot,
        commit: impl FnOnce(u64) -> Result,
    ) -> Result {
        let mut taken = Taken { ioas: self, parts };
        let terms = self.take(&mut taken.parts, length, placement, prot)?;

        let iova = terms.iova;
        let filled = Filled::fill(self, &taken.parts, terms)?;
        commit(iova)?;

        // A domain that was added meanwhile fills these areas when they are ready.
        let mut space = self.space.write();
        let mut count = 0;
        for (range, _) in areas(&taken.parts) {
            match space.areas.get_mut(range) {
                Some(area) => {
                    area.state = State::Ready;
                    count += 1;
                }
                // No other task removes an area in `State::Building`.
                None => {
                    warn_on_once!(true);
                }
            }
        }
        let work = space.domains.members.take_work();
        // Other tasks can unmap the areas when the lock is released.
        self.stats.areas.fetch_add(count, Relaxed);
        self.stats.bytes.fetch_add(length, Relaxed);
        drop(space);
        // The mapping is complete, so neither guard may undo it.
        core::mem::forget(filled);
        taken.parts = Chunks::new();
        self.settled.wake_all();
        self.work(work);
        Ok(())
    }

    /// Takes the addresses for `parts`. The parts say which areas were made, also on failure.
    fn take(
        &self,
        parts: &mut Chunks<Part>,
        length: u64,
        placement: Placement,
        prot: Prot,
    ) -> Result<Terms> {
        let mut space = self.space.write();
        let mask = space.alignment - 1;
        let followed = space.domains.members.up_to_date();

        if length == 0 || length & mask != 0 {
            return Err(Reason::MapLength.with(length));
        }
        let iova = match placement {
            Placement::Anywhere => {
                // `length` is that of the parts together, and not 0.
                let first = some_or_warn!(parts.iter().next())?;
                let origin = first.slice.origin();
                space.choose(origin, length)?
            }
            Placement::Fixed(iova) => {
                if iova & mask != 0 {
                    return Err(Reason::MapUnaligned.with(iova));
                }
                let range = IovaRange::from_len(iova, length);
                space.check(range.because(Reason::MapOverflow, iova)?)?;
                iova
            }
        };
        let mut start = iova;
        for part in parts.iter_mut() {
            let slice = &part.slice;
            if prot.write && !slice.pages.writable() {
                return Err(Reason::MapReadOnly.with(0));
            }
            if page_offset(slice.start) & mask != 0 {
                return Err(Reason::MapMemoryUnaligned.with(slice.start));
            }
            // Rounded up to pages the slice must still fit in 64 bits.
            let end = slice.start.checked_add(slice.length);
            end.and_then(|end| align_up(end, PAGE_SIZE))
                .ok_or(Reason::MapOverflow.with(slice.start))?;
            let range = IovaRange::from_len(start, slice.length);
            let range = range.because(Reason::MapOverflow, start)?;
            let area = Area::building(slice.clone(), prot, followed);
            let vacancy = some_or_warn!(part.vacancy.take())?;
            let refused = space.insert(vacancy, range, area);
            // All of the range was checked above.
            if warn_on_once!(refused.is_err()) {
                return Err(Reason::MapExists.with(start));
            }
            part.range = Some(range);
            start = start.wrapping_add(slice.length);
        }
        Ok(Terms {
            iova,
            prot,
            followed,
            first: space.domains.members.next(0, followed),
            small_pages: space.domains.small_pages,
        })
    }

    /// Returns the memory that is mapped at `range`, as parts in order for another mapping. Returns
    /// `ENOENT` if part of the range is not mapped, and `ENOMEM`.
    pub(crate) fn parts(&self, range: IovaRange) -> Result<Chunks<Part>> {
        let mut parts = Chunks::new();
        let mut next = Some(range.start());

        let space = self.space.read();
        for (mapped, area) in space.areas.iter_in(range) {
            let start = mapped.start().max(range.start());
            if !area.is_mapped() || next != Some(start) {
                return Err(Reason::MapGap.with(next.unwrap_or(start)));
            }
            let last = mapped.last().min(range.last());
            parts.push(Part::new(Slice {
                pages: area.slice.pages.clone(),
                start: area.slice.start + (start - mapped.start()),
                length: last - start + 1,
            })?)?;
            next = last.checked_add(1);
        }
        if next == range.last().checked_add(1) {
            Ok(parts)
        } else {
            Err(Reason::MapGap.with(next.unwrap_or(range.start())))
        }
    }
}
