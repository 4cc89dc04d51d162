// SPDX-License-Identifier: GPL-2.0-only

//! Trees of disjoint ranges, each with a value and a weight.
//!
//! The tree knows the largest weight in each of its subtrees, so that the first range that is heavy
//! enough is found in logarithmic time. What a weight means is up to the user.
//!
//! Fit for `rust/kernel`. [`RBTree`](kernel::rbtree::RBTree) cannot be augmented.
//!
//! C header: [`include/linux/rbtree_augmented.h`](srctree/include/linux/rbtree_augmented.h)

use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};

use kernel::{
    alloc::Flags,
    container_of,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::units::Range, //
};

/// A tree of disjoint ranges of `U` with values, in order.
///
/// # Invariants
///
/// `root` is a red-black tree of the field `links` of nodes of type [`Node`], which the tree owns.
/// The ranges of the nodes are disjoint and in order. `links.heaviest` of a node is the largest
/// `links.weight` in the subtree of that node.
///
/// # Examples
///
/// ```
/// use crate::kapi::{sync::range_tree::{RangeTree, Reservation}, units::IovaRange};
///
/// let mut tree = RangeTree::new();
/// for (start, weight) in [(10, 1), (30, 5), (50, 2), (70, 5)] {
///     let memory = Reservation::new(GFP_KERNEL)?;
///     let range = IovaRange::from_len(start, 10)?;
///     let mut node = tree.insert(memory, range, start).map_err(|_| EEXIST)?;
///     node.set_weight(weight);
/// }
/// let first = |at, weight| tree.first_heavy(at, weight).map(|node| *node.value());
/// assert_eq!(first(0, 2), Some(30));
/// assert_eq!(first(40, 2), Some(50));
/// assert_eq!(first(40, 3), Some(70));
/// assert_eq!(first(0, 6), None);
/// # Ok::<(), Error>(())
/// ```
pub(crate) struct RangeTree<U, V> {
    root: bindings::rb_root,
    _nodes: PhantomData<Node<U, V>>,
}

// SAFETY: The tree owns its nodes, and their values with them.
unsafe impl<U, V: Send> Send for RangeTree<U, V> {}

// SAFETY: A shared reference to the tree gives shared references to the values, and nothing else.
unsafe impl<U, V: Sync> Sync for RangeTree<U, V> {}

#[repr(C)]
struct Node<U, V> {
    links: bindings::iommufd_rs_weighted,
    range: Range<U>,
    value: V,
}

/// Memory for one more range, so that inserting it cannot fail.
pub(crate) struct Reservation<U, V>(KBox<MaybeUninit<Node<U, V>>>);

impl<U, V> Reservation<U, V> {
    /// Allocates it. Returns `ENOMEM`.
    pub(crate) fn new(flags: Flags) -> Result<Self> {
        Ok(Self(KBox::new_uninit(flags)?))
    }
}

/// Returns the node with these links, or `None` if the pointer is null.
///
/// # Safety
///
/// The pointer must be null, or one to `links.rb` of a `Node<U, V>`.
unsafe fn node_of<U, V>(links: *mut bindings::rb_node) -> Option<NonNull<Node<U, V>>> {
    if links.is_null() {
        return None;
    }
    // SAFETY: The caller says that this is such a field.
    let node = unsafe { container_of!(links, Node<U, V>, links.rb) };
    NonNull::new(node)
}

