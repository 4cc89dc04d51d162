// SPDX-License-Identifier: GPL-2.0-only

//! Mapping of memory, and of memory that is mapped elsewhere.
//!
//! First the addresses are taken by areas in [`State::Building`](crate::ioas::area::State::Building), which
//! other tasks do not change; then the memory is pinned and mapped into the domains that there were at
//! that moment; last the areas are taken out of those that leave meanwhile, and become ready. `Ioas::space`
//! is held for the first and the last step only. Each step has a guard that undoes it when it is dropped.
//!
//! There may be millions of areas, so the lock is released in the first step after some of them, also while
//! an address is chosen. The first area takes all of the addresses, and the others are cut off from it one
//! after the other. In the last step a [`Joint`] makes all of them ready at one moment.

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
            Slice,
            State, //
        },
        domains::{
            fill_one,
            release,
            unfill_one, //
        },
        interval::Vacancy,
        iova_alloc::Search,
        membership::{
            Followed,
            Next, //
        },
        space::Space,
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
            rwsem::WriteGuard,
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

/// Memory for an area.
pub(crate) type VacantArea = Vacancy<IovaUnit, Area>;

/// Tells user space the IOVA. [`Ioas::map`] is not generic over it, so that what it calls becomes part of it.
pub(crate) type Commit<'a> = &'a mut dyn FnMut(u64) -> Result;

/// A slice that is being mapped.
pub(crate) struct Part {
    /// The memory, unless only its area has that.
    slice: Option<Slice>,
    /// Memory for its area, until there is an area.
    vacancy: Option<VacantArea>,
    /// The range of its area, once there is an area. The last one that was made has the addresses of
    /// all further parts, too.
    range: Option<IovaRange>,
}

impl Part {
    /// Creates one with memory for its area, which [`Part::vacancy`] has allocated.
    #[inline(always)]
    pub(crate) fn new(vacancy: VacantArea, slice: Slice) -> Self {
        Self {
            slice: Some(slice),
            vacancy: Some(vacancy),
            range: None,
        }
    }

    /// Allocates memory for an area. Returns `ENOMEM`.
    #[inline(always)]
    pub(crate) fn vacancy() -> Result<VacantArea, Error> {
        Vacancy::new()
    }

