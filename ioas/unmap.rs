// SPDX-License-Identifier: GPL-2.0-only

//! Unmapping.
//!
//! Areas are put into [`State::Dying`] under the lock, unmapped from the domains without it,
//! several at a time so that the IOTLB is flushed once for them, and then removed. Nothing here
//! needs memory.

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
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        reason::{
            Reason,
            Result, //
        },
        units::{
            to_u64,
            IovaRange, //
        }, //
    }, //
};

/// The number of areas that are unmapped at once.
const BATCH: usize = 16;

/// How many times the drivers of emulated devices are called for one area.
const MOST_TRIES: u32 = 100;

/// At most `N` areas that are being unmapped.
struct UnmapBatch<const N: usize> {
    areas: [Option<(IovaRange, Slice)>; N],
    count: usize,
}

impl<const N: usize> UnmapBatch<N> {
    fn new() -> Self {
        Self {
            areas: [const { None }; N],
            count: 0,
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
    /// The batch is full, and there may be more areas in this range.
    More(IovaRange),
    /// Accesses use this area; their drivers must be called first.
    InUse(IovaRange),
}

/// Adds areas of `within` that lie in `rest` to the batch, as many as fit, and puts them into
/// [`State::Dying`].
///
/// Returns `ENOENT` at an area that is not whole in `within`, and `EBUSY` at one that another task
/// works on or that a HW queue is in. The areas before it are in the batch all the same.
fn collect<const N: usize>(
    space: &mut Space,
    within: IovaRange,
    mut rest: IovaRange,
    batch: &mut UnmapBatch<N>,
) -> Result<Collected> {
    while !batch.is_full() {
        let Some((range, area)) = space.areas.first_in_mut(rest) else {
            return Ok(Collected::Done);
        };
        if let Err(stop) = check(within, range, area) {
            return stop;
        }
        area.state = State::Dying;
        batch.push(range, area.slice.clone());
        match behind(range, within) {
            Some(next) => rest = next,
            None => return Ok(Collected::Done),
        }
    }
    Ok(Collected::More(rest))
}

/// As [`collect`], for areas that no domain has: removes them.
fn take<const N: usize>(
    space: &mut Space,
    within: IovaRange,
    mut rest: IovaRange,
    batch: &mut UnmapBatch<N>,
) -> Result<Collected> {
    while !batch.is_full() {
        let area = space.take_first_in(rest, |range, area| check(within, range, area));
        let range = match area {
            Some(Ok((range, area))) => {
                batch.push(range, area.slice);
                range
            }
            Some(Err(stop)) => return stop,
            None => return Ok(Collected::Done),
        };
        match behind(range, within) {
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

/// Checks that an area can be unmapped. If not, returns what collecting ends with.
fn check(within: IovaRange, range: IovaRange, area: &mut Area) -> Result<(), Result<Collected>> {
    // Accesses begin and end under the lock held for reading, so none does now. The pin of a HW
    // queue is one of them.
    let in_use = *area.accesses.get_mut() != 0;
    if area.state != State::Ready {
        return Err(Err(Reason::UnmapBusy.with(range.start())));
    }
    if in_use && *area.phys_pins.get_mut() != 0 {
        return Err(Err(Reason::UnmapHwQueue.with(range.start())));
    }
    if !within.contains(&range) {
        return Err(Err(Reason::UnmapPart.with(range.start())));
    }
    if in_use {
        area.prevent_access = true;
        return Err(Ok(Collected::InUse(range)));
    }
    Ok(())
}

impl Ioas {
    /// Unmaps every area in `within`, and adds the number of bytes to `unmapped`, also on failure.
    ///
    /// Stops and returns `ENOENT` at an area that is not whole in `within`, `EBUSY` at one that
    /// another task makes or unmaps or that a HW queue is in, and `EDEADLK` at one whose accesses
    /// do not end.
    pub(crate) fn unmap(&self, within: IovaRange, unmapped: &mut u64) -> Result {
        let mut rest = within;
        let mut waiting_at = None;
        let mut tries = 0;

        // In most calls there is one area.
        let mut round = self.unmap_some::<1>(within, rest, unmapped)?;
        loop {
            match round {
                Collected::Done => return Ok(()),
                Collected::More(more) => rest = more,
                Collected::InUse(area) => {
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
                    rest = some_or_warn!(IovaRange::new(area.start(), within.last()))?;
                }
            }
            round = self.unmap_some::<BATCH>(within, rest, unmapped)?;
        }
    }

    /// Unmaps areas from `rest` on, as many as fit in a batch.
    fn unmap_some<const N: usize>(
        &self,
        within: IovaRange,
        rest: IovaRange,
        unmapped: &mut u64,
    ) -> Result<Collected> {
        // Dropped after the locks, because dropping it may free the memory source.
        let mut batch = UnmapBatch::<N>::new();
        let result = if self.has_domain.load(Relaxed) {
            self.unmap_batch(within, rest, &mut batch)
        } else {
            let mut space = self.space.write();
            if self.has_domain.load(Relaxed) {
                // A domain was added meanwhile.
                drop(space);
                self.unmap_batch(within, rest, &mut batch)
            } else {
                take(&mut space, within, rest, &mut batch)
            }
        };
        let bytes = batch.bytes();
        self.stats.areas.fetch_sub(to_u64(batch.count), Relaxed);
        self.stats.bytes.fetch_sub(bytes, Relaxed);
        *unmapped = unmapped.saturating_add(bytes);
        result
    }

    /// Unmaps a batch of areas from the domains.
    fn unmap_batch<const N: usize>(
        &self,
        within: IovaRange,
        rest: IovaRange,
        batch: &mut UnmapBatch<N>,
    ) -> Result<Collected> {
        // No domain may be added or removed while areas are between two states.
        let domains = self.domains.read();
        let result = collect(&mut self.space.write(), within, rest, batch);
        if batch.count != 0 {
            domains.unfill(batch.areas());
            let mut space = self.space.write();
            for (range, _) in batch.areas() {
                // The slices in `batch` keep the memory from being dropped under the lock. No other
                // task removes an area in `State::Dying`.
                warn_on_once!(space.remove(range).is_none());
            }
        }
        result
    }

    /// Unmaps everything.
    pub(crate) fn unmap_all(&self, unmapped: &mut u64) -> Result {
        self.unmap(IovaRange::ALL, unmapped)
    }
}
