// SPDX-License-Identifier: GPL-2.0-only

//! Trees of disjoint ranges, each with a value and a weight.
//!
//! The tree knows the largest weight in each of its subtrees, so that the first range that is heavy
//! enough is found in logarithmic time. What a weight means is up to the user: it is a function of a
//! range and the one before it.
//!
//! Weights are computed when they are asked for ([`RangeTree::weigh`]), and not when a range is
//! added or removed. A change marks the ranges whose weight it may change, and the nodes above
//! them. Of these only, weights and largest weights are computed anew: so weighing takes logarithmic
//! time for each change since the last time. If nobody asks, a change marks nothing that is not
//! marked already.
//!
//! Fit for `rust/kernel`. [`RBTree`](kernel::rbtree::RBTree) cannot be augmented.
//!
//! C header: [`include/linux/rbtree_augmented.h`](srctree/include/linux/rbtree_augmented.h)

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use crate::{
    ffi::bindings,
    kapi::{
        sync::{
            range_node::{
                node_of,
                Node, //
            },
            slab::SlabBox, //
        },
        units::Range, //
    }, //
};

pub(crate) use crate::kapi::sync::range_node::Reservation;

/// A tree of disjoint ranges of `U` with values, in order.
///
/// # Invariants
///
/// `root` is a red-black tree of the field `links` of nodes of type [`Node`], which the tree owns.
/// The ranges of the nodes are disjoint and in order. `links.heaviest` of a node is [`UNKNOWN`], or
/// all weights in the subtree of that node are known and it is the largest of them. If it is
/// `UNKNOWN`, it is that of all nodes above too.
///
/// `last` is the last node, or `None` if there is none.
///
/// `recent.node` is a node of the tree, or `None`. It is what [`RangeTree::seek`] returns for each
/// address from `recent.from` up to its last one; if it is `None`, for each from `recent.from` on.
///
/// # Examples
///
/// ```
/// use crate::kapi::{sync::range_tree::{RangeTree, Reservation}, units::IovaRange};
///
/// let mut tree = RangeTree::new();
/// for start in [1, 15, 20, 23] {
///     let memory = Reservation::new(GFP_KERNEL)?;
///     let range = IovaRange::from_len(start, 1)?;
///     assert!(tree.insert(memory, range, start).is_ok());
/// }
/// // How far a range is from the one before it.
/// let far = |prev: Option<IovaRange>, range: IovaRange| {
///     prev.map_or(0, |prev| range.start() - prev.last())
/// };
/// let weighed = tree.weigh(far);
/// let first = |at, weight| weighed.first_heavy(at, weight).map(|node| *node.value());
/// assert_eq!(first(0, 4), Some(15));
/// assert_eq!(first(16, 4), Some(20));
/// assert_eq!(first(21, 1), Some(23));
/// assert_eq!(first(21, 4), None);
/// assert_eq!(weighed.heaviest(15, 23), 5);
/// # Ok::<(), Error>(())
/// ```
pub(crate) struct RangeTree<U, V> {
    root: bindings::rb_root,
    last: Option<NonNull<Node<U, V>>>,
    /// What was found, added or passed last: often it is what is looked for next.
    recent: Recent<U, V>,
    _nodes: PhantomData<Node<U, V>>,
}

/// The result of a search. See [`RangeTree`].
struct Recent<U, V> {
    node: Option<NonNull<Node<U, V>>>,
    from: u64,
}

/// Instead of a weight: it is not known. Weights are less. `IOMMUFD_RS_UNKNOWN` of `ffi/shims.h`.
const UNKNOWN: u64 = u64::MAX;

// SAFETY: The tree owns its nodes, and their values with them.
unsafe impl<U, V: Send> Send for RangeTree<U, V> {}

// SAFETY: A shared reference to the tree gives shared references to the values, and nothing else.
unsafe impl<U, V: Sync> Sync for RangeTree<U, V> {}

