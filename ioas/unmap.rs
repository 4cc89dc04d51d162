// SPDX-License-Identifier: GPL-2.0-only

//! Unmapping.
//!
//! Areas are marked under the lock, emptied without it, several at a time so that their IOTLB
//! flushes become one, and then removed. Nothing here allocates, so nothing runs out of memory.

use crate::ioas::area::Slice;
use crate::ioas::area::State;
use crate::ioas::space::Space;
use crate::ioas::Ioas;
use crate::kapi::units::IovaRange;
use kernel::prelude::*;

/// How many areas are unmapped at once.
const BATCH: usize = 16;

/// Areas that are being destroyed.
struct Doomed {
    ranges: [IovaRange; BATCH],
    slices: [Option<Slice>; BATCH],
    count: usize,
}

impl Doomed {
    fn new() -> Self {
        Self {
            ranges: [IovaRange::ALL; BATCH],
            slices: [const { None }; BATCH],
            count: 0,
        }
    }

    fn ranges(&self) -> &[IovaRange] {
        self.ranges.get(..self.count).unwrap_or(&[])
    }

    /// False where there is no room.
    fn push(&mut self, range: IovaRange, slice: Slice) -> bool {
        match (
            self.ranges.get_mut(self.count),
            self.slices.get_mut(self.count),
        ) {
            (Some(r), Some(s)) => {
                *r = range;
                *s = Some(slice);
                self.count += 1;
                true
            }
            _ => false,
        }
    }
}

/// Marks areas of `within` that lie in `rest`, as many as fit. `ENOENT` at one that is not whole in
/// `within`, `EBUSY` at one that somebody else works on; those before it are marked all the same.
fn doom(
    space: &mut Space,
    within: IovaRange,
    mut rest: IovaRange,
    doomed: &mut Doomed,
) -> Result<Option<IovaRange>> {
    loop {
        let Some((range, area)) = space.areas.first_in(rest) else {
            return Ok(None);
        };
        if area.state != State::Ready {
            return Err(EBUSY);
        }
        if !within.contains(&range) {
            return Err(ENOENT);
        }
        if !doomed.push(range, area.slice.clone()) {
            return Ok(Some(rest));
        }
        if let Some(area) = space.areas.get_mut(range.start()) {
            area.state = State::Dying;
        }
        let next = range.last().checked_add(1);
        match next.and_then(|start| IovaRange::new(start, within.last())) {
            Some(next) => rest = next,
            None => return Ok(None),
        }
    }
}

impl Ioas {
    /// Unmaps every area in `within`, and returns how many bytes that were. Stops at an area that
    /// sticks out (`ENOENT`) or that is being made or destroyed by another thread (`EBUSY`): those
    /// before it are gone then, and `unmapped` says how much that was.
    pub(crate) fn unmap(&self, within: IovaRange, unmapped: &mut u64) -> Result {
        // No domain may come or go while areas are between two states.
        let domains = self.domains.read();
        let mut rest = Some(within);

        while let Some(start) = rest {
            let mut doomed = Doomed::new();
            let result = doom(&mut self.space.write(), within, start, &mut doomed);
            if doomed.count != 0 {
                domains.unfill(doomed.ranges(), doomed.slices.iter().flatten());
                let mut space = self.space.write();
                for range in doomed.ranges() {
                    // The slices in `doomed` keep the memory from going under the lock.
                    drop(space.areas.remove(range.start()));
                    *unmapped = unmapped.saturating_add(range.len());
                }
            }
            rest = result?;
        }
        Ok(())
    }

    /// Unmaps everything.
    pub(crate) fn unmap_all(&self, unmapped: &mut u64) -> Result {
        self.unmap(IovaRange::ALL, unmapped)
    }
}
