// SPDX-License-Identifier: GPL-2.0-only

//! A map from disjoint ranges to values, in the order of the ranges.
//!
//! Pure logic. Memory for a range is allocated before it is inserted ([`Vacancy`]), so inserting
//! under a lock cannot fail. Removing needs no memory.

use kernel::prelude::*;

use crate::kapi::{
    bug::warn_on_once,
    sync::range_tree::{
        Cursor,
        CursorMut,
        RangeTree,
        Removed,
        Reservation, //
    },
    units::Range, //
};

/// A map from disjoint ranges of `U` to values.
pub(crate) struct IntervalMap<U, V> {
    pub(super) tree: RangeTree<U, V>,
}

/// Memory for one more range.
pub(crate) struct Vacancy<U, V>(pub(super) Reservation<U, V>);

impl<U, V> Vacancy<U, V> {
    /// Allocates it. Returns `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Reservation::new(GFP_KERNEL_ACCOUNT)?))
    }
}

/// A range of a map, and its value.
type Entry<'a, U, V> = (Range<U>, &'a V);

impl<U: Copy, V> IntervalMap<U, V> {
    /// Creates an empty map.
    pub(crate) const fn new() -> Self {
        Self {
            tree: RangeTree::new(),
        }
    }

    /// Returns true if there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Adds a range. Returns the value and changes nothing if the range intersects another one.
    pub(crate) fn insert(
        &mut self,
        vacancy: Vacancy<U, V>,
        range: Range<U>,
        value: V,
    ) -> Result<(), V> {
        self.tree.insert(vacancy.0, range, value).map(drop)
    }

    /// Removes exactly this range and returns its value.
    pub(crate) fn remove(&mut self, range: Range<U>) -> Option<V> {
        self.at(range).map(CursorMut::remove)
    }

    /// Returns the value of exactly this range.
    pub(crate) fn get(&self, range: Range<U>) -> Option<&V> {
        let (found, value) = self.first_in(range)?;
        (found.start() == range.start() && found.last() == range.last()).then_some(value)
    }

    /// As [`IntervalMap::get`], with the value mutable.
    pub(crate) fn get_mut(&mut self, range: Range<U>) -> Option<&mut V> {
        self.at(range).map(CursorMut::into_value_mut)
    }

    /// Splits a range before `at`, which must be in it and not its start. The first part keeps the
    /// value, and the second part gets `value`. Returns `value` and changes nothing if that is not
    /// possible.
    pub(crate) fn split(
        &mut self,
        vacancy: Vacancy<U, V>,
        range: Range<U>,
        at: u64,
        value: V,
    ) -> Result<(), V> {
        let first = Range::until(range.start(), at).filter(|first| first.last() < range.last());
        let (Some(first), Some(mut second)) = (first, self.at(range)) else {
            return Err(value);
        };
        warn_on_once!(!second.set_start(at));
        let kept = core::mem::replace(second.value_mut(), value);
        // The elements were those of the second part.
        warn_on_once!(self.tree.insert(vacancy.0, first, kept).is_err());
        Ok(())
    }

    /// Joins two ranges, of which `second` must begin right behind `first`. The result has the
    /// value of `second`. Returns the value of `first`, or `None` and changes nothing if there are
    /// no such ranges.
    pub(crate) fn join(&mut self, first: Range<U>, second: Range<U>) -> Option<V> {
        self.at(second)?;
        if first.last().checked_add(1) != Some(second.start()) {
            return None;
        }
        let first = self.at(first)?;
        let start = first.range().start();
        let value = first.remove();
        let mut second = self.at(second)?;
        warn_on_once!(!second.set_start(start));
        Some(value)
    }

    /// Returns the range that ends right before `at` and the one that begins there, if there are both.
    pub(crate) fn meeting_at(&self, at: u64) -> Option<(Entry<'_, U, V>, Entry<'_, U, V>)> {
        let before = at.checked_sub(1)?;
        let first = self.first_in(Range::at(before))?;
        let second = self.first_in(Range::at(at))?;
        (first.0.last() == before).then_some((first, second))
    }

    /// Returns the first range that intersects `within`.
    pub(crate) fn first_in(&self, within: Range<U>) -> Option<(Range<U>, &V)> {
        self.iter_in(within).next()
    }

