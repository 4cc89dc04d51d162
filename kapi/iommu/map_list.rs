// SPDX-License-Identifier: GPL-2.0-only

//! Mapping of ranges that follow each other by one call of the kernel.

use kernel::prelude::*;

use crate::kapi::{
    bug::warn_on_once,
    iommu::{
        batch::Batch,
        domain::{
            Domain,
            Prot,
            RangeOwner, //
        }, //
    },
    mm::phys::PhysPiece,
    units::IovaRange, //
};

/// The largest number of pages that a list is certain to have room for.
pub(crate) const MOST_PAGES: u64 = Batch::ROOM;

/// Ranges that follow each other, are mapped alike, and are to be mapped together.
///
/// # Examples
///
/// ```
/// use crate::kapi::{
///     iommu::{
///         domain::{Domain, Prot, RangeOwner},
///         map_list::MapList,
///     },
///     mm::phys::PhysPiece,
///     units::IovaRange,
/// };
///
/// /// Maps two pieces of memory in a row from `iova` on.
/// fn map_both(
///     domain: &Domain,
///     owner: impl RangeOwner,
///     iova: u64,
///     prot: Prot,
///     pieces: [PhysPiece<'_>; 2],
/// ) -> Result {
///     let mut list = MapList::new(domain, owner, false);
///     let mut next = iova;
///     for piece in pieces {
///         list.add(IovaRange::from_len(next, piece.len())?, prot, core::iter::once(piece))?;
///         next += piece.len();
///     }
///     list.map()
/// }
/// ```
pub(crate) struct MapList<'d, O> {
    domain: &'d Domain,
    owner: O,
    small_pages: bool,
    /// What is in the list, and its protection.
    added: Option<(IovaRange, Prot)>,
    batch: Batch,
}

impl<'d, O: RangeOwner> MapList<'d, O> {
    /// Returns an empty list. See [`Domain::map`] for `small_pages`.
    pub(crate) fn new(domain: &'d Domain, owner: O, small_pages: bool) -> Self {
        Self {
            domain,
            owner,
            small_pages,
            added: None,
            batch: Batch::new(),
        }
    }

    /// Returns whether a range can be mapped together with what is in the list.
    pub(crate) fn suits(&self, range: IovaRange, prot: Prot) -> bool {
        let Some((added, same)) = &self.added else {
            return true;
        };
        *same == prot && added.join(&range).is_some()
    }

    /// Adds `range`, which is to be mapped to `pieces`. It must suit the list. Returns `EFAULT` if
    /// `prot` permits writing but a piece does not, and `EINVAL` with a warning if the range does not
    /// suit, if there is no room, or if the pieces are shorter than the range. Then the list is empty.
    pub(crate) fn add<'p>(
        &mut self,
        range: IovaRange,
        prot: Prot,
        mut pieces: impl Iterator<Item = PhysPiece<'p>>,
    ) -> Result {
        let all = match &self.added {
            None => Some(range),
            Some((added, same)) => added.join(&range).filter(|_| *same == prot),
        };
        let added = if self.small_pages {
            let mut pages = pieces.flat_map(PhysPiece::pages);
            self.batch.add(&mut pages, range.len(), prot.write)
        } else {
            self.batch.add(&mut pieces, range.len(), prot.write)
        };
        self.added = all.map(|all| (all, prot));
        let complete = added.map(|bytes| bytes == range.len() && all.is_some());
        if warn_on_once!(complete == Ok(false)) || complete.is_err() {
            self.clear();
            complete?;
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Maps what is in the list. The list is empty after that. Returns `EINVAL` if an address is not
    /// aligned to the pages of the domain, `ENOMEM`, or another error of the driver. Nothing is mapped
    /// then.
    pub(crate) fn map(&mut self) -> Result {
        let Some((range, prot)) = self.added else {
            return Ok(());
        };
        let mut done = 0;
        // SAFETY:
        // - The domain is valid as long as `self`.
        // - The owner keeps the memory until the ranges are unmapped, and nobody else changes the
        //   ranges: `RangeOwner` guarantees that.
        let result = unsafe {
            let domain = self.domain.as_ptr();
            self.batch
                .map(domain, range.start(), prot.as_raw(), &mut done)
        };
        if result.is_err() {
            let mapped = IovaRange::from_len(range.start(), done);
            self.domain.unmap(self.owner, mapped);
        }
        self.clear();
        result
    }

    fn clear(&mut self) {
        self.added = None;
        self.batch.clear();
    }
}
