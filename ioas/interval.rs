// SPDX-License-Identifier: GPL-2.0-only

//! A map from disjoint ranges to values, in the order of the ranges.
//!
//! Pure logic over the kernel's red-black tree. Memory for a range is allocated before it is
//! inserted ([`Vacancy`]), so inserting under a lock cannot fail. Removing needs no memory.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    }, //
};

use crate::kapi::units::Range;

struct Entry<V> {
    start: u64,
    value: V,
}

/// A map from disjoint ranges of `U` to values.
pub(crate) struct IntervalMap<U, V> {
    /// The key is the last element, so the first key that is not below an element belongs to the
    /// only range that can contain the element. Invariant: no two ranges intersect.
    tree: RBTree<u64, Entry<V>>,
    _unit: core::marker::PhantomData<U>,
}

/// Memory for one more range.
pub(crate) struct Vacancy<V>(RBTreeNodeReservation<u64, Entry<V>>);

impl<V> Vacancy<V> {
    /// Allocates it. Returns `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?))
    }
}

impl<U: Copy, V> IntervalMap<U, V> {
    /// Creates an empty map.
    pub(crate) fn new() -> Self {
        Self {
            tree: RBTree::new(),
            _unit: core::marker::PhantomData,
        }
    }

    /// Returns true if there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Adds a range. Returns the value and changes nothing if the range intersects another one.
    pub(crate) fn insert(
        &mut self,
        vacancy: Vacancy<V>,
        range: Range<U>,
        value: V,
    ) -> Result<(), V> {
        if self.is_taken(range) {
            return Err(value);
        }
        let entry = Entry {
            start: range.start(),
            value,
        };
        self.tree.insert(vacancy.0.into_node(range.last(), entry));
        Ok(())
    }

    /// Removes exactly this range and returns its value.
    pub(crate) fn remove(&mut self, range: Range<U>) -> Option<V> {
        let entry = self.tree.find_mut(&range.last())?;
        (entry.get().start == range.start()).then(|| entry.remove().value)
    }

    /// Returns the value of exactly this range.
    pub(crate) fn get_mut(&mut self, range: Range<U>) -> Option<&mut V> {
        let entry = self.tree.get_mut(&range.last())?;
        (entry.start == range.start()).then_some(&mut entry.value)
    }

    /// Splits a range before `at`, which must be in it and not its start. The first part keeps the
    /// value, and the second part gets `value`. Returns `value` and changes nothing if that is not
    /// possible.
    pub(crate) fn split(
        &mut self,
        vacancy: Vacancy<V>,
        range: Range<U>,
        at: u64,
        value: V,
    ) -> Result<(), V> {
        let inside = range.start() < at && at <= range.last();
        let entry = self.tree.get_mut(&range.last());
        let Some(entry) = entry.filter(|entry| inside && entry.start == range.start()) else {
            return Err(value);
        };
        // The existing node becomes that of the second part, which has the same last element.
        let first = Entry {
            start: core::mem::replace(&mut entry.start, at),
            value: core::mem::replace(&mut entry.value, value),
        };
        self.tree.insert(vacancy.0.into_node(at - 1, first));
        Ok(())
    }

    /// Joins two ranges, of which `second` must begin right behind `first`. The result has the
    /// value of `second`. Returns the value of `first`, or `None` and changes nothing if there are
    /// no such ranges.
    pub(crate) fn join(&mut self, first: Range<U>, second: Range<U>) -> Option<V> {
        self.get_mut(second)?;
        if first.last().checked_add(1) != Some(second.start()) {
            return None;
        }
        let value = self.remove(first)?;
        // The node of the second range has the same last element.
        self.tree.get_mut(&second.last())?.start = first.start();
        Some(value)
    }

    /// Returns the first range that intersects `within`.
    pub(crate) fn first_in(&self, within: Range<U>) -> Option<(Range<U>, &V)> {
        self.iter_in(within).next()
    }

    /// As [`IntervalMap::first_in`], with the value mutable.
    pub(crate) fn first_in_mut(&mut self, within: Range<U>) -> Option<(Range<U>, &mut V)> {
        let range = self.find(within)?;
        Some((range, self.get_mut(range)?))
    }

    /// Removes the first range that intersects `within` if `check` succeeds for it. Returns the
    /// range and its value, the error of `check`, or `None` if there is no such range.
    pub(crate) fn take_first_in<E>(
        &mut self,
        within: Range<U>,
        check: impl FnOnce(Range<U>, &mut V) -> Result<(), E>,
    ) -> Option<Result<(Range<U>, V), E>> {
        // In most calls the range is `within` itself, which one look-up finds.
        let entry = self.tree.find_mut(&within.last());
        if let Some(mut entry) = entry.filter(|entry| entry.get().start == within.start()) {
            let result = check(within, &mut entry.get_mut().value);
            return Some(result.map(|()| (within, entry.remove().value)));
        }
        let range = self.find(within)?;
        let mut entry = self.tree.find_mut(&range.last())?;
        let result = check(range, &mut entry.get_mut().value);
        Some(result.map(|()| (range, entry.remove().value)))
    }

    /// Returns true if a range intersects `within`.
    pub(crate) fn is_taken(&self, within: Range<U>) -> bool {
        self.find(within).is_some()
    }

    /// Returns the ranges that intersect `within`, in order. They are not cut to it.
    pub(crate) fn iter_in(&self, within: Range<U>) -> IterIn<'_, U, V> {
        IterIn {
            map: self,
            rest: Some(within),
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

    /// Returns the first range that intersects `within`, without its value.
    fn find(&self, within: Range<U>) -> Option<Range<U>> {
        let cursor = self.tree.cursor_lower_bound(&within.start())?;
        let (last, entry) = cursor.current();
        if entry.start > within.last() {
            return None;
        }
        Range::new(entry.start, *last)
    }
}

/// See [`IntervalMap::iter_in`].
pub(crate) struct IterIn<'a, U, V> {
    map: &'a IntervalMap<U, V>,
    /// The part of the range that was not searched yet.
    rest: Option<Range<U>>,
}

// A derived implementation would require `V: Clone`.
impl<U: Copy, V> Clone for IterIn<'_, U, V> {
    fn clone(&self) -> Self {
        Self {
            map: self.map,
            rest: self.rest,
        }
    }
}

impl<'a, U: Copy, V> Iterator for IterIn<'a, U, V> {
    type Item = (Range<U>, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let range = self.map.find(rest)?;
        let entry = self.map.tree.get(&range.last())?;
        let next = range.last().checked_add(1);
        self.rest = next.and_then(|start| Range::new(start, rest.last()));
        Some((range, &entry.value))
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
