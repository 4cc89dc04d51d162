// SPDX-License-Identifier: GPL-2.0-only

//! The red-black tree, implemented by the standard library's ordered map. Only allocations of nodes
//! are counted, as only nodes are allocated in the kernel.

use core::marker::PhantomData;
use std::collections::{
    btree_map::{
        self,
        Entry, //
    },
    BTreeMap, //
};

use crate::{
    alloc::{
        fault,
        Flags, //
    },
    error::Result, //
};

/// Values in order of their keys.
pub struct RBTree<K, V> {
    map: BTreeMap<K, V>,
}

impl<K: Ord, V> RBTree<K, V> {
    /// A tree without nodes.
    pub fn new() -> Self {
        Self {
            map: BTreeMap::new(),
        }
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.map.keys()
    }

    /// Values in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.map.values()
    }

    /// Inserts a node. Returns the node with the same key that it replaces, if any.
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        let RBTreeNode { key, value } = node;
        let old = self.map.remove_entry(&key);
        self.map.insert(key, value);
        old.map(|(key, value)| RBTreeNode { key, value })
    }

    /// Allocates a node and inserts it.
    pub fn try_create_and_insert(
        &mut self,
        key: K,
        value: V,
        flags: Flags,
    ) -> Result<Option<RBTreeNode<K, V>>> {
        Ok(self.insert(RBTreeNode::new(key, value, flags)?))
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// The entry of a key.
    pub fn find_mut(&mut self, key: &K) -> Option<OccupiedEntry<'_, K, V>>
    where
        K: Clone,
    {
        match self.map.entry(key.clone()) {
            Entry::Occupied(entry) => Some(OccupiedEntry(entry)),
            Entry::Vacant(_) => None,
        }
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }

    /// Removes the node of a key.
    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        let (key, value) = self.map.remove_entry(key)?;
        Some(RBTreeNode { key, value })
    }

    /// Returns the node with the smallest key that is not below this one.
    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        self.cursor(self.map.range(key..).next())
    }

    /// The node with the smallest key.
    pub fn cursor_front(&self) -> Option<Cursor<'_, K, V>> {
        self.cursor(self.map.first_key_value())
    }

    /// The node with the largest key.
    pub fn cursor_back(&self) -> Option<Cursor<'_, K, V>> {
        self.cursor(self.map.last_key_value())
    }

    /// The node with the smallest key that is not below this one, to be changed.
    pub fn cursor_lower_bound_mut(&mut self, key: &K) -> Option<CursorMut<'_, K, V>>
    where
        K: Copy,
    {
        let key = *self.map.range(key..).next()?.0;
        Some(CursorMut {
            map: &mut self.map,
            key,
        })
    }

    /// The node with the largest key, to be changed.
    pub fn cursor_back_mut(&mut self) -> Option<CursorMut<'_, K, V>>
    where
        K: Copy,
    {
        let key = *self.map.last_key_value()?.0;
        Some(CursorMut {
            map: &mut self.map,
            key,
        })
    }

    /// The node with the smallest key, to be changed.
    pub fn cursor_front_mut(&mut self) -> Option<CursorMut<'_, K, V>>
    where
        K: Copy,
    {
        let key = *self.map.first_key_value()?.0;
        Some(CursorMut {
            map: &mut self.map,
            key,
        })
    }

    fn cursor<'a>(&'a self, current: Option<(&'a K, &'a V)>) -> Option<Cursor<'a, K, V>> {
        Some(Cursor {
            map: &self.map,
            current: current?,
        })
    }
}

impl<K: Ord, V> Default for RBTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// A node in a tree, which can be changed or removed.
pub struct OccupiedEntry<'a, K, V>(btree_map::OccupiedEntry<'a, K, V>);