impl<U: Copy, V> RangeTree<U, V> {
    /// Creates an empty tree.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The tree has no nodes, and a search finds none.
        Self {
            root: bindings::rb_root {
                rb_node: core::ptr::null_mut(),
            },
            last: None,
            recent: Recent {
                node: None,
                from: 0,
            },
            _nodes: PhantomData,
        }
    }

    /// Returns true if there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.rb_node.is_null()
    }

    /// Adds a range. Returns the value if the range intersects another one; the memory is freed
    /// then.
    pub(crate) fn insert(
        &mut self,
        memory: Reservation<U, V>,
        range: Range<U>,
        value: V,
    ) -> Result<CursorMut<'_, U, V>, V> {
        let next = self.seek(range.start());
        if next.is_some_and(|next| next.range().start() <= range.last()) {
            return Err(value);
        }
        // The place is right of the last node before `next`. If that is not below `next`, then
        // nothing is left of `next`, and the place is there.
        let before = match next {
            Some(next) => next.left().map(|below| below.rightmost().node),
            None => self.last,
        };
        let next = next.map(|next| next.node);
        let is_last = next.is_none();
        let node = memory.0.write(Node {
            links: Default::default(),
            range,
            value,
        });
        let node = NonNull::from(SlabBox::leak(node));
        let root: *mut bindings::rb_root = &mut self.root;
        // SAFETY: The nodes are in the tree, and `root` is a field of `self`.
        let (parent, link) = unsafe {
            match (before, next) {
                (Some(before), _) => {
                    let rb = &raw mut (*before.as_ptr()).links.rb;
                    (rb, &raw mut (*rb).rb_right)
                }
                (None, Some(next)) => {
                    let rb = &raw mut (*next.as_ptr()).links.rb;
                    (rb, &raw mut (*rb).rb_left)
                }
                (None, None) => (core::ptr::null_mut(), &raw mut (*root).rb_node),
            }
        };
        let next = next.map_or(core::ptr::null_mut(), |next| {
            // SAFETY: The node is in the tree.
            unsafe { &raw mut (*next.as_ptr()).links }
        });
        // INVARIANT: The place is between the last node before the range and the first one behind
        // it. The function marks the nodes whose `heaviest` may change.
        // SAFETY: `parent` and `link` are the place of a node that is missing in the tree `root`,
        // `next` is the node behind that place or null, and `node` is in no tree.
        unsafe {
            let links = &raw mut (*node.as_ptr()).links;
            bindings::iommufd_rs_weighted_insert(links, parent, link, next, root);
        }
        if is_last {
            // INVARIANT: The range is behind that of each other node.
            self.last = Some(node);
        }
        // INVARIANT: The range of the node contains these addresses.
        self.recent = Recent {
            node: Some(node),
            from: range.start(),
        };
        // INVARIANT: The node is in the tree.
        Ok(CursorMut { tree: self, node })
    }

    pub(super) fn top(&self) -> Option<Cursor<'_, U, V>> {
        // SAFETY: By the invariants `root` is null or the links of a node.
        unsafe { Cursor::new(self.root.rb_node) }
    }

    /// Returns the range that contains `at`, or else the first one behind it.
    #[inline]
    pub(crate) fn seek(&self, at: u64) -> Option<Cursor<'_, U, V>> {
        if at >= self.recent.from {
            // INVARIANT: The node is in the tree, which is borrowed as long as the result.
            let recent = self.recent.node.map(|node| Cursor {
                node,
                _tree: PhantomData,
            });
            let Some(recent) = recent.filter(|recent| recent.range().last() < at) else {
                return recent;
            };
            // Ranges are often looked for one after the other, and added behind the others.
            if self.last == Some(recent.node) {
                return None;
            }
            let next = recent.next();
            if next.is_none_or(|next| at <= next.range().last()) {
                return next;
            }
        }
        self.descend(at)
    }

    /// As [`RangeTree::seek`], from the top of the tree.
    fn descend(&self, at: u64) -> Option<Cursor<'_, U, V>> {
        let mut found = None;
        let mut next = self.top();
        while let Some(here) = next {
            next = if here.range().last() < at {
                here.right()
            } else {
                found = Some(here);
                if here.range().start() <= at {
                    break;
                }
                here.left()
            };
        }
        found
    }

    /// As [`RangeTree::seek`], for changing the tree. Remembers the result, so that seeking the
    /// same again and adding a range there takes constant time.
    #[inline]
    pub(crate) fn seek_mut(&mut self, at: u64) -> Option<CursorMut<'_, U, V>> {
        let found = self.seek(at).map(|found| (found.node, found.range()));
        // INVARIANT: There is no other range from `at` up to the one that was found.
        self.recent = Recent {
            node: found.map(|(node, _)| node),
            from: found.map_or(at, |(_, range)| range.start().min(at)),
        };
        let (node, _) = found?;
        // INVARIANT: The node was found in the tree.
        Some(CursorMut { tree: self, node })
    }

    /// Computes the weights that are not known, by the range before each range, if there is one, and
    /// the range. A weight of `u64::MAX` counts as one less.
    ///
    /// `weight` must be the same function each time. If its result for a range changes, call
    /// [`CursorMut::forget_weight`]. Otherwise weights are not what they should be, but the tree is
    /// in order.
    pub(crate) fn weigh(
        &mut self,
        weight: impl Fn(Option<Range<U>>, Range<U>) -> u64,
    ) -> Weighed<'_, U, V> {
        self.weigh_some(usize::MAX, weight);
        // INVARIANT: No node is left whose `heaviest` is unknown: there would be one at the top.
        Weighed(self)
    }

    /// As [`RangeTree::weigh`], for at most `looks` ranges. Returns false if weights are left that are
    /// not known.
    pub(crate) fn weigh_some(
        &mut self,
        mut looks: usize,
        weight: impl Fn(Option<Range<U>>, Range<U>) -> u64,
    ) -> bool {
        let mut next = self.top().and_then(Cursor::unknown);
        while let Some(here) = next {
            let (left, right) = (here.left(), here.right());
            let below = left.and_then(Cursor::unknown);
            let below = below.or_else(|| right.and_then(Cursor::unknown));
            if below.is_some() {
                next = below;
                continue;
            }
            if looks == 0 {
                return false;
            }
            looks -= 1;
            let mut most = here.weight();
            if most == UNKNOWN {
                let prev = here.prev().map(Cursor::range);
                most = weight(prev, here.range()).min(UNKNOWN - 1);
                // SAFETY: The node is in the tree, which is borrowed mutably, and `here` reads it
                // by shared references that end with each call.
                unsafe { (*here.node.as_ptr()).links.weight = most };
            }
            for child in [left, right].into_iter().flatten() {
                most = most.max(child.heaviest());
            }
            // INVARIANT: The weight of the node is known, and those below it are; `most` is the
            // largest.
            // SAFETY: The node is in the tree, which is borrowed mutably, and `here` reads it by
            // shared references that end with each call.
            unsafe { (*here.node.as_ptr()).links.heaviest = most };
            next = here.parent();
        }
        true
    }

    /// Returns the last range.
    pub(crate) fn last(&self) -> Option<Cursor<'_, U, V>> {
        // INVARIANT: The node is in the tree, which is borrowed as long as the result.
        self.last.map(|node| Cursor {
            node,
            _tree: PhantomData,
        })
    }
}

