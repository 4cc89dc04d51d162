// SPDX-License-Identifier: GPL-2.0-only

//! Disjoint ranges in order, each with a value.
//!
//! Pure logic over the kernel's red-black tree: memory for a new range is reserved beforehand
//! ([`Vacancy`]), so that inserting under a lock cannot fail, and removing never allocates.

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

/// Disjoint ranges of `U` with a `V` each.
pub(crate) struct IntervalMap<U, V> {
    /// By last element, so that the first range which does not end before a place is the first one
    /// that can contain it. Invariant: no two ranges intersect.
    tree: RBTree<u64, Entry<V>>,
    _unit: core::marker::PhantomData<U>,
}

/// Memory for one more range.
pub(crate) struct Vacancy<V>(RBTreeNodeReservation<u64, Entry<V>>);

impl<V> Vacancy<V> {
    /// Reserves it. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?))
    }
}

impl<U: Copy, V> IntervalMap<U, V> {
    /// A map without ranges.
    pub(crate) fn new() -> Self {
        Self {
            tree: RBTree::new(),
            _unit: core::marker::PhantomData,
        }
    }

    /// Whether there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Adds a range. Where it intersects one that is there nothing changes and the value comes
    /// back.
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

    /// Takes out a range, all of it.
    pub(crate) fn remove(&mut self, range: Range<U>) -> Option<V> {
        let entry = self.tree.find_mut(&range.last())?;
        (entry.get().start == range.start()).then(|| entry.remove().value)
    }

    /// The value of a range, all of it.
    pub(crate) fn get_mut(&mut self, range: Range<U>) -> Option<&mut V> {
        let entry = self.tree.get_mut(&range.last())?;
        (entry.start == range.start()).then_some(&mut entry.value)
    }

    /// Divides a range before `at`, which is in it and not its start. The first part keeps its
    /// value and the second one gets `value`. Where that cannot be done nothing changes and the
    /// value comes back.
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
        // The node that is there becomes the second part's: it has the same last element.
        let first = Entry {
            start: core::mem::replace(&mut entry.start, at),
            value: core::mem::replace(&mut entry.value, value),
        };
        self.tree.insert(vacancy.0.into_node(at - 1, first));
        Ok(())
    }

    /// Makes two ranges one, of which `second` begins right behind `first`. It keeps the value of
    /// `second`, and that of `first` comes back. `None` where there are no such ranges, and then
    /// nothing has changed.
    pub(crate) fn join(&mut self, first: Range<U>, second: Range<U>) -> Option<V> {
        self.get_mut(second)?;
        if first.last().checked_add(1) != Some(second.start()) {
            return None;
        }
        let value = self.remove(first)?;
        // The second range's node has the same last element.
        self.tree.get_mut(&second.last())?.start = first.start();
        Some(value)
    }

    /// The first range that intersects `within`.
    pub(crate) fn first_in(&self, within: Range<U>) -> Option<(Range<U>, &V)> {
        self.iter_in(within).next()
    }

    /// As [`IntervalMap::first_in`], to change the value.
    pub(crate) fn first_in_mut(&mut self, within: Range<U>) -> Option<(Range<U>, &mut V)> {
        let range = self.find(within)?;
        Some((range, self.get_mut(range)?))
    }

    /// Takes out the first range that intersects `within` if `check` succeeds for it. Returns the range
    /// and its value, the error of `check`, or `None` if there is no such range.
    pub(crate) fn take_first_in<E>(
        &mut self,
        within: Range<U>,
        check: impl FnOnce(Range<U>, &mut V) -> Result<(), E>,
    ) -> Option<Result<(Range<U>, V), E>> {
        // Most often it is `within` itself, which takes one look.
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

    /// Whether a range intersects `within`.
    pub(crate) fn is_taken(&self, within: Range<U>) -> bool {
        self.find(within).is_some()
    }

    /// The ranges that intersect `within`, in order and uncut.
    pub(crate) fn iter_in(&self, within: Range<U>) -> IterIn<'_, U, V> {
        IterIn {
            map: self,
            rest: Some(within),
        }
    }

    /// All ranges in order.
    pub(crate) fn iter(&self) -> IterIn<'_, U, V> {
        self.iter_in(Range::ALL)
    }

    /// The gaps between ranges that lie in `within`, cut to it.
    pub(crate) fn gaps_in(&self, within: Range<U>) -> Gaps<IterIn<'_, U, V>, U> {
        Gaps::new(self.iter_in(within), within)
    }

    /// Where the first range is that intersects `within`.
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
    /// What is left to look at.
    rest: Option<Range<U>>,
}

// Deriving it would ask the same of `V`.
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

/// What lies between ranges: see [`IntervalMap::gaps_in`].
pub(crate) struct Gaps<I, U> {
    taken: I,
    /// What is left to look at.
    rest: Option<Range<U>>,
}

impl<I, U: Copy> Gaps<I, U> {
    /// The parts of `within` that no range of `taken` covers. `taken` is in order of first element;
    /// its ranges may intersect.
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
