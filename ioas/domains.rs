// SPDX-License-Identifier: GPL-2.0-only

//! The domains of an address space: all of them carry all of its mappings.
//!
//! The first domain pins the areas' memory, the last one to go unpins it.

use crate::ioas::area::Area;
use crate::ioas::area::Filler;
use crate::ioas::area::Slice;
use crate::ioas::area::State;
use crate::ioas::space::Owner;
use crate::ioas::space::Space;
use crate::ioas::Ioas;
use crate::kapi::domain::Domain;
use crate::kapi::domain::Prot;
use crate::kapi::units::IovaRange;
use crate::kapi::units::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::Arc;

/// See the module. Everything here is under `Ioas::domains`.
pub(crate) struct Domains {
    list: KVec<Arc<Domain>>,
    /// Every CPU page gets a page table entry of its own (`IOMMU_OPTION_HUGE_PAGES` off).
    small_pages: bool,
}

impl Domains {
    /// No domain.
    pub(crate) fn new() -> Self {
        Self {
            list: KVec::new(),
            small_pages: false,
        }
    }

    /// Whether there is no domain, and so nothing is pinned.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Pins an area's memory and maps it into every domain. On failure nothing has changed.
    /// `ENOMEM`, or what [`Pages::hold`](crate::ioas::pages::Pages::hold) fails with.
    pub(crate) fn fill(&self, range: IovaRange, slice: &Slice, prot: Prot) -> Result {
        let Some((first, others)) = self.list.split_first() else {
            return Ok(());
        };
        let pages = slice.page_range()?;
        let mut filler = Filler::new(first, range, slice, prot, self.small_pages);
        slice
            .pages
            .hold(pages, |phys, npages| filler.push(phys, npages))?;
        filler.keep();

        for (done, domain) in others.iter().enumerate() {
            if let Err(error) = fill_one(domain, range, slice, prot, self.small_pages) {
                for domain in self.list.iter().take(done + 1) {
                    domain.unmap(&[range]);
                }
                slice.pages.release(pages);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Unmaps areas from every domain and unpins their memory. Cannot fail and does not allocate.
    pub(crate) fn unfill<'a>(&self, ranges: &[IovaRange], slices: impl Iterator<Item = &'a Slice>) {
        if self.list.is_empty() {
            return;
        }
        for domain in &self.list {
            domain.unmap(ranges);
        }
        slices.for_each(release);
    }

    /// The alignment that the domains ask for.
    fn alignment(&self) -> u64 {
        let least = if self.small_pages { PAGE_SIZE } else { 1 };
        self.list
            .iter()
            .map(|domain| domain.min_page_size())
            .fold(least, u64::max)
    }
}

/// Maps memory that is held already into one more domain. On failure nothing is mapped.
fn fill_one(
    domain: &Domain,
    range: IovaRange,
    slice: &Slice,
    prot: Prot,
    small_pages: bool,
) -> Result {
    let mut filler = Filler::new(domain, range, slice, prot, small_pages);
    slice
        .pages
        .with_extents(slice.page_range()?, |phys, npages| filler.push(phys, npages))?;
    filler.keep();
    Ok(())
}

/// Unpins an area's memory as far as nobody else holds it.
fn release(slice: &Slice) {
    if let Ok(pages) = slice.page_range() {
        slice.pages.release(pages);
    }
}

/// The areas that domains have.
fn ready(space: &Space) -> impl Iterator<Item = (IovaRange, &Area)> {
    space
        .areas
        .iter()
        .filter(|(_, area)| area.state == State::Ready)
}

impl Ioas {
    /// Gives all mappings to one more domain. On failure nothing has changed. `EADDRINUSE` where an
    /// area lies where the domain cannot map, or is aligned worse than its pages; `EINVAL` where
    /// its pages are larger than the CPU's; `ENOMEM`, `EFAULT`.
    pub(crate) fn add_domain(&self, domain: &Arc<Domain>) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();
        let owner = Owner::of(&**domain);

        let alignment = domain.min_page_size().max(space.alignment);
        if alignment > PAGE_SIZE {
            return Err(EINVAL);
        }
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(EADDRINUSE);
        }
        domains.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        reserve_outside(&mut space, domain.aperture(), owner)?;
        if let Err(error) = fill_domain(&domains, &space, domain) {
            space.unreserve(owner);
            return Err(error);
        }
        space.alignment = alignment;
        // There is room: it was reserved.
        drop(domains.list.push_within_capacity(domain.clone()));
        Ok(())
    }