impl<K: Ord, V> OccupiedEntry<'_, K, V> {
    /// The value.
    pub fn get(&self) -> &V {
        self.0.get()
    }

    /// The value, to be changed.
    pub fn get_mut(&mut self) -> &mut V {
        self.0.get_mut()
    }

    /// Removes the node from the tree.
    pub fn remove(self) -> V {
        self.0.remove()
    }
}

/// A position at a node of a tree, from which its neighbours can be reached.
pub struct Cursor<'a, K, V> {
    map: &'a BTreeMap<K, V>,
    current: (&'a K, &'a V),
}

impl<'a, K: Ord, V> Cursor<'a, K, V> {
    /// The node's key and value.
    pub fn current(&self) -> (&'a K, &'a V) {
        self.current
    }

    /// The node before it.
    pub fn peek_prev(&self) -> Option<(&'a K, &'a V)> {
        self.map.range(..self.current.0).next_back()
    }

    /// The node after it.
    pub fn peek_next(&self) -> Option<(&'a K, &'a V)> {
        use core::ops::Bound::{
            Excluded,
            Unbounded, //
        };

        self.map.range((Excluded(self.current.0), Unbounded)).next()
    }
}

/// A position at a node of a tree, which can be changed there.
pub struct CursorMut<'a, K, V> {
    map: &'a mut BTreeMap<K, V>,
    key: K,
}

impl<'a, K: Ord + Copy, V> CursorMut<'a, K, V> {
    /// The node's key and value.
    pub fn current(&self) -> (&K, &V) {
        (&self.key, &self.map[&self.key])
    }

    /// The node's key and value, to be changed.
    pub fn current_mut(&mut self) -> (&K, &mut V) {
        let value = self.map.get_mut(&self.key);
        (&self.key, value.expect("the cursor is at a node"))
    }

    /// Moves to the node before it.
    pub fn move_prev(self) -> Option<Self> {
        let key = *self.map.range(..self.key).next_back()?.0;
        Some(Self { key, ..self })
    }

    /// Moves to the node after it.
    pub fn move_next(self) -> Option<Self> {
        let key = *self.peek_next()?.0;
        Some(Self { key, ..self })
    }

    /// The node after it.
    pub fn peek_next(&self) -> Option<(&K, &V)> {
        use core::ops::Bound::{
            Excluded,
            Unbounded, //
        };

        self.map.range((Excluded(self.key), Unbounded)).next()
    }

    /// Removes the node. The cursor moves to the node after it, or else to the one before it.
    pub fn remove_current(self) -> (Option<Self>, RBTreeNode<K, V>) {
        let before = self.map.range(..self.key).next_back().map(|(key, _)| *key);
        let next = self.peek_next().map(|(key, _)| *key).or(before);
        let (key, value) = self
            .map
            .remove_entry(&self.key)
            .expect("the cursor is at a node");
        let cursor = next.map(|key| Self { key, ..self });
        (cursor, RBTreeNode { key, value })
    }
}

/// Memory reserved for a node.
pub struct RBTreeNodeReservation<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> RBTreeNodeReservation<K, V> {
    /// Allocates it.
    pub fn new(_flags: Flags) -> Result<Self> {
        fault::allocate()?;
        Ok(Self(PhantomData))
    }

    /// Turns the reservation into a node.
    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode { key, value }
    }
}

/// A node outside any tree.
pub struct RBTreeNode<K, V> {
    key: K,
    value: V,
}

impl<K, V> RBTreeNode<K, V> {
    /// Allocates it.
    pub fn new(key: K, value: V, flags: Flags) -> Result<Self> {
        Ok(RBTreeNodeReservation::new(flags)?.into_node(key, value))
    }

    /// The key and the value in the node.
    pub fn to_key_value(self) -> (K, V) {
        (self.key, self.value)
    }

    /// Drops the key and the value and returns the memory as a reservation.
    pub fn into_reservation(self) -> RBTreeNodeReservation<K, V> {
        RBTreeNodeReservation(PhantomData)
    }
}