/// A tree whose weights are known.
///
/// # Invariants
///
/// `heaviest` is known in all nodes.
pub(crate) struct Weighed<'a, U, V>(&'a RangeTree<U, V>);

// Deriving it would ask the same of `U` and `V`.
impl<U, V> Clone for Weighed<'_, U, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U, V> Copy for Weighed<'_, U, V> {}

impl<'a, U, V> Deref for Weighed<'a, U, V> {
    type Target = RangeTree<U, V>;

    fn deref(&self) -> &RangeTree<U, V> {
        self.0
    }
}

impl<'a, U: Copy, V> Weighed<'a, U, V> {
    /// Returns the first range of at least this weight that contains `at` or lies behind it.
    pub(crate) fn first_heavy(self, at: u64, weight: u64) -> Option<Cursor<'a, U, V>> {
        // The result is `found`, or in the right subtree of `found`.
        let mut found = None;
        let mut next = self.0.top();
        while let Some(here) = next {
            next = if here.range().last() < at {
                here.right()
            } else {
                let enough = |right: Cursor<'_, U, V>| right.heaviest() >= weight;
                if here.weight() >= weight || here.right().is_some_and(enough) {
                    found = Some(here);
                }
                here.left()
            };
        }
        let mut here = found?;
        if here.weight() >= weight {
            return Some(here);
        }
        here = here.right()?;
        loop {
            here = match here.left() {
                Some(left) if left.heaviest() >= weight => left,
                _ if here.weight() >= weight => return Some(here),
                _ => here.right()?,
            };
        }
    }

    /// Returns the largest weight of the ranges that begin behind `after` and not behind `until`,
    /// or 0 if there is none.
    pub(crate) fn heaviest(self, after: u64, until: u64) -> u64 {
        // Finds the node that has all these ranges in its subtree.
        let mut next = self.0.top();
        let top = loop {
            let Some(here) = next else {
                return 0;
            };
            if here.range().start() <= after {
                next = here.right();
            } else if here.range().start() > until {
                next = here.left();
            } else {
                break here;
            }
        };
        let mut most = top.weight();
        let mut take = |here: Cursor<'_, U, V>, rest: Option<Cursor<'_, U, V>>| {
            let rest = rest.map_or(0, |rest| rest.heaviest());
            most = most.max(here.weight()).max(rest);
        };
        // Left of it all are in question that begin behind `after`, and right of it all up to
        // `until`.
        let mut next = top.left();
        while let Some(here) = next {
            next = if here.range().start() > after {
                take(here, here.right());
                here.left()
            } else {
                here.right()
            };
        }
        let mut next = top.right();
        while let Some(here) = next {
            next = if here.range().start() <= until {
                take(here, here.left());
                here.right()
            } else {
                here.left()
            };
        }
        most
    }
}

