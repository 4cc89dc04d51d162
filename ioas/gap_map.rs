// SPDX-License-Identifier: GPL-2.0-only

//! Address ranges that know how much room there is in the gap before each.
//!
//! Pure logic. The weight of a range is the room in the gap before it: the largest number of
//! contiguous addresses that can be used there. The callers say by a function how much of a gap
//! that is, and call [`GapMap::update`] when it changes. So the first gap with enough room is found
//! in logarithmic time.

use core::ops::Deref;

use crate::{
    ioas::interval::{
        IntervalMap,
        Vacancy, //
    },
    kapi::{
        sync::range_tree::{
            Cursor,
            CursorMut, //
        },
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// A map from disjoint ranges of addresses to values, with the room before each range.
pub(crate) struct GapMap<V> {
    map: IntervalMap<IovaUnit, V>,
}

impl<V> Deref for GapMap<V> {
    type Target = IntervalMap<IovaUnit, V>;

    fn deref(&self) -> &IntervalMap<IovaUnit, V> {
        &self.map
    }
}

/// Returns the gap before a range.
fn gap_before<V>(place: Cursor<'_, IovaUnit, V>) -> Option<IovaRange> {
    let start = match place.prev() {
        Some(prev) => prev.range().last().checked_add(1)?,
        None => 0,
    };
    IovaRange::new(start, place.range().start().checked_sub(1)?)
}

/// Sets the weight of a range.
fn weigh<V>(place: &mut CursorMut<'_, IovaUnit, V>, room: &impl Fn(IovaRange) -> u64) {
    let room = gap_before(place.as_ref()).map_or(0, room);
    place.set_weight(room);
}

impl<V> GapMap<V> {
    /// Creates an empty map.
    pub(crate) const fn new() -> Self {
        Self {
            map: IntervalMap::new(),
        }
    }

    /// Adds a range. `room` says how much room there is in a gap. Returns the value and changes
    /// nothing if the range intersects another one.
    pub(crate) fn insert(
        &mut self,
        vacancy: Vacancy<IovaUnit, V>,
        range: IovaRange,
        value: V,
        room: impl Fn(IovaRange) -> u64,
    ) -> Result<(), V> {
        let mut place = self.map.tree.insert(vacancy.0, range, value)?;
        weigh(&mut place, &room);
        if let Some(mut next) = place.next() {
            weigh(&mut next, &room);
        }
        Ok(())
    }

    /// Removes exactly this range and returns its value. `room` is that of [`GapMap::insert`].
    pub(crate) fn remove(
        &mut self,
        range: IovaRange,
        room: impl Fn(IovaRange) -> u64,
    ) -> Option<V> {
        let value = self.map.remove(range);
        if value.is_some() {
            self.update(range, room);
        }
        value
    }

    /// Weighs the gap that `within` is in anew. `room` is that of [`GapMap::insert`].
    pub(crate) fn update(&mut self, within: IovaRange, room: impl Fn(IovaRange) -> u64) {
        if let Some(mut next) = self.map.tree.seek_mut(within.last()) {
            weigh(&mut next, &room);
        }
    }

    /// As [`IntervalMap::get_mut`].
    pub(crate) fn get_mut(&mut self, range: IovaRange) -> Option<&mut V> {
        self.map.get_mut(range)
    }

    /// As [`IntervalMap::first_in_mut`].
    pub(crate) fn first_in_mut(&mut self, within: IovaRange) -> Option<(IovaRange, &mut V)> {
        self.map.first_in_mut(within)
    }

    /// As [`IntervalMap::take_first_in`]. `room` is that of [`GapMap::insert`].
    pub(crate) fn take_first_in<E>(
        &mut self,
        within: IovaRange,
        check: impl FnOnce(IovaRange, &mut V) -> Result<(), E>,
        room: impl Fn(IovaRange) -> u64,
    ) -> Option<Result<(IovaRange, V), E>> {
        let taken = self.map.take_first_in(within, check);
        if let Some(Ok((range, _))) = &taken {
            self.update(*range, room);
        }
        taken
    }

    /// As [`IntervalMap::split`].
    pub(crate) fn split(
        &mut self,
        vacancy: Vacancy<IovaUnit, V>,
        range: IovaRange,
        at: u64,
        value: V,
    ) -> Result<(), V> {
        self.map.split(vacancy, range, at, value)
    }

    /// As [`IntervalMap::join`].
    pub(crate) fn join(&mut self, first: IovaRange, second: IovaRange) -> Option<V> {
        self.map.join(first, second)
    }

    /// Returns the gaps with room for `least` addresses in order, cut to `within`. The gap behind
    /// the last range is returned whatever room it has.
    pub(crate) fn gaps_with_room(&self, within: IovaRange, least: u64) -> GapsWithRoom<'_, V> {
        GapsWithRoom {
            map: self,
            rest: Some(within),
            least,
        }
    }

    /// Returns the largest weight of `within`, where a gap weighs as many addresses as it has. No
    /// other weights must have been set.
    pub(crate) fn largest_gap(&self, within: IovaRange) -> u64 {
        let Some(first) = self.map.tree.seek(within.start()) else {
            return within.len();
        };
        let first = first.range();
        if first.start() > within.last() {
            return within.len();
        }
        let before = first.start().saturating_sub(within.start());
        let between = self.map.tree.heaviest(first.start(), within.last());
        // The last range that begins in `within` may end behind it.
        let behind = match self.map.tree.seek(within.last()) {
            Some(next) if next.range().start() <= within.last() => 0,
            Some(next) => next
                .prev()
                .map_or(0, |last| within.last() - last.range().last()),
            None => {
                let last = self.map.tree.last();
                last.map_or(0, |last| within.last() - last.range().last())
            }
        };
        before.max(between).max(behind)
    }
}

/// See [`GapMap::gaps_with_room`].
pub(crate) struct GapsWithRoom<'a, V> {
    map: &'a GapMap<V>,
    /// The part of the range that was not searched yet.
    rest: Option<IovaRange>,
    least: u64,
}

impl<V> Iterator for GapsWithRoom<'_, V> {
    type Item = IovaRange;

    fn next(&mut self) -> Option<IovaRange> {
        let tree = &self.map.map.tree;
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
