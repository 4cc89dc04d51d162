// SPDX-License-Identifier: GPL-2.0-only

//! The ids of a context that are taken, and the objects that look-ups find by them.
//!
//! They are in blocks of [`Block::IDS`] neighbouring ids, so that not each object needs an
//! allocation here. A block exists while one of its ids is taken.
//!
//! The caller has the lock of the table. Nothing is allocated, freed or dropped here.

use kernel::rbtree::{
    RBTree,
    RBTreeNode,
    RBTreeNodeReservation, //
};

use crate::{
    kapi::{
        bug::warn_on_once,
        sync::shared::SharedAny, //
    },
    object::kind::{
        About,
        Census, //
    }, //
};

/// An object that look-ups find.
pub(super) struct Live {
    pub(super) object: SharedAny,
    pub(super) about: &'static About,
}

/// The state of neighbouring ids.
pub(super) struct Block {
    /// The ids that are taken, a bit for each. One without an object belongs to a reservation, or is
    /// not used again.
    taken: u64,
    live: [Option<Live>; Self::IDS as usize],
}

/// Memory for a block.
pub(super) type BlockMemory = RBTreeNodeReservation<u32, Block>;

/// An id in its block.
#[derive(Clone, Copy)]
struct Position {
    /// The key of the block.
    block: u32,
    /// The index in the block, less than [`Block::IDS`].
    index: u32,
}

impl Position {
    fn of(id: u32) -> Self {
        Self {
            block: id / Block::IDS,
            index: id % Block::IDS,
        }
    }

    /// Returns the bit of [`Block::taken`].
    fn bit(self) -> u64 {
        1 << self.index
    }
}

impl Block {
    /// The ids of a block. It takes less than 2 KiB.
    const IDS: u32 = u64::BITS;

    fn new() -> Self {
        Self {
            taken: 0,
            live: [const { None }; Self::IDS as usize],
        }
    }

    fn live(&self, position: Position) -> Option<&Live> {
        self.live.get(position.index as usize)?.as_ref()
    }

    /// Removes all objects, and returns each, the one with the largest id first.
    pub(super) fn take_objects(&mut self) -> impl Iterator<Item = SharedAny> + '_ {
        let live = self.live.iter_mut().rev();
        live.filter_map(|live| Some(live.take()?.object))
    }

    /// Returns the index of the first id that is taken, from `index` on.
    fn first(&self, index: u32) -> Option<u32> {
        let left = self.taken >> index;
        (left != 0).then(|| index + left.trailing_zeros())
    }
}

/// See the [module](self).
pub(super) struct Slots {
    blocks: RBTree<u32, Block>,
    /// The marked object, which is live.
    marked: Option<u32>,
    /// The live objects.
    census: Census,
}

impl Slots {
    /// Creates a set without ids.
    pub(super) fn new() -> Self {
        Self {
            blocks: RBTree::new(),
            marked: None,
            census: Census::new(),
        }
    }

    /// Returns true if no id is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Takes an id that is free. Returns false if there is no memory for it, which `memory` is; that is
    /// used up then.
    pub(super) fn add(&mut self, id: u32, memory: &mut Option<BlockMemory>) -> bool {
        let position = Position::of(id);
        if let Some(block) = self.blocks.get_mut(&position.block) {
            warn_on_once!(block.taken & position.bit() != 0);
            block.taken |= position.bit();
            return true;
        }
        let Some(memory) = memory.take() else {
            return false;
        };
        let mut block = Block::new();
        block.taken = position.bit();
        self.blocks.insert(memory.into_node(position.block, block));
        true
    }

    /// Frees an id, whose object was removed before. Returns memory for the caller to free without
    /// the lock.
    #[must_use = "it is freed without the lock"]
    pub(super) fn remove(&mut self, id: u32) -> Option<RBTreeNode<u32, Block>> {
        let position = Position::of(id);
        let block = self.blocks.get_mut(&position.block)?;
        warn_on_once!(block.live(position).is_some());
        block.taken &= !position.bit();
        if block.taken != 0 {
            return None;
        }
        self.blocks.remove_node(&position.block)
    }

    /// Lets look-ups find an object by an id that is taken. Drops it if the id is not.
    pub(super) fn publish(&mut self, id: u32, live: Live) {
        let position = Position::of(id);
        let block = self.blocks.get_mut(&position.block);
        let slot = block.and_then(|block| block.live.get_mut(position.index as usize));
        // A reservation has a slot.
        warn_on_once!(slot.is_none());
        if let Some(slot) = slot {
            self.census.add(live.about);
            *slot = Some(live);
        }
    }

    /// Removes an object and returns it. The id remains taken.
    pub(super) fn take(&mut self, id: u32) -> Option<SharedAny> {
        let position = Position::of(id);
        let block = self.blocks.get_mut(&position.block)?;
        let Live { object, about } = block.live.get_mut(position.index as usize)?.take()?;
        self.census.sub(about);
        if self.marked == Some(id) {
            self.marked = None;
        }
        Some(object)
    }

    /// Returns the object with this id.
    pub(super) fn live(&self, id: u32) -> Option<&SharedAny> {
        Some(&self.entry(id)?.object)
    }

    /// Returns the object with this id, and what is known of its kind.
    pub(super) fn entry(&self, id: u32) -> Option<&Live> {
        let position = Position::of(id);
        self.blocks.get(&position.block)?.live(position)
    }

    /// Returns the first id that is taken, from `from` on, and its object.
    pub(super) fn next(&self, from: u32) -> Option<(u32, Option<&Live>)> {
        let Position { block, mut index } = Position::of(from);
        let mut block = self.first_block(block)?;
        if block != Position::of(from).block {
            index = 0;
        }
        loop {
            let found = self.blocks.get(&block)?;
            if let Some(index) = found.first(index) {
                let position = Position { block, index };
                return Some((block * Block::IDS + index, found.live(position)));
            }
            block = self.first_block(block + 1)?;
            index = 0;
        }
    }

    /// Returns the key of the first block, from `block` on.
    fn first_block(&self, block: u32) -> Option<u32> {
        Some(*self.blocks.cursor_lower_bound(&block)?.current().0)
    }

    /// Returns all objects in the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &SharedAny> {
        let live = self.blocks.values().flat_map(|block| &block.live);
        live.flatten().map(|live| &live.object)
    }

    /// Removes everything, for the caller to drop without the lock.
    pub(super) fn clear(&mut self) -> RBTree<u32, Block> {
        core::mem::replace(&mut self.blocks, RBTree::new())
    }

    /// Returns the numbers of objects.
    pub(super) fn census(&self) -> Census {
        self.census
    }

    /// Returns the id of the marked object.
    pub(super) fn marked(&self) -> Option<u32> {
        self.marked
    }

    /// Marks a live object instead of the one that is marked, or none.
    pub(super) fn mark(&mut self, id: Option<u32>) {
        self.marked = id;
    }
}