    /// As [`IntervalMap::first_in`], with the value mutable.
    pub(crate) fn first_in_mut(&mut self, within: Range<U>) -> Option<(Range<U>, &mut V)> {
        let place = self.first_place_in(within)?;
        Some((place.range(), place.into_value_mut()))
    }

    /// Removes the first range that intersects `within` if `check` succeeds for it. Returns the
    /// range with its value, the error of `check`, or `None` if there is no such range.
    #[inline]
    pub(crate) fn take_first_in<E>(
        &mut self,
        within: Range<U>,
        check: impl FnOnce(Range<U>, &mut V) -> Result<(), E>,
    ) -> Option<Result<Removed<U, V>, E>> {
        let mut place = self.first_place_in(within)?;
        let range = place.range();
        let result = check(range, place.value_mut());
        Some(result.map(|()| place.take()))
    }

    /// Returns the ranges that intersect `within`, in order. They are not cut to it.
    pub(crate) fn iter_in(&self, within: Range<U>) -> IterIn<'_, U, V> {
        IterIn {
            next: self.tree.seek(within.start()),
            last: within.last(),
        }
    }

    /// Returns all ranges in order.
    pub(crate) fn iter(&self) -> IterIn<'_, U, V> {
        self.iter_in(Range::ALL)
    }

    /// Returns the gaps between ranges in order, cut to `within`.
    pub(crate) fn gaps_in(&self, within: Range<U>) -> Gaps<IterIn<'_, U, V>, U> {
        Gaps::new(self.iter_in(within), within)
    }

    /// Returns the place of exactly this range.
    pub(super) fn at(&mut self, range: Range<U>) -> Option<CursorMut<'_, U, V>> {
        let place = self.tree.seek_mut(range.last())?;
        let there = place.range();
        let same = there.start() == range.start() && there.last() == range.last();
        same.then_some(place)
    }

    /// Returns the place of the first range that intersects `within`.
    pub(super) fn first_place_in(&mut self, within: Range<U>) -> Option<CursorMut<'_, U, V>> {
        let place = self.tree.seek_mut(within.start())?;
        (place.range().start() <= within.last()).then_some(place)
    }
}

/// See [`IntervalMap::iter_in`].
pub(crate) struct IterIn<'a, U, V> {
    next: Option<Cursor<'a, U, V>>,
    last: u64,
}

// A derived implementation would require `V: Clone`.
impl<U: Copy, V> Clone for IterIn<'_, U, V> {
    fn clone(&self) -> Self {
        Self {
            next: self.next,
            last: self.last,
        }
    }
}

impl<'a, U: Copy, V> Iterator for IterIn<'a, U, V> {
    type Item = (Range<U>, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let here = self.next.filter(|here| here.range().start() <= self.last)?;
        self.next = if here.range().last() < self.last {
            here.next()
        } else {
            None
        };
        Some((here.range(), here.value()))
    }
}

/// See [`IntervalMap::gaps_in`].
pub(crate) struct Gaps<I, U> {
    taken: I,
    /// The part of the range that was not searched yet.
    rest: Option<Range<U>>,
}

impl<I, U: Copy> Gaps<I, U> {
    /// Returns the parts of `within` that no range of `taken` covers. `taken` must be in the order
    /// of the first elements; its ranges may intersect.
    pub(crate) fn new(taken: I, within: Range<U>) -> Self {
        Self {
            taken,
            rest: Some(within),
        }
    }
}

impl<'a, I, U, V> Iterator for Gaps<I, U>
where
    U: Copy + 'a,
    V: 'a + ?Sized,
    I: Iterator<Item = (Range<U>, &'a V)>,
{
    type Item = Range<U>;

    fn next(&mut self) -> Option<Range<U>> {
        loop {
            let rest = self.rest?;
            let Some((taken, _)) = self.taken.next() else {
                self.rest = None;
                return Some(rest);
            };
            if taken.last() < rest.start() {
                continue;
            }
            let gap = taken
                .start()
                .checked_sub(1)
                .and_then(|last| Range::new(rest.start(), last.min(rest.last())));
            self.rest = taken
                .last()
                .checked_add(1)
                .and_then(|start| Range::new(start, rest.last()));
            if gap.is_some() {
                return gap;
            }
        }
    }
}