    /// Returns `EPERM` if devices shall write to memory that permits only reads, `EINVAL` if the memory
    /// is not aligned, and `EOVERFLOW` if its last page passes the end of 64 bits.
    #[inline(always)]
    fn check(&self, prot: Prot, mask: u64) -> Result {
        let slice = some_or_warn!(self.slice.as_ref())?;
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

    /// Returns its area, and the memory for that.
    #[inline(always)]
    fn begin(
        &mut self,
        prot: Prot,
        followed: Followed,
        joint: Option<&Arc<Joint>>,
    ) -> Result<(VacantArea, Area)> {
        let vacancy = some_or_warn!(self.vacancy.take())?;
        let slice = some_or_warn!(self.slice.clone())?;
        let area = Area::building(slice, prot, followed, joint.cloned());
        Ok((vacancy, area))
    }

    /// As [`Part::begin`], for an area that is ready.
    #[inline(always)]
    fn complete(&mut self, prot: Prot, followed: Followed) -> Result<(VacantArea, Area)> {
        let vacancy = some_or_warn!(self.vacancy.take())?;
        let slice = some_or_warn!(self.slice.take())?;
        let mut area = Area::building(slice, prot, followed, None);
        area.set_state(State::Ready);
        Ok((vacancy, area))
    }
}

/// Returns the parts that have an area.
fn areas(parts: &Chunks<Part>) -> impl Iterator<Item = (IovaRange, &Slice)> + Clone {
    parts
        .iter()
        .filter_map(|part| Some((part.range?, part.slice.as_ref()?)))
}

/// Areas that are being built. Dropping it removes them.
struct Taken<'a> {
    ioas: &'a Ioas,
    parts: &'a mut Chunks<Part>,
    /// If there are more than [`AT_ONCE`] parts: what makes the areas ready.
    joint: Option<Arc<Joint>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut areas = areas(self.parts).peekable();
        while areas.peek().is_some() {
            let mut space = self.ioas.space.write();
            for (range, _) in areas.by_ref().take(AT_ONCE) {
                // The slice of the part keeps the memory from being dropped under the lock.
                warn_on_once!(space.remove(range).is_none());
            }
            if areas.peek().is_none() {
                self.ioas.settle(space);
                break;
            }
            drop(space);
            self.ioas.space.let_waiters_in();
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
    /// The number of areas.
    count: u64,
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
    /// No domain has any of the areas yet.
    fn new(ioas: &'a Ioas, parts: &'a Chunks<Part>, followed: Followed) -> Self {
        Self {
            ioas,
            parts,
            followed,
            slot: 0,
            count: 0,
            pinned: 0,
        }
    }

    /// Maps the areas into every domain that is to have them. What is mapped on failure is unmapped
    /// when this is dropped. Returns the errors of [`fill_one`], and `EINTR` if the task is being
    /// killed.
    fn fill(&mut self, terms: Terms) -> Result {
        let mut first = true;
        let mut next = terms.first;
        while let Some(Next { slot, domain, more }) = next {
            self.slot = slot;
            for (range, slice) in areas(self.parts) {
                // There may be millions, whose memory is pinned already.
                signal::check_killed()?;
                fill_one(&domain, range, slice, terms.prot, terms.small_pages, first)?;
                self.count += 1;
                self.pinned += usize::from(first);
            }
            first = false;
            self.slot = slot + 1;
            self.count = 0;
            next = self.ioas.next_domain(more, slot, terms.followed);
        }
        Ok(())
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

    /// Maps parts one behind the other, `length` bytes in all. Calls `commit`, if there is one, with the
    /// IOVA of the first byte when all is mapped, before other tasks can see it. On failure, also of `commit`,
    /// nothing has changed.
    ///
    /// Returns `EINVAL` for misalignment and reserved addresses, `EEXIST` if part of the range is
    /// mapped, `ENOSPC` if no address fits, `EOVERFLOW` if the range passes the end of the address
    /// space, `EPERM` if devices shall write to memory that permits only reads, `ENOMEM`, `EINTR`
    /// if the task is being killed, and `EFAULT`.
    pub(crate) fn map(
        &self,
        mut parts: Chunks<Part>,
        length: u64,
        placement: Placement,
        prot: Prot,
        commit: Option<Commit<'_>>,
    ) -> Result {
        let joint = match parts.is_longer_than(AT_ONCE) {
            true => Some(Joint::new()?),
            false => None,
        };
        let mut taken = Taken {
            ioas: self,
            parts: &mut parts,
            joint,
        };
        let Some(terms) = taken.take(length, placement, prot, commit.is_some())? else {
            core::mem::forget(taken);
            // The area has all that was in them.
            core::mem::forget(parts);
            return Ok(());
        };

        let (range, followed, count) = (terms.range, terms.followed, terms.count);
        let mut filled = Filled::new(self, taken.parts, followed);
        filled.fill(terms)?;
        if let Some(commit) = commit {
            commit(range.start())?;
        }
        // The mapping is complete, so neither guard may undo it.
        core::mem::forget(filled);

        // A domain that was added meanwhile fills these areas when they are ready.
        let space = self.space.write();
        let mut space = self.catch_up(space, followed, areas(taken.parts));
        match &taken.joint {
            Some(joint) => joint.make_ready(),
            None => space.make_ready(areas(taken.parts).map(|(range, _)| range)),
        }
        // Other tasks can unmap the areas when the lock is released.
        self.count(count, length);
        // `parts` may have the last references to memory, which must not be dropped under the lock.
        self.settle(space);
        let joint = taken.joint.take();
        core::mem::forget(taken);
        if let Some(joint) = joint {
            self.dissolve(&joint, range);
        }
        Ok(())
    }

    /// Counts areas of `length` bytes in all.
    fn count(&self, areas: u64, length: u64) {
        self.stats.areas.fetch_add(areas, Relaxed);
        self.stats.bytes.fetch_add(length, Relaxed);
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
            drop(space);
            self.space.let_waiters_in();
        }
    }
}

impl Taken<'_> {
    /// Takes the addresses. The parts say which areas were made, also on failure. If nothing is left to be
    /// done, and the caller has nothing `to_tell`, makes the area ready and returns `None`. Returns the errors
    /// of [`Ioas::map`].
    fn take(
        &mut self,
        length: u64,
        placement: Placement,
        prot: Prot,
        to_tell: bool,
    ) -> Result<Option<Terms>> {
        let mut search = Search::new();
        let (mut space, mask, iova) = loop {
            let mut space = self.ioas.space.write();
            let mask = space.alignment - 1;

            if length == 0 || length & mask != 0 {
                return Err(Reason::MapLength.with(length));
            }
            let iova = match placement {
                Placement::Anywhere => {
                    // `length` is that of the parts together, and not 0.
                    let first = self.parts.iter().next();
                    let slice = some_or_warn!(first.and_then(|first| first.slice.as_ref()))?;
                    space.choose(slice.origin(), length, &mut search)?
                }
                Placement::Fixed(iova) => {
                    if iova & mask != 0 {
                        return Err(Reason::MapUnaligned.with(iova));
                    }
                    let range = IovaRange::from_len(iova, length);
                    space.check(range.because(Reason::MapOverflow, iova)?)?;
                    Some(iova)
                }
            };
            if let Some(iova) = iova {
                break (space, mask, iova);
            }
            drop(space);
            signal::check_killed()?;
            self.ioas.space.let_waiters_in();
        };
        let whole = IovaRange::from_len(iova, length).because(Reason::MapOverflow, iova)?;
        let followed = space.domains.members.up_to_date();
        let domain = space.domains.members.next(0, followed);
        // There is one.
        let (first, others) = some_or_warn!(self.parts.split_first_mut())?;
        first.check(prot, mask)?;
        // No domain is to have the area, and no other one is missing.
        let complete = domain.is_none() && others.is_none() && !to_tell;
        let (vacancy, area) = match complete {
            true => first.complete(prot, followed)?,
            false => first.begin(prot, followed, self.joint.as_ref())?,
        };
        // The addresses were checked above.
        if let Err(area) = space.insert(vacancy, whole, area) {
            warn_on_once!(true);
            drop((space, area));
            return Err(Reason::MapExists.with(iova));
        }
        if complete {
            // Other tasks can unmap it when the lock is released.
            self.ioas.count(1, length);
            return Ok(None);
        }
        first.range = Some(whole);
        let mut terms = Terms {
            range: whole,
            prot,
            followed,
            first: domain,
            small_pages: space.domains.small_pages,
            count: 1,
        };
        if let Some(others) = others {
            cut_off(
                self.ioas,
                space,
                first,
                others,
                self.joint.as_ref(),
                &mut terms,
            )?;
        }
        Ok(Some(terms))
    }
}

