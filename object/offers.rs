// SPDX-License-Identifier: GPL-2.0-only

//! Device memory of objects that user space may map, by the offsets at which it does.
//!
//! Memory is offered while its owner is being made, which nobody finds yet, so an offer has the
//! owner's id rather than a reference. It is taken back before that id is free. So whoever looks
//! the id up under the lock (rank 45), with the offer still there, finds the owner or nothing.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::Mutex, //
};

use crate::kapi::{
    mm::vma::DeviceMemory,
    units::PAGE_SIZE, //
};

struct Offer {
    owner: u32,
    memory: DeviceMemory,
}

/// What may be mapped, each at the offset of its key. Offers do not overlap.
#[pin_data]
pub(crate) struct Offers {
    #[pin]
    by_offset: Mutex<RBTree<u64, Offer>>,
}

/// No offer begins below: to be told 0 is to be told nothing.
const FIRST: u64 = PAGE_SIZE;
/// The last byte that mmap can be told of.
const LAST: u64 = i64::MAX as u64;

/// The lowest offset with room for `len` bytes, which are not 0.
fn free_offset(offers: &RBTree<u64, Offer>, len: u64) -> Option<u64> {
    let mut start = FIRST;
    for (&next, offer) in offers.iter() {
        if next - start >= len {
            break;
        }
        // No offer ends after `LAST`.
        start = next + offer.memory.len();
    }
    let last = start.checked_add(len - 1)?;
    (last <= LAST).then_some(start)
}

impl Offers {
    /// No offers.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            by_offset <- new_mutex!(RBTree::new(), "Offers::by_offset"),
        })
    }

    /// Offers memory of the object that has the id `owner`, and returns at which offset, which is
    /// never
    /// 0. `ENOMEM`, `EBUSY` where there is no room.
    pub(crate) fn add(&self, owner: u32, memory: DeviceMemory) -> Result<u64> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut offers = self.by_offset.lock();
        let offset = free_offset(&offers, memory.len()).ok_or(EBUSY)?;
        offers.insert(node.into_node(offset, Offer { owner, memory }));
        Ok(offset)
    }

    /// Takes back what is offered at `offset`.
    pub(crate) fn remove(&self, offset: u64) {
        let offer = self.by_offset.lock().remove_node(&offset);
        drop(offer);
    }

    /// What is offered at exactly this offset, with its owner, which `find` looks up by the id
    /// under the lock. `ENXIO` where there is nothing, or what `find` fails with.
    pub(crate) fn get<T>(
        &self,
        offset: u64,
        find: impl FnOnce(u32) -> Result<T>,
    ) -> Result<(T, DeviceMemory)> {
        let offers = self.by_offset.lock();
        let offer = offers.get(&offset).ok_or(ENXIO)?;
        Ok((find(offer.owner)?, offer.memory))
    }
}
