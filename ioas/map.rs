// SPDX-License-Identifier: GPL-2.0-only

//! Mapping of memory, and of memory that is mapped elsewhere.
//!
//! First the addresses are taken by areas in [`State::Building`](crate::ioas::area::State::Building), which
//! other tasks do not change; then the memory is pinned and mapped into the domains that there were at
//! that moment; last the areas are taken out of those that leave meanwhile, and become ready. `Ioas::space`
//! is held for the first and the last step only. Each step has a guard that undoes it when it is dropped.
//!
//! There may be millions of areas, so the lock is released in the first step after some of them. The
//! first area takes all of the addresses, and the others are cut off from it one after the other. In
//! the last step a [`Joint`] makes all of them ready at one moment.

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
            Joint,
            Slice, //
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
            to_u64,
            IovaRange,
            IovaUnit,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The largest number of areas that are made, changed or removed while `Ioas::space` is held once.
const AT_ONCE: usize = 32;

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
    /// The range of its area, once there is an area. The last one that was made has the addresses of
    /// all further parts, too.
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

    /// Returns `EPERM` if devices shall write to memory that permits only reads, `EINVAL` if the memory
    /// is not aligned, and `EOVERFLOW` if its last page passes the end of 64 bits.
    #[inline]
    fn check(&self, prot: Prot, mask: u64) -> Result {
        let slice = &self.slice;
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
        Ok(())
    }
}

/// Returns the parts that have an area.
fn areas(parts: &Chunks<Part>) -> impl Iterator<Item = (IovaRange, &Slice)> + Clone {
    parts
        .iter()
        .filter_map(|part| Some((part.range?, &part.slice)))
}

/// Areas that are being built. Dropping it removes them.
struct Taken<'a> {
    ioas: &'a Ioas,
    parts: Chunks<Part>,
    /// If there are more than [`AT_ONCE`] parts: what makes the areas ready.
    joint: Option<Arc<Joint>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut areas = areas(&self.parts).peekable();
        while areas.peek().is_some() {
            let mut space = self.ioas.space.write();
            for (range, _) in areas.by_ref().take(AT_ONCE) {
                // The slice of the part keeps the memory from being dropped under the lock.
                warn_on_once!(space.remove(range).is_none());
            }
            if areas.peek().is_none() {
                self.ioas.settle(space);
            }
        }
    }
}

/// What was decided when the addresses were taken.
struct Terms {
    /// The addresses.
    range: IovaRange,
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
        let many = parts.iter().nth(AT_ONCE).is_some();
        let joint = if many { Some(Joint::new()?) } else { None };
        let mut taken = Taken {
            ioas: self,
            parts,
            joint,
        };
        let terms = taken.take(length, placement, prot)?;

        let (range, followed) = (terms.range, terms.followed);
        let filled = Filled::fill(self, &taken.parts, terms)?;
        commit(range.start())?;
        // The mapping is complete, so neither guard may undo it.
        core::mem::forget(filled);

        let count = areas(&taken.parts).count();
        // A domain that was added meanwhile fills these areas when they are ready.
        let space = self.space.write();
        let mut space = self.catch_up(space, followed, areas(&taken.parts));
        match &taken.joint {
            Some(joint) => joint.make_ready(),
            None => space.make_ready(areas(&taken.parts).map(|(range, _)| range)),
        }
        // Other tasks can unmap the areas when the lock is released.
        self.stats.areas.fetch_add(to_u64(count), Relaxed);
        self.stats.bytes.fetch_add(length, Relaxed);
        // May have the last references to memory, which must not be dropped under the lock.
        let parts = core::mem::take(&mut taken.parts);
        self.settle(space);
        drop(parts);
        if let Some(joint) = &taken.joint {
            self.dissolve(joint, range);
        }
        Ok(())
    }

    /// Makes the areas in `range` that are of `joint`, which is ready, ones like others.
    fn dissolve(&self, joint: &Arc<Joint>, range: IovaRange) {
        let mut rest = Some(range);
        while let Some(mut within) = rest.take() {
            let mut space = self.space.write();
            for _ in 0..AT_ONCE {
                let Some((found, area)) = space.areas.first_in_mut(within) else {
                    return;
                };
                area.leave(joint);
                let next = found.last().checked_add(1);
                let Some(next) = next.and_then(|start| IovaRange::new(start, range.last())) else {
                    return;
                };
                within = next;
            }
            rest = Some(within);
        }
    }
}

impl Taken<'_> {
    /// Takes the addresses. The parts say which areas were made, also on failure. Returns the errors
    /// of [`Ioas::map`].
    fn take(&mut self, length: u64, placement: Placement, prot: Prot) -> Result<Terms> {
        let mut space = self.ioas.space.write();
        let mask = space.alignment - 1;

        if length == 0 || length & mask != 0 {
            return Err(Reason::MapLength.with(length));
        }
        let iova = match placement {
            Placement::Anywhere => {
                // `length` is that of the parts together, and not 0.
                let first = some_or_warn!(self.parts.iter().next())?;
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
        let followed = space.domains.members.up_to_date();
        let whole = IovaRange::from_len(iova, length).because(Reason::MapOverflow, iova)?;
        let terms = Terms {
            range: whole,
            prot,
            followed,
            first: space.domains.members.next(0, followed),
            small_pages: space.domains.small_pages,
        };
        // The last area that was made, which has the addresses from `rest` on.
        let mut before: Option<&mut Part> = None;
        let mut rest = whole;
        let mut start = iova;
        for (count, part) in self.parts.iter_mut().enumerate() {
            if count != 0 && count % AT_ONCE == 0 {
                drop(space);
                signal::check_killed()?;
                space = self.ioas.space.write();
            }
            part.check(prot, space.alignment - 1)?;
            let area = Area::building(part.slice.clone(), prot, followed, self.joint.clone());
            let vacancy = some_or_warn!(part.vacancy.take())?;
            let refused = match before {
                None => space.insert(vacancy, whole, area),
                Some(before) => {
                    let refused = space.split(vacancy, rest, start, area);
                    if refused.is_ok() {
                        before.range = IovaRange::new(rest.start(), start - 1);
                    }
                    refused
                }
            };
            // All of the range was checked above, and no other task changes an area that is building.
            if warn_on_once!(refused.is_err()) {
                return Err(Reason::MapExists.with(start));
            }
            rest = some_or_warn!(IovaRange::new(start, whole.last()))?;
            part.range = Some(rest);
            start = start.wrapping_add(part.slice.length);
            before = Some(part);
        }
        Ok(terms)
    }
}
