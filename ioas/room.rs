// SPDX-License-Identifier: GPL-2.0-only

//! The room in the gaps between ranges of addresses.
//!
//! Pure logic. The *room* in a gap is the largest number of contiguous addresses that can be used
//! there. The callers say by a function how much of a gap that is. The first gap with enough room
//! is found in logarithmic time: the weight of a range in its tree is the room in the gap before it.

use crate::{
    ioas::interval::IntervalMap,
    kapi::{
        sync::range_tree::{
            Cursor,
            Weighed, //
        },
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// Returns the gap between two ranges, or the one before `range` if there is no other.
fn gap_between(prev: Option<IovaRange>, range: IovaRange) -> Option<IovaRange> {
    let start = match prev {
        Some(prev) => prev.last().checked_add(1)?,
        None => 0,
    };
    IovaRange::until(start, range.start())
}

/// Returns the gap before a range.
fn gap_before<V>(place: Cursor<'_, IovaUnit, V>) -> Option<IovaRange> {
    gap_between(place.prev().map(Cursor::range), place.range())
}

impl<V> IntervalMap<IovaUnit, V> {
    /// Finds out how much room there is in the gaps. `room` says how much there is in one, and is
    /// called for those that have changed since the last time. Takes logarithmic time for each range
    /// that was added or removed.
    ///
    /// `room` must be the same function each time, but for gaps of which
    /// [`IntervalMap::room_changed`] was told.
    pub(crate) fn room(&mut self, room: impl Fn(IovaRange) -> u64) -> Room<'_, V> {
        let weight = |prev, range| gap_between(prev, range).map_or(0, &room);
        Room(self.tree.weigh(weight))
    }

    /// As [`IntervalMap::room`], in at most `looks` gaps. Returns false if there are others.
    pub(crate) fn find_some_room(&mut self, looks: usize, room: impl Fn(IovaRange) -> u64) -> bool {
        let weight = |prev, range| gap_between(prev, range).map_or(0, &room);
        self.tree.weigh_some(looks, weight)
    }

    /// Has the room in the gap that `within` is in found out anew.
    pub(crate) fn room_changed(&mut self, within: IovaRange) {
        if let Some(mut next) = self.tree.seek_mut(within.last()) {
            next.forget_weight();
        }
    }
}

/// The gaps of a map and their room.
pub(crate) struct Room<'a, V>(Weighed<'a, IovaUnit, V>);

// A derived implementation would require `V: Clone`.
impl<V> Clone for Room<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Room<'_, V> {}

impl<'a, V> Room<'a, V> {
    /// Returns the gaps with room for `least` addresses in order, cut to `within`. The gap behind
    /// the last range is returned whatever room it has.
    pub(crate) fn gaps(self, within: IovaRange, least: u64) -> GapsWithRoom<'a, V> {
        GapsWithRoom {
            map: self,
            rest: Some(within),
            least,
        }
    }

    /// Returns the largest number of contiguous addresses of `within` that are in no range. All
    /// addresses of a gap must count as room.
    pub(crate) fn largest_gap(self, within: IovaRange) -> u64 {
        let tree = self.0;
        let Some(first) = tree.seek(within.start()) else {
            return within.len();
        };
        let first = first.range();
        if first.start() > within.last() {
            return within.len();
        }
        let before = first.start().saturating_sub(within.start());
        let between = tree.heaviest(first.start(), within.last());
        // The last range that begins in `within` may end behind it.
        let behind = match tree.seek(within.last()) {
            Some(next) if next.range().start() <= within.last() => 0,
            Some(next) => next
                .prev()
                .map_or(0, |last| within.last() - last.range().last()),
            None => {
                let last = tree.last();
                last.map_or(0, |last| within.last() - last.range().last())
            }
        };
        before.max(between).max(behind)
    }
}

/// See [`Room::gaps`].
pub(crate) struct GapsWithRoom<'a, V> {
    map: Room<'a, V>,
    /// The part of the range that was not searched yet.
    rest: Option<IovaRange>,
    least: u64,
}

impl<V> Iterator for GapsWithRoom<'_, V> {
    type Item = IovaRange;

    fn next(&mut self) -> Option<IovaRange> {
        let tree = self.map.0;
        loop {
            let rest = self.rest.take()?;
            let Some(next) = tree.first_heavy(rest.start(), self.least) else {
                let start = match tree.last() {
                    Some(last) => last.range().last().checked_add(1)?.max(rest.start()),
                    None => rest.start(),
                };
                return IovaRange::new(start, rest.last());
            };
            let end = next.range().last().checked_add(1);
            self.rest = end.and_then(|start| IovaRange::new(start, rest.last()));
            let gap = gap_before(next).and_then(|gap| gap.intersection(&rest));
            if gap.is_some() {
                return gap;
            }
        }
    }
}
