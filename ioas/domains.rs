// SPDX-License-Identifier: GPL-2.0-only

//! The domains of an address space. Each of them has all of its mappings.
//!
//! The first domain pins the memory of the areas, and the last one to be removed unpins it.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    ioas::{
        accessor::Accessor,
        area::Slice,
        filler::Filler,
        ranges::RANGES, //
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
            PAGE_SIZE, //
        }, //
    }, //
};

/// The domains of an address space, and what else uses its memory. Protected by `Ioas::domains`.
pub(crate) struct Domains {
    pub(super) list: KVVec<Arc<Domain>>,
    /// The emulated devices.
    pub(super) accessors: KVVec<Arc<Accessor>>,
    /// The number of HW queues.
    pub(super) phys_pins: usize,
    /// Every CPU page gets a page table entry of its own (`IOMMU_OPTION_HUGE_PAGES` is off).
    pub(super) small_pages: bool,
}

impl Domains {
    /// Creates an empty set.
    pub(crate) fn new() -> Self {
        Self {
            list: KVVec::new(),
            accessors: KVVec::new(),
            phys_pins: 0,
            small_pages: false,
        }
    }

    /// Returns true if there is no domain. Then only accesses pin memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The domains, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.list.iter().map(|domain| &**domain)
    }

    /// Returns true if a page table entry may be for several CPU pages.
    pub(crate) fn may_have_large_pages(&self) -> bool {
        !self.small_pages && !self.list.is_empty()
    }

    /// Pins an area's memory and maps it into every domain. On failure nothing has changed.
    /// Returns `ENOMEM`, and what [`Pages::pin`](crate::ioas::pages::Pages::pin) fails with.
    pub(crate) fn fill(&self, range: IovaRange, slice: &Slice, prot: Prot) -> Result {
        for (done, domain) in self.list.iter().enumerate() {
            if let Err(error) = fill_one(domain, range, slice, prot, self.small_pages, done == 0) {
                let filled = self.list.get(..done).unwrap_or(&[]);
                unfill_domains(filled, core::iter::once((range, slice)));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Unmaps areas from every domain and unpins their memory. Cannot fail and does not allocate.
    pub(crate) fn unfill<'a>(&self, areas: impl Iterator<Item = (IovaRange, &'a Slice)> + Clone) {
        unfill_domains(&self.list, areas);
    }

    /// Returns the alignment that the domains, accessors and HW queues need, in bytes.
    pub(super) fn alignment(&self) -> u64 {
        let whole_pages = self.small_pages || self.phys_pins != 0;
        let least = if whole_pages { PAGE_SIZE } else { 1 };
        let domains = self.list.iter().map(|domain| domain.min_page_size());
        let accessors = self.accessors.iter().map(|accessor| accessor.alignment());
        domains.fold(accessors.fold(least, u64::max), u64::max)
    }

    /// Returns the accessor with this index. The indexes change only while the lock is held for
    /// writing.
    pub(crate) fn accessor(&self, place: usize) -> Option<&Arc<Accessor>> {
        self.accessors.get(place)
    }
}

/// Maps an area into a domain. Pins its memory if this is the `first` domain; otherwise it is
/// pinned. On failure nothing has changed.
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
    if !first {
        let pinned = slice.pages.pinned(pages);
        let mut filler = Filler::new(domain, range, skip, prot, small_pages);
        filler.push_pieces(pinned.runs().map(Into::into))?;
        filler.keep();
        return Ok(());
    }
    let mut pending = slice.pages.begin_pin(pages)?;
    // Dropped before `pending`, so that memory is unmapped before it is unpinned.
    let mut filler = Filler::new(domain, range, skip, prot, small_pages);
    if !pending.pin(|extents| filler.push(extents))? {
        filler.push_pieces(pending.runs().map(Into::into))?;
    }
    filler.keep();
    pending.commit();
    Ok(())
}

/// Unmaps areas from a domain.
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

/// Unmaps areas from the domains that have them, and unpins their memory.
fn unfill_domains<'a>(
    domains: &[Arc<Domain>],
    areas: impl Iterator<Item = (IovaRange, &'a Slice)> + Clone,
) {
    if domains.is_empty() {
        return;
    }
    for domain in domains {
        unfill_one(domain, areas.clone());
    }
    for (_, slice) in areas {
        release(slice);
    }
}

/// Unpins an area's memory, except for pages that have other users.
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