impl<U, V> Drop for RangeTree<U, V> {
    fn drop(&mut self) {
        if self.root.rb_node.is_null() {
            return;
        }
        // SAFETY: `root` is a valid tree.
        let mut next = unsafe { bindings::rb_first_postorder(&self.root) };

        // SAFETY: By the invariants all nodes of the tree are of this type.
        while let Some(node) = unsafe { node_of::<U, V>(next) } {
            // SAFETY: In this order a node comes behind its children, so neither this one nor a
            // later one was freed.
            next = unsafe { bindings::rb_next_postorder(next) };
            // SAFETY: The tree owns its nodes, which came from boxes, and each one comes once.
            drop(unsafe { SlabBox::from_raw(node.as_ptr()) });
        }
    }
}

/// A place in a tree: one of its ranges.
///
/// # Invariants
///
/// `node` is a node of a tree that is borrowed for `'a`.
pub(crate) struct Cursor<'a, U, V> {
    node: NonNull<Node<U, V>>,
    _tree: PhantomData<&'a RangeTree<U, V>>,
}

// Deriving it would ask the same of `U` and `V`.
impl<U, V> Clone for Cursor<'_, U, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U, V> Copy for Cursor<'_, U, V> {}

impl<'a, U: Copy, V> Cursor<'a, U, V> {
    /// # Safety
    ///
    /// The pointer must be null, or the links of a node in a tree that is borrowed for `'a`.
    unsafe fn new(links: *mut bindings::rb_node) -> Option<Self> {
        // INVARIANT: The caller says that this is a node of such a tree.
        // SAFETY: The caller says that the pointer is null or the links of a node.
        unsafe { node_of(links) }.map(|node| Self {
            node,
            _tree: PhantomData,
        })
    }

    fn get(self) -> &'a Node<U, V> {
        // SAFETY: By the invariants the node is in a tree that nothing changes during `'a`.
        unsafe { &*self.node.as_ptr() }
    }

    pub(super) fn left(self) -> Option<Self> {
        // SAFETY: A child pointer is null or the links of a node of the same tree.
        unsafe { Self::new(self.get().links.rb.rb_left) }
    }

    pub(super) fn right(self) -> Option<Self> {
        // SAFETY: A child pointer is null or the links of a node of the same tree.
        unsafe { Self::new(self.get().links.rb.rb_right) }
    }

    fn parent(self) -> Option<Self> {
        // The two low bits are not part of the address; see `include/linux/rbtree_types.h`.
        let parent = self.get().links.rb.__rb_parent_color & !3;
        // SAFETY: The parent pointer is null or that of the links of a node of the same tree.
        unsafe { Self::new(core::ptr::with_exposed_provenance_mut(parent)) }
    }

    fn rightmost(mut self) -> Self {
        while let Some(right) = self.right() {
            self = right;
        }
        self
    }

    /// Returns `self` if its `heaviest` is not known.
    fn unknown(self) -> Option<Self> {
        (self.heaviest() == UNKNOWN).then_some(self)
    }

    pub(super) fn heaviest(self) -> u64 {
        self.get().links.heaviest
    }

    /// Returns the range.
    pub(crate) fn range(self) -> Range<U> {
        self.get().range
    }

    /// Returns the value.
    pub(crate) fn value(self) -> &'a V {
        &self.get().value
    }

    pub(super) fn weight(self) -> u64 {
        self.get().links.weight
    }

    /// Returns the range before this one.
    pub(crate) fn prev(self) -> Option<Self> {
        // SAFETY: The node is in a tree, and so is the one before it.
        unsafe { Self::new(bindings::rb_prev(&self.get().links.rb)) }
    }

    /// Returns the range behind this one.
    pub(crate) fn next(self) -> Option<Self> {
        // SAFETY: The node is in a tree, and so is the one behind it.
        unsafe { Self::new(bindings::rb_next(&self.get().links.rb)) }
    }
}

