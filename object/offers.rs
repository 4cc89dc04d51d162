// SPDX-License-Identifier: GPL-2.0-only

//! Device memory of objects that user space may map, by the offsets at which it does.
//!
//! Memory is offered while its owner is being made and no look-up finds the owner, so an offer has
//! the owner's id rather than a reference. It is withdrawn before that id is freed. So a look-up of
//! the id under the lock (rank 45), while the offer is there, finds the owner or nothing.

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
    reason::{
        Reason,
        Result, //
    },
    units::PAGE_SIZE, //
};

struct Offer {
    owner: u32,
    memory: DeviceMemory,
}

/// The offers by the offset at which each is mapped. They do not overlap.
#[pin_data]
pub(crate) struct Offers {
    #[pin]
    by_offset: Mutex<RBTree<u64, Offer>>,
}

/// The lowest offset. 0 means that there is nothing to map.
const FIRST: u64 = PAGE_SIZE;
/// The last byte that can be named to mmap().
const LAST: u64 = i64::MAX as u64;

/// Returns the lowest offset with room for `len` bytes. `len` is not 0.
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
    /// Initialises an empty set of offers.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            by_offset <- new_mutex!(RBTree::new(), "Offers::by_offset"),
        })
    }

    /// Offers memory of the object with the id `owner`. Returns the offset, which is not 0. Returns
    /// `ENOMEM`, or `EBUSY` if there is no room.
    pub(crate) fn add(&self, owner: u32, memory: DeviceMemory) -> Result<u64> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut offers = self.by_offset.lock();
        let offset = free_offset(&offers, memory.len()).ok_or(Reason::ObjectIds.with(0))?;
        offers.insert(node.into_node(offset, Offer { owner, memory }));
        Ok(offset)
    }

    /// Withdraws the offer at `offset`.
    pub(crate) fn remove(&self, offset: u64) {
        let offer = self.by_offset.lock().remove_node(&offset);
        drop(offer);
    }

    /// Returns the memory that is offered at this offset, and its owner, which `find` looks up by
    /// the id under the lock. Returns `ENXIO` if there is no such offer, or what `find` fails with.
    pub(crate) fn get<T>(
        &self,
        offset: u64,
        find: impl FnOnce(u32) -> Result<T>,
    ) -> Result<(T, DeviceMemory)> {
        let offers = self.by_offset.lock();
        let offer = offers.get(&offset).ok_or(Reason::MmapOffset.with(offset))?;
        Ok((find(offer.owner)?, offer.memory))
    }
}
