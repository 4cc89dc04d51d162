// SPDX-License-Identifier: GPL-2.0-only

//! The domains of an address space, and how an area gets into a domain and out of it.
//!
//! The first domain that has an area pins its memory, and the last one unpins it.

use kernel::{
    rbtree::RBTree,
    sync::Arc, //
};

use crate::{
    ioas::{
        accessor::Accessor,
        alignments::Alignments,
        area::Slice,
        filler::Filler,
        membership::Membership,
        ranges::RANGES,
        tally::Tally, //
    },
    kapi::{
        bug::warn_on_once,
        iommu::domain::{
            Domain,
            Prot, //
        },
        reason::Result,
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The domains of an address space, and what else uses its memory. Protected by `Ioas::space`.
pub(crate) struct Domains {
    /// The domains, and which of them has which areas.
    pub(super) members: Membership<Arc<Domain>>,
    /// The emulated devices, by their addresses, which are compared only.
    pub(super) accessors: RBTree<usize, Arc<Accessor>>,
    /// What domains and accessors need.
    pub(super) alignments: Alignments,
    /// The number of HW queues.
    pub(super) phys_pins: Tally,
    /// Every CPU page gets a page table entry of its own (`IOMMU_OPTION_HUGE_PAGES` is off).
    pub(super) small_pages: bool,
}

impl Domains {
    /// Creates an empty set.
    pub(crate) fn new() -> Self {
        Self {
            members: Membership::new(),
            accessors: RBTree::new(),
            alignments: Alignments::new(),
            phys_pins: Tally::new(),
            small_pages: false,
        }
    }

    /// Returns true if a page table entry may be for several CPU pages.
    pub(crate) fn may_have_large_pages(&self) -> bool {
        !self.small_pages && !self.members.is_empty()
    }

    /// Returns the alignment that the domains, accessors and HW queues need, in bytes.
    pub(super) fn alignment(&self) -> u64 {
        let whole_pages = self.small_pages || self.phys_pins.get() != 0;
        let least = if whole_pages { PAGE_SIZE } else { 1 };
        self.alignments.largest().max(least)
    }

    /// Returns the first accessor whose address is `from` or higher.
    pub(crate) fn accessor_from(&self, from: usize) -> Option<Arc<Accessor>> {
        let place = self.accessors.cursor_lower_bound(&from)?;
        Some(place.current().1.clone())
    }
}

impl Drop for Domains {
    fn drop(&mut self) {
        // Domains and accessors are removed before the address space is dropped; see `Ioas`.
        warn_on_once!(!self.members.is_settled() || !self.members.is_empty());
        warn_on_once!(!self.accessors.is_empty());
    }
}

/// Returns the address of a domain, which identifies it.
pub(super) fn id_of(domain: &Arc<Domain>) -> usize {
    core::ptr::from_ref(&**domain).addr()
}

/// Maps an area into a domain. Pins its memory if this is the `first` domain; otherwise it is
/// pinned. On failure nothing has changed. Returns `ENOMEM`, and what
/// [`PendingPin::pin`](crate::ioas::pin::PendingPin::pin) fails with.
pub(super) fn fill_one(
    domain: &Arc<Domain>,
    range: IovaRange,
    slice: &Slice,
    prot: Prot,
    small_pages: bool,
    first: bool,
) -> Result {
    let pages = slice.page_range()?;
    let skip = page_offset(slice.start);
    if let Some((mmio, start)) = slice.pages.mmio() {
        let prot = Prot { mmio: true, ..prot };
        let filler = Filler::new(domain, range, skip, prot, small_pages);
        let pages = PageRange::from_len(start + pages.start(), pages.len())?;
        return mmio.map(domain, range, pages, filler);
    }
    let phase = (range.start() >> PAGE_SHIFT).wrapping_sub(pages.start());
    if !first {
        let mut filler = Filler::new(domain, range, skip, prot, small_pages);
        slice.pages.for_pinned(pages, phase, &mut filler)?;
        filler.keep();
        return Ok(());
    }
    if slice.pages.may_be_present(slice.start, slice.length) {
        // All of it is mapped at once or nothing, so no page is unpinned that is mapped.
        let mut filler = Filler::new(domain, range, skip, prot, small_pages);
        if slice.pages.pin_present(pages, &mut filler)? {
            filler.keep();
            return Ok(());
        }
    }
    let mut pending = slice.pages.begin_pin(pages, phase);
    // Dropped before `pending`, so that memory is unmapped before it is unpinned.
    let mut filler = Filler::new(domain, range, skip, prot, small_pages);
    pending.pin(&mut filler)?;
    filler.keep();
    pending.commit();
    Ok(())
}

/// Unmaps areas from a domain. Cannot fail and does not allocate.
pub(super) fn unfill_one<'a>(
    domain: &Arc<Domain>,
    areas: impl Iterator<Item = (IovaRange, &'a Slice)>,
) {
    let ranges = areas.filter_map(|(range, slice)| match slice.pages.mmio() {
        Some((mmio, _)) => {
            mmio.unmap(domain, range);
            None
        }
        None => Some(range),
    });
    domain.unmap(RANGES, ranges);
}

/// Unpins an area's memory, except for pages that have other users. Comes after the area was
/// unmapped from every domain. Cannot fail and does not allocate.
pub(super) fn release(slice: &Slice) {
    if slice.pages.mmio().is_none() {
        let pages = slice.page_range();
        // The slice was mapped, so its end fits in 64 bits.
        warn_on_once!(pages.is_err());
        if let Ok(pages) = pages {
            slice.pages.unpin(pages);
        }
    }
}