/// A place in a tree that can be changed there.
///
/// # Invariants
///
/// `node` is a node of `tree`.
pub(crate) struct CursorMut<'a, U, V> {
    tree: &'a mut RangeTree<U, V>,
    node: NonNull<Node<U, V>>,
}

impl<'a, U: Copy, V> CursorMut<'a, U, V> {
    /// Returns the place, for looking.
    pub(crate) fn as_ref(&self) -> Cursor<'_, U, V> {
        // INVARIANT: The node is in the tree, which is borrowed as long as the result.
        Cursor {
            node: self.node,
            _tree: PhantomData,
        }
    }

    /// Returns the range.
    pub(crate) fn range(&self) -> Range<U> {
        self.as_ref().range()
    }

    /// Returns the value.
    pub(crate) fn value_mut(&mut self) -> &mut V {
        // SAFETY: The node is in the tree, which is borrowed mutably as long as the result.
        unsafe { &mut (*self.node.as_ptr()).value }
    }

    /// As [`CursorMut::value_mut`], for as long as the tree is borrowed.
    pub(crate) fn into_value_mut(self) -> &'a mut V {
        // SAFETY: The node is in the tree, which is borrowed mutably as long as the result.
        unsafe { &mut (*self.node.as_ptr()).value }
    }

    /// Has the weight computed anew by the next [`RangeTree::weigh`].
    pub(crate) fn forget_weight(&mut self) {
        // INVARIANT: The function marks `heaviest` of this node and of those above it.
        // SAFETY: The node is in the tree, which is borrowed mutably.
        unsafe { bindings::iommufd_rs_weighted_forget(&raw mut (*self.node.as_ptr()).links) };
    }

    /// Has the range begin at `start`. Returns false and changes nothing if it would be empty or
    /// reach into the range before it.
    pub(crate) fn set_start(&mut self, start: u64) -> bool {
        let free = self
            .as_ref()
            .prev()
            .is_none_or(|prev| prev.range().last() < start);
        let range = Range::new(start, self.range().last());
        match range {
            Some(range) if free => {
                // INVARIANT: The range is still between its neighbours. If the node is the recent
                // one: there still is no other range from `from` up to its last address.
                // SAFETY: The node is in the tree, which is borrowed mutably.
                unsafe { (*self.node.as_ptr()).range = range };
                self.forget_weight();
                true
            }
            _ => false,
        }
    }

    /// Removes the range and returns its value. Needs no memory.
    pub(crate) fn remove(self) -> V {
        SlabBox::into_inner(self.take().0).value
    }

    /// As [`CursorMut::remove`]. The value stays where it is.
    #[inline]
    pub(crate) fn take(self) -> Removed<U, V> {
        let from = self.range().start();
        if self.tree.last == Some(self.node) {
            // INVARIANT: The node is removed below, and this is the last of the others.
            self.tree.last = self.as_ref().prev().map(|prev| prev.node);
        }
        // SAFETY: By the invariants the node is in the tree, which is borrowed mutably.
        let next = unsafe {
            let links = &raw mut (*self.node.as_ptr()).links;
            bindings::iommufd_rs_weighted_erase(links, &mut self.tree.root)
        };
        // INVARIANT: There is no range any more from `from` up to the next one.
        self.tree.recent = Recent {
            // SAFETY: The function returns null or the links of a node of the tree.
            node: unsafe { node_of(next) },
            from,
        };
        // SAFETY:
        // - The node came from a box: `insert` has leaked it.
        // - The tree does not have it any more: it was removed above.
        Removed(unsafe { SlabBox::from_raw(self.node.as_ptr()) })
    }
}

/// A range that was removed, and its value.
pub(crate) struct Removed<U, V>(SlabBox<Node<U, V>>);

impl<U: Copy, V> Removed<U, V> {
    /// Returns the range.
    pub(crate) fn range(&self) -> Range<U> {
        self.0.range
    }

    /// Returns the value.
    pub(crate) fn value(&self) -> &V {
        &self.0.value
    }
}
