// SPDX-License-Identifier: GPL-2.0-only

//! Unmapping.
//!
//! Areas are put into [`State::Dying`] under the lock, unmapped from the domains without it,
//! several at a time so that the IOTLB is flushed once for them, and then removed. Nothing here
//! needs memory. An area that another task moves into a domain, or out of one, or reads, is waited
//! for.

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
        behind::Follower,
        domains::{
            release,
            unfill_one, //
        },
        membership::{
            Followed,
            Next, //
        },
        space::Space,
        stats::Stats,
        Ioas, //
    },
    kapi::{
        bug::{
            debug_warn_on_once,
            some_or_warn,
            warn_on_once, //
        },
        iommu::domain::Domain,
        reason::{
            Reason,
            Refusal,
            Result, //
        },
        sync::{
            range_tree::Removed,
            rwsem::WriteGuard, //
        },
        units::{
            to_u64,
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// The number of areas that are unmapped at once.
const BATCH: usize = 16;

/// How many times the drivers of emulated devices are called for one area.
const MOST_TRIES: u32 = 100;

/// At most `N` areas that are being unmapped. The same domains have them.
struct UnmapBatch<const N: usize> {
    areas: [Option<(IovaRange, Slice)>; N],
    count: usize,
    /// Tells which domains have the areas, if there are any.
    followed: Option<Followed>,
    /// The first of these domains.
    first: Option<Next<Arc<Domain>>>,
}

impl<const N: usize> UnmapBatch<N> {
    fn new() -> Self {
        Self {
            // An array of constants would be filled with zeroes.
            areas: core::array::from_fn(|_| None),
            count: 0,
            followed: None,
            first: None,
        }
    }

    fn areas(&self) -> impl Iterator<Item = (IovaRange, &Slice)> + Clone {
        let areas = self.areas.get(..self.count).unwrap_or(&[]);
        areas.iter().flatten().map(|(range, slice)| (*range, slice))
    }

    fn is_full(&self) -> bool {
        self.count == N
    }

    /// Adds an area. The batch must not be full.
    fn push(&mut self, range: IovaRange, slice: Slice) {
        let place = self.areas.get_mut(self.count);
        warn_on_once!(place.is_none());
        if let Some(place) = place {
            *place = Some((range, slice));
            self.count += 1;
        }
    }

    /// Returns the number of bytes of the areas.
    fn bytes(&self) -> u64 {
        let bytes = self.areas().map(|(range, _)| range.len());
        bytes.fold(0, u64::saturating_add)
    }
}

/// The result of [`collect`].
enum Collected {
    /// No area is left.
    Done,
    /// There may be more areas in this range, which do not fit in the batch.
    More(IovaRange),
    /// Another task moves or reads this area, which must be waited for.
    Wait(IovaRange),
    /// Accesses use this area; their drivers must be called first.
    InUse(IovaRange),
}

/// What collecting ends with at an area that cannot be unmapped.
enum Stop {
    Error(Refusal),
    Wait,
    InUse,
}

/// Adds areas of `within` that lie in `rest` to the batch, as many as fit, and puts them into
/// [`State::Dying`].
///
/// Returns `ENOENT` at an area that is not whole in `within`, and `EBUSY` at one that another task
/// maps or unmaps or that a HW queue is in. The areas before it are in the batch all the same.
fn collect<const N: usize>(
    space: &mut Space,
    within: IovaRange,
    mut rest: IovaRange,
    batch: &mut UnmapBatch<N>,
) -> Result<Collected> {
    let Space { domains, areas, .. } = space;
    let members = &domains.members;
    while !batch.is_full() {
        let Some((range, area)) = areas.first_in_mut(rest) else {
            return Ok(Collected::Done);
        };
        match check(within, range, area) {
            Ok(()) => {}
            // What is in the batch comes first, and readers are not kept out meanwhile.
            Err(Stop::Wait) if batch.count != 0 => {
                area.wanted = false;
                break;
            }
            Err(stop) => return stop.at(range),
        }
        let first = *batch.followed.get_or_insert(area.followed());
        if members.is_behind(first) != members.is_behind(area.followed()) {
            break;
        }
        area.set_state(State::Dying);
        batch.push(range, area.slice.clone());
        match behind(range, within) {
            Some(next) => rest = next,
            None => return Ok(Collected::Done),
        }
    }
    Ok(Collected::More(rest))
}

/// At most `N` areas that were removed. No domain had them. They are dropped without the lock, because
/// that may free the memory source.
struct Taken<const N: usize> {
    areas: [Option<Removed<IovaUnit, Area>>; N],
    count: usize,
    /// The number of their bytes.
    bytes: u64,
}

impl<const N: usize> Taken<N> {
    fn new() -> Self {
        Self {
            areas: core::array::from_fn(|_| None),
            count: 0,
            bytes: 0,
        }
    }

    /// Adds an area, if there is a place for it.
    fn push(&mut self, area: Removed<IovaUnit, Area>) {
        debug_warn_on_once!(!area.value().is_unused());
        let place = self.areas.get_mut(self.count);
        warn_on_once!(place.is_none());
        if let Some(place) = place {
            self.bytes = self.bytes.saturating_add(area.range().len());
            self.count += 1;
            *place = Some(area);
        }
    }
}

/// As [`collect`], for areas that no domain has: removes them.
#[inline(always)]
fn take<const N: usize>(
    space: &mut Space,
    within: IovaRange,
    mut rest: IovaRange,
    taken: &mut Taken<N>,
) -> Result<Collected> {
    while taken.count < N {
        let mut at = rest;
        let area = space.take_first_in(rest, |range, area| {
            at = range;
            check(within, range, area)
        });
        match area {
            Some(Ok(area)) => taken.push(area),
            Some(Err(stop)) => return stop.at(at),
            None => return Ok(Collected::Done),
        }
        match behind(at, within) {
            Some(next) => rest = next,
            None => return Ok(Collected::Done),
        }
    }
    Ok(Collected::More(rest))
}

/// Returns the part of `within` behind `range`.
fn behind(range: IovaRange, within: IovaRange) -> Option<IovaRange> {
    IovaRange::new(range.last().checked_add(1)?, within.last())
}

impl Stop {
    /// Returns the result of collecting, which has come to the area `at`.
    fn at(self, at: IovaRange) -> Result<Collected> {
        match self {
            Self::Error(error) => Err(error),
            Self::Wait => Ok(Collected::Wait(at)),
            Self::InUse => Ok(Collected::InUse(at)),
        }
    }
}

/// Checks that an area can be unmapped.
fn check(within: IovaRange, range: IovaRange, area: &mut Area) -> Result<(), Stop> {
    // If the area is not unmapped now then readers may come to it again.
    area.wanted = false;
    // Accesses begin and end under the lock held for reading, so none does now. The pin of a HW
    // queue is one of them.
    let in_use = *area.accesses.get_mut() != 0;
    if !area.is_mapped() {
        return Err(Stop::Error(Reason::UnmapBusy.with(range.start())));
    }
    if in_use && *area.phys_pins.get_mut() != 0 {
        return Err(Stop::Error(Reason::UnmapHwQueue.with(range.start())));
    }
    if !within.contains(&range) {
        return Err(Stop::Error(Reason::UnmapPart.with(range.start())));
    }
    if area.must_wait() {
        return Err(Stop::Wait);
    }
    if in_use {
        area.prevent_access = true;
        return Err(Stop::InUse);
    }
    Ok(())
}

/// If collecting has ended at an area that must be waited for, stores that. Returns the area that was
/// waited for before, if it is another one.
#[inline]
fn waits(result: &Result<Collected>, waited_for: &mut Option<IovaRange>) -> Option<IovaRange> {
    let Ok(Collected::Wait(area)) = result else {
        return None;
    };
    waited_for.replace(*area).filter(|other| other != area)
}

impl Ioas {
    /// Unmaps every area in `within`, and adds the number of bytes to `unmapped`, also on failure.
    ///
    /// Stops and returns `ENOENT` at an area that is not whole in `within`, `EBUSY` at one that
    /// another task makes or unmaps or that a HW queue is in, `EDEADLK` at one whose accesses do
    /// not end, and `EINTR` if the task is killed while it waits for one that another task moves or
    /// reads.
    pub(crate) fn unmap(&self, within: IovaRange, unmapped: &mut u64) -> Result {
        let mut waited_for = None;
        let result = self.unmap_rounds(within, unmapped, &mut waited_for);
        if let Some(area) = waited_for {
            // It is not unmapped if the task was killed while it waited.
            let keep = result.is_err_and(|refusal| refusal.error() == EINTR);
            self.let_readers_in(area.start(), keep);
        }
        result
    }

    /// As [`Ioas::unmap`]. Stores the area that it has waited for last.
    fn unmap_rounds(
        &self,
        within: IovaRange,
        unmapped: &mut u64,
        waited_for: &mut Option<IovaRange>,
    ) -> Result {
        // In most calls there is one area.
        let mut round = self.unmap_some::<1>(within, within, unmapped, waited_for)?;
        if matches!(round, Collected::Done) {
            return Ok(());
        }

        let mut waiting_at = None;
        let mut tries = 0;
        loop {
            let rest = match round {
                Collected::Done => return Ok(()),
                Collected::More(more) => {
                    self.space.let_waiters_in();
                    more
                }
                Collected::Wait(area) => {
                    // What others map in front of it meanwhile stays.
                    some_or_warn!(IovaRange::new(area.start(), within.last()))?
                }
                Collected::InUse(area) => {
                    // Drivers may wait for a reader that this task keeps out.
                    if let Some(other) = waited_for.take() {
                        self.let_readers_in(other.start(), false);
                    }
                    if waiting_at != Some(area.start()) {
                        waiting_at = Some(area.start());
                        tries = 0;
                    }
                    tries += 1;
                    if tries > MOST_TRIES {
                        pr_err!("a driver does not give up its access to unmapped memory\n");
                        return Err(Reason::UnmapAccess.with(area.start()));
                    }
                    // No lock is held, because drivers unpin pages from this call.
                    self.notify_accessors(area);
                    self.space.let_waiters_in();
                    some_or_warn!(IovaRange::new(area.start(), within.last()))?
                }
            };
            round = self.unmap_some::<BATCH>(within, rest, unmapped, waited_for)?;
        }
    }

    /// Unmaps areas from `rest` on, as many as fit in a batch. If the first one is being moved or
    /// read, waits until that is over.
    fn unmap_some<const N: usize>(
        &self,
        within: IovaRange,
        rest: IovaRange,
        unmapped: &mut u64,
        waited_for: &mut Option<IovaRange>,
    ) -> Result<Collected> {
        let mut space = self.space.write();
        if !space.domains.members.is_empty() {
            return self.unmap_mapped::<N>(space, within, rest, unmapped, waited_for);
        }
        let mut taken = Taken::<N>::new();
        let result = take(&mut space, within, rest, &mut taken);
        let other = waits(&result, waited_for);
        if taken.count == 0 && other.is_none() && matches!(result, Ok(Collected::Wait(_))) {
            self.settled.wait_killable(space)?;
            return result;
        }
        drop(space);
        self.let_others_in(other);
        self.uncount(taken.count, taken.bytes, unmapped);
        result
    }

    /// As [`Ioas::unmap_some`], where domains have areas.
    fn unmap_mapped<const N: usize>(
        &self,
        mut space: WriteGuard<'_, Space>,
        within: IovaRange,
        rest: IovaRange,
        unmapped: &mut u64,
        waited_for: &mut Option<IovaRange>,
    ) -> Result<Collected> {
        let mut batch = UnmapBatch::<N>::new();
        let result = collect(&mut space, within, rest, &mut batch);
        let other = waits(&result, waited_for);
        if batch.count == 0 && other.is_none() && matches!(result, Ok(Collected::Wait(_))) {
            self.settled.wait_killable(space)?;
            return result;
        }
        if let Some(followed) = batch.followed {
            batch.first = space.domains.members.next(0, followed);
        }
        drop(space);
        let gone = self.unmap_batch(&mut batch);
        self.let_others_in(other);
        self.let_go(gone);
        self.uncount(batch.count, batch.bytes(), unmapped);
        result
    }

    /// Wakes those that wait for areas that were removed, and if the caller waits for another area than
    /// `other`, lets readers come to that again.
    fn let_others_in(&self, other: Option<IovaRange>) {
        match other {
            Some(other) => self.let_readers_in(other.start(), false),
            None => self.settled.wake_all(),
        }
    }

    /// Counts areas fewer, and adds their bytes to `unmapped`.
    #[inline]
    fn uncount(&self, areas: usize, bytes: u64, unmapped: &mut u64) {
        Stats::sub(&self.stats.areas, to_u64(areas));
        // May have wrapped, so a smaller number is no mistake.
        self.stats.bytes.fetch_sub(bytes, Relaxed);
        *unmapped = unmapped.saturating_add(bytes);
    }

    /// Unmaps areas in [`State::Dying`] from the domains that have them, unpins them, and removes
    /// them. Returns a domain that has left thereby.
    fn unmap_batch<const N: usize>(&self, batch: &mut UnmapBatch<N>) -> Option<Arc<Domain>> {
        let followed = batch.followed?;
        let mut next = batch.first.take();
        let pinned = next.is_some();
        // The domains keep their slots as long as the areas exist.
        while let Some(Next { slot, domain, more }) = next {
            unfill_one(&domain, batch.areas());
            next = self.next_domain(more, slot, followed);
        }
        if pinned {
            batch.areas().for_each(|(_, slice)| release(slice));
        }
        let mut space = self.space.write();
        for (range, _) in batch.areas() {
            // The slices in `batch` keep the memory from being dropped under the lock. No other task
            // removes an area in `State::Dying`.
            warn_on_once!(space.remove(range).is_none());
        }
        space.take_gone()
    }

    /// Lets readers come to the area at `iova` again, for which the caller has waited; if the caller
    /// will `keep` it, accesses also. If another task waits for it, too, that task keeps them out
    /// again when it is woken.
    pub(super) fn let_readers_in(&self, iova: u64, keep: bool) {
        let mut space = self.space.write();
        if let Some((_, area)) = space.areas.first_in_mut(IovaRange::at(iova)) {
            area.wanted = false;
            if keep {
                area.prevent_access = false;
            }
        }
        drop(space);
        self.settled.wake_all();
    }

    /// Unmaps everything.
    pub(crate) fn unmap_all(&self, unmapped: &mut u64) -> Result {
        self.unmap(IovaRange::ALL, unmapped)
    }
}