/// Gives the `others` areas, each of which is cut off from the one before, beginning with that of `first`,
/// which has all of the addresses. The parts say which areas were made, also on failure.
#[inline(never)]
fn cut_off<'a>(
    ioas: &'a Ioas,
    mut space: WriteGuard<'a, Space>,
    first: &'a mut Part,
    others: impl Iterator<Item = &'a mut Part>,
    joint: Option<&Arc<Joint>>,
    terms: &mut Terms,
) -> Result {
    let whole = terms.range;
    // The last area that was made, which has the addresses from `rest` on.
    let mut before = first;
    let mut rest = whole;
    for part in others {
        if terms.count % to_u64(AT_ONCE) == 0 {
            drop(space);
            signal::check_killed()?;
            ioas.space.let_waiters_in();
            space = ioas.space.write();
        }
        part.check(terms.prot, space.alignment - 1)?;
        let slice = some_or_warn!(before.slice.as_ref())?;
        let start = rest.start().wrapping_add(slice.length);
        // The lengths of the parts before need not be multiples, although that of all of them is.
        if start & (space.alignment - 1) != 0 {
            return Err(Reason::MapUnaligned.with(start));
        }
        let (vacancy, area) = part.begin(terms.prot, terms.followed, joint)?;
        // No other task changes an area that is building.
        if warn_on_once!(space.split(vacancy, rest, start, area).is_err()) {
            return Err(Reason::MapExists.with(start));
        }
        before.range = IovaRange::new(rest.start(), start - 1);
        rest = some_or_warn!(IovaRange::new(start, whole.last()))?;
        part.range = Some(rest);
        terms.count += 1;
        before = part;
    }
    Ok(())
}
