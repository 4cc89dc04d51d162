// SPDX-License-Identifier: GPL-2.0-only

//! Adding domains, emulated devices and HW queues to an address space, and removing them.
//!
//! All of it holds `Ioas::domains` (rank 20) and `Ioas::space` (rank 25) for writing.

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    }, //
};

use crate::{
    ioas::{
        accessor::Accessor,
        area::{
            Area,
            State, //
        },
        domains::{
            fill_one,
            release,
            unfill_one,
            Domains, //
        },
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::warn_on_once,
        iommu::domain::Domain,
        reason::{
            Reason,
            Result, //
        },
        units::{
            IovaRange,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The areas that every domain has.
fn ready(space: &Space) -> impl Iterator<Item = (IovaRange, &Area)> + Clone {
    space
        .areas
        .iter()
        .filter(|(_, area)| area.state == State::Ready)
}

impl Ioas {
    /// Adds a domain and maps all areas into it. On failure nothing has changed.
    ///
    /// Returns `EADDRINUSE` if an area lies outside of the domain's aperture or is not aligned to
    /// its smallest page, `EINVAL` if that page is larger than the CPU's, `ENOMEM`, and `EFAULT`.
    pub(crate) fn add_domain(&self, domain: &Arc<Domain>) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();
        let owner = id_of(domain);

        let alignment = domain.min_page_size().max(space.alignment);
        if alignment > PAGE_SIZE {
            return Err(Reason::HwptPageSize.with(alignment));
        }
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(Reason::IoasUnaligned.with(alignment));
        }
        domains.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        space.add_aperture(owner, domain.aperture())?;
        if let Err(error) = fill_domain(&domains, &space, domain) {
            space.remove_aperture(owner);
            return Err(error);
        }
        space.alignment = alignment;
        // There is room, which was reserved.
        warn_on_once!(domains.list.push_within_capacity(domain.clone()).is_err());
        self.has_domain.store(true, Relaxed);
        self.stats.domains.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Removes a domain and unmaps all areas from it. Cannot fail.
    pub(crate) fn remove_domain(&self, domain: &Arc<Domain>) {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        let before = domains.list.len();
        domains.list.retain(|other| !Arc::ptr_eq(other, domain));
        warn_on_once!(domains.list.len() + 1 != before);
        self.stats.domains.fetch_sub(1, Relaxed);
        self.has_domain.store(!domains.is_empty(), Relaxed);
        unfill_domain(&domains, &space, domain, None);
        space.remove_aperture(id_of(domain));
        space.alignment = domains.alignment();
    }

    /// Adds an emulated device. Returns `EADDRINUSE` if an area is not aligned as the accessor
    /// needs, and `ENOMEM`.
    pub(crate) fn add_accessor(&self, accessor: Arc<Accessor>) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        let alignment = accessor.alignment().max(space.alignment);
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(Reason::IoasUnaligned.with(alignment));
        }
        domains.accessors.push(accessor, GFP_KERNEL_ACCOUNT)?;
        space.alignment = alignment;
        self.stats.accessors.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Undoes [`Ioas::add_accessor`]. Cannot fail.
    pub(crate) fn remove_accessor(&self, accessor: &Arc<Accessor>) {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        // The caller's reference keeps it from being dropped under the lock.
        let before = domains.accessors.len();
        domains
            .accessors
            .retain(|other| !Arc::ptr_eq(other, accessor));
        warn_on_once!(domains.accessors.len() + 1 != before);
        self.stats.accessors.fetch_sub(1, Relaxed);
        space.alignment = domains.alignment();
    }

    /// Requires areas that consist of whole pages until [`Ioas::remove_phys_pin`]. Returns
    /// `EADDRINUSE` if there is an area that does not.
    pub(crate) fn add_phys_pin(&self) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        if space.alignment != PAGE_SIZE && !space.fits(PAGE_SIZE) {
            return Err(Reason::IoasUnaligned.with(PAGE_SIZE));
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

    /// Returns true if areas may be mapped with pages larger than the CPU's smallest.
    pub(crate) fn large_pages(&self) -> bool {
        !self.domains.read().small_pages
    }

    /// Turns large pages off or on if `commit`, which is called last, succeeds. Returns `EINVAL` if
    /// domains have mappings, `EADDRINUSE` if an area begins or ends inside a page, and the error
    /// of `commit`.
    pub(crate) fn set_large_pages(&self, large: bool, commit: impl FnOnce() -> Result) -> Result {
        let mut domains = self.domains.write();
        let mut space = self.space.write();

        if !large && !domains.small_pages {
            if !domains.is_empty() && !space.areas.is_empty() {
                return Err(Reason::OptionHasMappings.with(0));
            }
            if !space.fits(PAGE_SIZE) {
                return Err(Reason::IoasUnaligned.with(PAGE_SIZE));
            }
        }
        commit()?;
        domains.small_pages = !large;
        space.alignment = domains.alignment();
        Ok(())
    }
}

/// Returns the address of a domain, which identifies it.
fn id_of(domain: &Arc<Domain>) -> usize {
    core::ptr::from_ref(&**domain).addr()
}

/// Maps every area into `domain`, which is not in `domains` yet. On failure nothing has changed.
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

/// Unmaps the areas that begin before `end` from `domain`, which is not in `domains`. Unpins their
/// memory if there is no other domain.
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