    /// Takes all mappings from a domain. Cannot fail.
    pub(crate) fn remove_domain(&self, domain: &Arc<Domain>) {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        domains.list.retain(|other| !Arc::ptr_eq(other, domain));
        unfill_domain(&domains, &space, domain, None);
        space.unreserve(Owner::of(&**domain));
        space.alignment = domains.alignment();
    }

    /// Whether areas may be mapped with pages larger than the CPU's smallest.
    pub(crate) fn large_pages(&self) -> bool {
        !self.domains.read().small_pages
    }

    /// Turns large pages off or on. `EINVAL` where domains have mappings, `EADDRINUSE` where an
    /// area begins or ends inside a page.
    pub(crate) fn set_large_pages(&self, large: bool) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        if !large && !domains.small_pages {
            if !domains.is_empty() && !space.areas.is_empty() {
                return Err(EINVAL);
            }
            if !space.fits(PAGE_SIZE) {
                return Err(EADDRINUSE);
            }
        }
        domains.small_pages = !large;
        space.alignment = domains.alignment();
        Ok(())
    }
}

/// Closes what a domain cannot translate.
fn reserve_outside(space: &mut Space, aperture: IovaRange, owner: Owner) -> Result {
    let below = aperture.start().checked_sub(1);
    let above = aperture.last().checked_add(1);
    let outside = [
        below.and_then(|last| IovaRange::new(0, last)),
        above.and_then(|start| IovaRange::new(start, u64::MAX)),
    ];
    let result = outside
        .into_iter()
        .flatten()
        .try_for_each(|range| space.reserve(range, owner));
    if result.is_err() {
        space.unreserve(owner);
    }
    result
}

/// Maps every area into `domain`, which is not in `domains` yet.
fn fill_domain(domains: &Domains, space: &Space, domain: &Domain) -> Result {
    let first = domains.is_empty();
    for (range, area) in ready(space) {
        let slice = &area.slice;
        let result = if first {
            let mut filler = Filler::new(domain, range, slice, area.prot, domains.small_pages);
            slice
                .page_range()
                .and_then(|pages| slice.pages.hold(pages, |phys, n| filler.push(phys, n)))
                .map(|()| filler.keep())
        } else {
            fill_one(domain, range, slice, area.prot, domains.small_pages)
        };
        if let Err(error) = result {
            unfill_domain(domains, space, domain, Some(range.start()));
            return Err(error);
        }
    }
    Ok(())
}

/// Unmaps the areas that begin before `end` from `domain`, which is not in `domains` any more, and
/// unpins their memory where no domain is left to need it.
fn unfill_domain(domains: &Domains, space: &Space, domain: &Domain, end: Option<u64>) {
    const BATCH: usize = 16;

    let before = |(range, _): &(IovaRange, &Area)| end.is_none_or(|end| range.start() < end);
    let mut batch = [IovaRange::ALL; BATCH];
    let mut filled = 0;
    for (range, _) in ready(space).take_while(before) {
        if filled == BATCH {
            domain.unmap(&batch);
            filled = 0;
        }
        if let Some(place) = batch.get_mut(filled) {
            *place = range;
            filled += 1;
        }
    }
    domain.unmap(batch.get(..filled).unwrap_or(&[]));
    if domains.is_empty() {
        for (_, area) in ready(space).take_while(before) {
            release(&area.slice);
        }
    }
}
