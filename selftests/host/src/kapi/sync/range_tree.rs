// SPDX-License-Identifier: GPL-2.0-only

//! The module's `kapi/sync/range_tree.rs` as a list, which is searched from its beginning.

use kernel::{
    alloc::{
        fault,
        Flags, //
    },
    prelude::*, //
};

use crate::kapi::units::Range;

thread_local! {
    static SEARCHES: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// Returns how often a range of some weight was searched for.
pub(crate) fn searches() -> u64 {
    SEARCHES.get()
}

struct Node<U, V> {
    range: Range<U>,
    value: V,
    /// `None` if it must be computed.
    weight: Option<u64>,
}

/// Disjoint ranges in order.
pub(crate) struct RangeTree<U, V>(Vec<Node<U, V>>);

/// Memory for one more range.
pub(crate) struct Reservation<U, V>(core::marker::PhantomData<fn() -> (U, V)>);

impl<U, V> Reservation<U, V> {
    /// Counts the allocation.
    pub(crate) fn new(_flags: Flags) -> Result<Self> {
        fault::allocate()?;
        Ok(Self(core::marker::PhantomData))
    }
}

impl<U: Copy, V> RangeTree<U, V> {
    /// A list of no ranges.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has the weight of a range computed anew.
    fn forget(&mut self, at: usize) {
        if let Some(node) = self.0.get_mut(at) {
            node.weight = None;
        }
    }

    /// Adds a range, unless it intersects another.
    pub(crate) fn insert(
        &mut self,
        _memory: Reservation<U, V>,
        range: Range<U>,
        value: V,
    ) -> Result<CursorMut<'_, U, V>, V> {
        let at = self.0.partition_point(|n| n.range.last() < range.start());
        if self
            .0
            .get(at)
            .is_some_and(|n| n.range.intersection(&range).is_some())
        {
            return Err(value);
        }
        let weight = None;
        self.0.insert(
            at,
            Node {
                range,
                value,
                weight,
            },
        );
        self.forget(at + 1);
        Ok(CursorMut { tree: self, at })
    }

    fn cursor(&self, at: usize) -> Option<Cursor<'_, U, V>> {
        (at < self.0.len()).then_some(Cursor { tree: self, at })
    }

    /// The range that contains `at` or the first behind it.
    pub(crate) fn seek(&self, at: u64) -> Option<Cursor<'_, U, V>> {
        self.cursor(self.0.partition_point(|n| n.range.last() < at))
    }

    /// As `seek`.
    pub(crate) fn seek_mut(&mut self, at: u64) -> Option<CursorMut<'_, U, V>> {
        let at = self.seek(at)?.at;
        Some(CursorMut { tree: self, at })
    }

    /// The last range.
    pub(crate) fn last(&self) -> Option<Cursor<'_, U, V>> {
        self.cursor(self.0.len().checked_sub(1)?)
    }

    /// Computes the weights that are missing.
    pub(crate) fn weigh(
        &mut self,
        weight: impl Fn(Option<Range<U>>, Range<U>) -> u64,
    ) -> Weighed<'_, U, V> {
        self.weigh_some(usize::MAX, weight);
        Weighed(self)
    }

    /// Computes that many of them at most. Returns false if others are missing.
    pub(crate) fn weigh_some(
        &mut self,
        mut looks: usize,
        weight: impl Fn(Option<Range<U>>, Range<U>) -> u64,
    ) -> bool {
        let mut prev = None;
        for node in &mut self.0 {
            if node.weight.is_none() {
                if looks == 0 {
                    return false;
                }
                looks -= 1;
                node.weight = Some(weight(prev, node.range).min(u64::MAX - 1));
            }
            prev = Some(node.range);
        }
        true
    }
}

/// A list whose weights are known.
pub(crate) struct Weighed<'a, U, V>(&'a RangeTree<U, V>);

impl<U, V> Clone for Weighed<'_, U, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U, V> Copy for Weighed<'_, U, V> {}

