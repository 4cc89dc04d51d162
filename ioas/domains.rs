// SPDX-License-Identifier: GPL-2.0-only

//! The domains of an address space: all of them carry all of its mappings.
//!
//! The first domain pins the areas' memory, the last one to go unpins it.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    ioas::{
        access::Accessor,
        area::{
            Area,
            Slice,
            State, //
        },
        filler::Filler,
        ranges::RANGES,
        space::{
            Owner,
            Space, //
        },
        Ioas, //
    },
    kapi::{
        bug::warn_on_once,
        iommu::domain::{
            Domain,
            Prot, //
        },
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SIZE, //
        }, //
    }, //
};

/// See the module. Everything here is under `Ioas::domains`.
pub(crate) struct Domains {
    list: KVec<Arc<Domain>>,
    /// Who reaches the memory without a domain.
    accessors: KVec<Arc<Accessor>>,
    /// How many HW queues there are, which the hardware reads page by page.
    phys_pins: usize,
    /// Every CPU page gets a page table entry of its own (`IOMMU_OPTION_HUGE_PAGES` off).
    small_pages: bool,
}

impl Domains {
    /// No domain.
    pub(crate) fn new() -> Self {
        Self {
            list: KVec::new(),
            accessors: KVec::new(),
            phys_pins: 0,
            small_pages: false,
        }
    }

    /// Whether there is no domain, and so nothing is pinned.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The domains.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.list.iter().map(|domain| &**domain)
    }

    /// Whether a page table entry may be for several CPU pages.
    pub(crate) fn may_have_large_pages(&self) -> bool {
        !self.small_pages && !self.list.is_empty()
    }

    /// Pins an area's memory and maps it into every domain. On failure nothing has changed.
    /// `ENOMEM`, or what [`Pages::pin`](crate::ioas::pages::Pages::pin) fails with.
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

    /// The alignment that the domains, accessors and HW queues ask for.
    fn alignment(&self) -> u64 {
        let whole_pages = self.small_pages || self.phys_pins != 0;
        let least = if whole_pages { PAGE_SIZE } else { 1 };
        let domains = self.list.iter().map(|domain| domain.min_page_size());
        let accessors = self.accessors.iter().map(|accessor| accessor.alignment());
        domains.fold(accessors.fold(least, u64::max), u64::max)
    }

    /// The accessor at a place in the list, which changes only while the lock is held for writing.
    pub(crate) fn accessor(&self, place: usize) -> Option<&Arc<Accessor>> {
        self.accessors.get(place)
    }
}

/// Maps an area into a domain; its memory is pinned where this is the `first` one, else it is
/// already. On failure nothing has changed.
fn fill_one(
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
    // Dropped before `pending`: what a device can reach is pinned.
    let mut filler = Filler::new(domain, range, skip, prot, small_pages);
    if !pending.pin(|extents| filler.push(extents))? {
        filler.push_pieces(pending.runs().map(Into::into))?;
    }
    filler.keep();
    pending.commit();
    Ok(())
}

/// Unmaps areas from a domain.
fn unfill_one<'a>(domain: &Arc<Domain>, areas: impl Iterator<Item = (IovaRange, &'a Slice)>) {
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

/// Unpins an area's memory as far as nobody else holds it.
fn release(slice: &Slice) {
    if slice.pages.mmio().is_none() {
        if let Ok(pages) = slice.page_range() {
            slice.pages.unpin(pages);
        }
    }
}

/// The areas that domains have.
fn ready(space: &Space) -> impl Iterator<Item = (IovaRange, &Area)> + Clone {
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

    /// Lets somebody reach the memory without a domain. `EADDRINUSE` where an area is aligned worse
    /// than the accessor needs, `ENOMEM`.
    pub(crate) fn add_accessor(&self, accessor: Arc<Accessor>) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        let alignment = accessor.alignment().max(space.alignment);
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(EADDRINUSE);
        }
        domains.accessors.push(accessor, GFP_KERNEL_ACCOUNT)?;
        space.alignment = alignment;
        Ok(())
    }

    /// Undoes [`Ioas::add_accessor`]. Cannot fail.
    pub(crate) fn remove_accessor(&self, accessor: &Arc<Accessor>) {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        // The caller's own reference keeps it from going under the lock.
        domains
            .accessors
            .retain(|other| !Arc::ptr_eq(other, accessor));
        space.alignment = domains.alignment();
    }

    /// Requires areas that consist of whole pages until [`Ioas::remove_phys_pin`]. Returns `EADDRINUSE`
    /// if there is an area that does not.
    pub(crate) fn add_phys_pin(&self) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        if space.alignment != PAGE_SIZE && !space.fits(PAGE_SIZE) {
            return Err(EADDRINUSE);
        }
        domains.phys_pins += 1;
        space.alignment = PAGE_SIZE;
        Ok(())
    }

    /// Undoes [`Ioas::add_phys_pin`]. Cannot fail.
    pub(crate) fn remove_phys_pin(&self) {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        warn_on_once!(domains.phys_pins == 0);
        domains.phys_pins = domains.phys_pins.saturating_sub(1);
        space.alignment = domains.alignment();
    }

    /// Whether areas may be mapped with pages larger than the CPU's smallest.
    pub(crate) fn large_pages(&self) -> bool {
        !self.domains.read().small_pages
    }

    /// Turns large pages off or on, if `commit` agrees in the end. `EINVAL` where domains have
    /// mappings, `EADDRINUSE` where an area begins or ends inside a page.
    pub(crate) fn set_large_pages(&self, large: bool, commit: impl FnOnce() -> Result) -> Result {
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
        commit()?;
        domains.small_pages = !large;
        space.alignment = domains.alignment();
        Ok(())
    }
}

/// Reserves what a domain cannot translate.
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
fn fill_domain(domains: &Domains, space: &Space, domain: &Arc<Domain>) -> Result {
    let first = domains.is_empty();
    for (range, area) in ready(space) {
        let slice = &area.slice;
        let result = fill_one(domain, range, slice, area.prot, domains.small_pages, first);
        if let Err(error) = result {
            unfill_domain(domains, space, domain, Some(range.start()));
            return Err(error);
        }
    }
    Ok(())
}

/// Unmaps the areas that begin before `end` from `domain`, which is not in `domains`, and unpins
/// their memory where no domain is left to need it.
fn unfill_domain(domains: &Domains, space: &Space, domain: &Arc<Domain>, end: Option<u64>) {
    let areas = ready(space)
        .take_while(|(range, _)| end.is_none_or(|end| range.start() < end))
        .map(|(range, area)| (range, &area.slice));

    unfill_one(domain, areas.clone());
    // Unpinning comes after the last unmapping.
    if domains.is_empty() {
        for (_, slice) in areas {
            release(slice);
        }
    }
}
