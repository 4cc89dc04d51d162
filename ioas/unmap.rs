// SPDX-License-Identifier: GPL-2.0-only

//! Unmapping.
//!
//! Areas are marked under the lock, emptied without it, several at a time so that their IOTLB
//! flushes become one, and then removed. Nothing here allocates, so nothing runs out of memory.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};

use crate::{
    ioas::{
        area::{
            Slice,
            State, //
        },
        space::Space,
        Ioas, //
    },
    kapi::units::IovaRange, //
};

/// How many areas are unmapped at once where there are several.
const BATCH: usize = 16;

/// How often accessors are asked to give up an area.
const MOST_TRIES: u32 = 100;

/// Areas that are being destroyed, at most `N`.
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

    /// Adds an area. The batch is not full.
    fn push(&mut self, range: IovaRange, slice: Slice) {
        if let Some(place) = self.areas.get_mut(self.count) {
            *place = Some((range, slice));
            self.count += 1;
        }
    }

    /// The number of bytes of the areas.
    fn bytes(&self) -> u64 {
        let bytes = self.areas().map(|(range, _)| range.len());
        bytes.fold(0, u64::saturating_add)
    }
}

/// What [`collect`] came to.
enum Collected {
    /// No area is left.
    Done,
    /// There was no room for more: this is left.
    More(IovaRange),
    /// This area is in use by accesses, which must be told first.
    InUse(IovaRange),
}

/// Adds areas of `within` that lie in `rest` to the batch, as many as fit: removes them if they are
/// in no domain (`unused`), else puts them into [`State::Dying`].
///
/// Returns `ENOENT` at an area that is not whole in `within`, and `EBUSY` at one that another task
/// works on or that a HW queue is in. The areas before it are in the batch all the same.
fn collect<const N: usize>(
    space: &mut Space,
    within: IovaRange,
    mut rest: IovaRange,
    unused: bool,
    batch: &mut UnmapBatch<N>,
) -> Result<Collected> {
    loop {
        let Some((range, area)) = space.areas.first_in_mut(rest) else {
            return Ok(Collected::Done);
        };
        if area.state != State::Ready {
            return Err(EBUSY);
        }
        if area.phys_pins.load(Relaxed) != 0 {
            return Err(EBUSY);
        }
        if !within.contains(&range) {
            return Err(ENOENT);
        }
        // Accesses begin and end under the lock held for reading, so now none does.
        let in_use = area.accesses.load(Relaxed) != 0;
        if in_use {
            area.prevent_access = true;
            return Ok(Collected::InUse(range));
        }
        if batch.is_full() {
            return Ok(Collected::More(rest));
        }
        if unused {
            if let Some(area) = space.areas.remove(range) {
                batch.push(range, area.slice);
            }
        } else {
            area.state = State::Dying;
            batch.push(range, area.slice.clone());
        }
        let next = range.last().checked_add(1);
        match next.and_then(|start| IovaRange::new(start, within.last())) {
            Some(next) => rest = next,
            None => return Ok(Collected::Done),
        }
    }
}

impl Ioas {
    /// Unmaps every area in `within`, and returns how many bytes that were. Stops at an area that
    /// sticks out (`ENOENT`), that is being made or destroyed by another thread (`EBUSY`), or whose
    /// accesses do not end (`EDEADLK`): those before it are gone then, and `unmapped` says how much
    /// that was.
    pub(crate) fn unmap(&self, within: IovaRange, unmapped: &mut u64) -> Result {
        let mut rest = within;
        let mut waiting_at = None;
        let mut tries = 0;

        // Most often there is one area.
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
                        return Err(EDEADLK);
                    }
                    // No lock is held: accessors end their accesses from inside the call.
                    self.notify_accessors(area);
                    rest = IovaRange::new(area.start(), within.last()).ok_or(EINVAL)?;
                }
            }
            round = self.unmap_some::<BATCH>(within, rest, unmapped)?;
        }
    }

    /// One round of [`Ioas::unmap`], from `rest` on.
    fn unmap_some<const N: usize>(
        &self,
        within: IovaRange,
        rest: IovaRange,
        unmapped: &mut u64,
    ) -> Result<Collected> {
        // Dropped after the locks, and with it the memory.
        let mut batch = UnmapBatch::<N>::new();
        // No domain may come or go while areas are between two states.
        let domains = self.domains.read();
        let unused = domains.is_empty();

        let mut space = self.space.write();
        let result = collect(&mut space, within, rest, unused, &mut batch);
        drop(space);
        if batch.count != 0 && !unused {
            domains.unfill(batch.areas());
            let mut space = self.space.write();
            for (range, _) in batch.areas() {
                // The slices in `batch` keep the memory from going under the lock.
                drop(space.areas.remove(range));
            }
        }
        *unmapped = unmapped.saturating_add(batch.bytes());
        result
    }

    /// Unmaps everything.
    pub(crate) fn unmap_all(&self, unmapped: &mut u64) -> Result {
        self.unmap(IovaRange::ALL, unmapped)
    }
}