impl<U: Copy, V> RangeTree<U, V> {
    /// Creates an empty tree.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The tree has no nodes.
        Self {
            root: bindings::rb_root {
                rb_node: core::ptr::null_mut(),
            },
            _nodes: PhantomData,
        }
    }

    /// Returns true if there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.rb_node.is_null()
    }

    /// Adds a range of weight 0. Returns the value if the range intersects another one; the memory
    /// is freed then.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        memory: Reservation<U, V>,
        range: Range<U>,
        value: V,
    ) -> Result<CursorMut<'_, U, V>, V> {
        let root: *mut bindings::rb_root = &mut self.root;
        let mut parent = core::ptr::null_mut();
        // SAFETY: `root` is a field of `self`.
        let mut link = unsafe { &raw mut (*root).rb_node };
        loop {
            // SAFETY: `link` is the pointer of the root or one of a node, all of which are valid.
            let below = unsafe { *link };
            // SAFETY: By the invariants of the tree `below` is null or the links of a node.
            let Some(node) = (unsafe { node_of::<U, V>(below) }) else {
                break;
            };
            // SAFETY: By the invariants of the tree the node is valid.
            let there = unsafe { (*node.as_ptr()).range };
            link = if range.last() < there.start() {
                // SAFETY: `below` is the links of a node, which is valid.
                unsafe { &raw mut (*below).rb_left }
            } else if range.start() > there.last() {
                // SAFETY: `below` is the links of a node, which is valid.
                unsafe { &raw mut (*below).rb_right }
            } else {
                return Err(value);
            };
            parent = below;
        }
        let node = memory.0.write(Node {
            links: Default::default(),
            range,
            value,
        });
        let node = NonNull::from(KBox::leak(node));
        // INVARIANT: The search has ended at the null pointer where a node with this range has its
        // place in the order. The weight is 0, so it changes no `heaviest`.
        // SAFETY: `parent` and `link` are the place of a node that is missing in the tree `root`,
        // and `node` is in no tree.
        unsafe {
            let links = &raw mut (*node.as_ptr()).links;
            bindings::iommufd_rs_weighted_insert(links, parent, link, root);
        }
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

    /// As [`RangeTree::seek`], for changing the tree.
    #[inline]
    pub(crate) fn seek_mut(&mut self, at: u64) -> Option<CursorMut<'_, U, V>> {
        let node = self.seek(at)?.node;
        // INVARIANT: The node was found in the tree.
        Some(CursorMut { tree: self, node })
    }

    /// Returns the last range.
    pub(crate) fn last(&self) -> Option<Cursor<'_, U, V>> {
        let mut last = self.top()?;
        while let Some(right) = last.right() {
            last = right;
        }
        Some(last)
    }

    /// Returns the first range of at least this weight that contains `at` or lies behind it.
    pub(crate) fn first_heavy(&self, at: u64, weight: u64) -> Option<Cursor<'_, U, V>> {
        // The result is `found`, or in the right subtree of `found`.
        let mut found = None;
        let mut next = self.top();
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
    pub(crate) fn heaviest(&self, after: u64, until: u64) -> u64 {
        // Finds the node that has all these ranges in its subtree.
        let mut next = self.top();
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
        // SAFETY: `root` is a valid tree.
        let mut next = unsafe { bindings::rb_first_postorder(&self.root) };

        // SAFETY: By the invariants all nodes of the tree are of this type.
        while let Some(node) = unsafe { node_of::<U, V>(next) } {
            // SAFETY: In this order a node comes behind its children, so neither this one nor a
            // later one was freed.
            next = unsafe { bindings::rb_next_postorder(next) };
            // SAFETY: The tree owns its nodes, which came from boxes, and each one comes once.
            drop(unsafe { KBox::from_raw(node.as_ptr()) });
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

    /// Returns the weight.
    pub(crate) fn weight(self) -> u64 {
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

    /// Changes the weight.
    pub(crate) fn set_weight(&mut self, weight: u64) {
        if self.as_ref().weight() == weight {
            return;
        }
        // SAFETY: The node is in the tree, which is borrowed mutably.
        let links = unsafe { &raw mut (*self.node.as_ptr()).links };
        // SAFETY: The links are valid.
        unsafe { (*links).weight = weight };
        // INVARIANT: The function corrects `heaviest` of this node and of those above it.
        // SAFETY: The node is in the tree, which is borrowed mutably.
        unsafe { bindings::iommufd_rs_weighted_update(links) };
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
                // INVARIANT: The range is still between its neighbours.
                // SAFETY: The node is in the tree, which is borrowed mutably.
                unsafe { (*self.node.as_ptr()).range = range };
                true
            }
            _ => false,
        }
    }

    /// Goes to the range behind this one.
    pub(crate) fn next(self) -> Option<Self> {
        let node = self.as_ref().next()?.node;
        // INVARIANT: The next node is in the tree too.
        Some(Self { node, ..self })
    }

    /// Removes the range. Needs no memory.
    pub(crate) fn remove(self) -> V {
        // SAFETY: By the invariants the node is in the tree, which is borrowed mutably.
        unsafe {
            let links = &raw mut (*self.node.as_ptr()).links;
            bindings::iommufd_rs_weighted_erase(links, &mut self.tree.root);
        }
        // SAFETY: The node came from a box. The tree does not have it any more.
        let node = unsafe { KBox::from_raw(self.node.as_ptr()) };
        KBox::into_inner(node).value
    }
}