impl<U, V> core::ops::Deref for Weighed<'_, U, V> {
    type Target = RangeTree<U, V>;

    fn deref(&self) -> &RangeTree<U, V> {
        self.0
    }
}

impl<'a, U: Copy, V> Weighed<'a, U, V> {
    /// The first range of this weight from `at` on.
    pub(crate) fn first_heavy(self, at: u64, weight: u64) -> Option<Cursor<'a, U, V>> {
        SEARCHES.set(SEARCHES.get() + 1);
        let heavy = |n: &Node<U, V>| n.range.last() >= at && n.weight >= Some(weight);
        self.0.cursor(self.0 .0.iter().position(heavy)?)
    }

    /// The largest weight of the ranges that begin behind `after`, up to `until`.
    pub(crate) fn heaviest(self, after: u64, until: u64) -> u64 {
        let inside = |n: &&Node<U, V>| after < n.range.start() && n.range.start() <= until;
        let weights = self.0 .0.iter().filter(inside).map(|n| n.weight);
        weights.max().flatten().unwrap_or(0)
    }
}

/// A place in the list.
pub(crate) struct Cursor<'a, U, V> {
    tree: &'a RangeTree<U, V>,
    at: usize,
}

impl<U, V> Clone for Cursor<'_, U, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U, V> Copy for Cursor<'_, U, V> {}

impl<'a, U: Copy, V> Cursor<'a, U, V> {
    /// The range.
    pub(crate) fn range(self) -> Range<U> {
        self.tree.0[self.at].range
    }

    /// The value.
    pub(crate) fn value(self) -> &'a V {
        &self.tree.0[self.at].value
    }

    /// The range before it.
    pub(crate) fn prev(self) -> Option<Self> {
        self.tree.cursor(self.at.checked_sub(1)?)
    }

    /// The range behind it.
    pub(crate) fn next(self) -> Option<Self> {
        self.tree.cursor(self.at + 1)
    }
}

/// A place where the list can be changed.
pub(crate) struct CursorMut<'a, U, V> {
    tree: &'a mut RangeTree<U, V>,
    at: usize,
}

impl<'a, U: Copy, V> CursorMut<'a, U, V> {
    /// The place.
    pub(crate) fn as_ref(&self) -> Cursor<'_, U, V> {
        Cursor {
            tree: self.tree,
            at: self.at,
        }
    }

    /// The range.
    pub(crate) fn range(&self) -> Range<U> {
        self.as_ref().range()
    }

    /// The value.
    pub(crate) fn value_mut(&mut self) -> &mut V {
        &mut self.tree.0[self.at].value
    }

    /// The value.
    pub(crate) fn into_value_mut(self) -> &'a mut V {
        &mut self.tree.0[self.at].value
    }

    /// Has the weight computed anew.
    pub(crate) fn forget_weight(&mut self) {
        self.tree.forget(self.at);
    }

    /// Changes the start, if the result is a range that intersects no other.
    pub(crate) fn set_start(&mut self, start: u64) -> bool {
        let prev = self.as_ref().prev();
        let free = prev.is_none_or(|prev| prev.range().last() < start);
        match Range::new(start, self.range().last()) {
            Some(range) if free => {
                self.tree.0[self.at].range = range;
                self.forget_weight();
                true
            }
            _ => false,
        }
    }

    /// Removes the range.
    pub(crate) fn remove(self) -> V {
        self.take().0.value
    }

    /// Removes the range.
    pub(crate) fn take(self) -> Removed<U, V> {
        let node = self.tree.0.remove(self.at);
        self.tree.forget(self.at);
        Removed(node)
    }
}

/// A range that was removed.
pub(crate) struct Removed<U, V>(Node<U, V>);

impl<U: Copy, V> Removed<U, V> {
    /// The range.
    pub(crate) fn range(&self) -> Range<U> {
        self.0.range
    }

    /// The value.
    pub(crate) fn value(&self) -> &V {
        &self.0.value
    }
}
