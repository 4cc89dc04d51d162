// SPDX-License-Identifier: GPL-2.0-only

//! Adding domains, emulated devices and HW queues to an address space, and removing them.
//!
//! A domain is filled and emptied with `Ioas::space` released: see
//! [`Membership`](crate::ioas::membership::Membership). The task that does so puts some areas into
//! [`State::Moving`], works on them, and goes on to the next ones. Areas that another task maps,
//! unmaps or moves are waited for.

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
            Slice,
            State, //
        },
        domains::{
            fill_one,
            release,
            unfill_one, //
        },
        membership::Followed,
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::warn_on_once,
        iommu::domain::{
            Domain,
            Prot, //
        },
        reason::{
            Reason,
            Result, //
        },
        sync::{
            rwsem::WriteGuard,
            signal, //
        },
        units::{
            IovaRange,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The largest number of areas that are moved at once. The IOTLB is flushed once for them.
const MOST_AREAS: usize = 16;

/// The largest number of bytes that are moved at once, unless one area has more.
const ENOUGH_BYTES: u64 = 16 << 20;

/// The largest number of areas that are looked at while the lock is held.
const MOST_LOOKS: usize = 1024;

/// At most `N` areas in [`State::Moving`].
struct Batch<const N: usize> {
    areas: [Option<(IovaRange, Slice, Prot)>; N],
    count: usize,
    bytes: u64,
    small_pages: bool,
    /// No other domain has the areas.
    alone: bool,
}

impl<const N: usize> Batch<N> {
    fn areas(&self) -> impl Iterator<Item = (IovaRange, &Slice, Prot)> + Clone {
        let areas = self.areas.get(..self.count).unwrap_or(&[]);
        areas
            .iter()
            .flatten()
            .map(|(range, slice, prot)| (*range, slice, *prot))
    }

    fn push(&mut self, range: IovaRange, slice: Slice, prot: Prot) {
        let place = self.areas.get_mut(self.count);
        warn_on_once!(place.is_none());
        if let Some(place) = place {
            *place = Some((range, slice, prot));
            self.count += 1;
            self.bytes = self.bytes.saturating_add(range.len());
        }
    }

    fn is_full(&self) -> bool {
        self.count == N
    }

    /// Returns whether an area is too large for the batch.
    fn is_too_small_for(&self, range: IovaRange) -> bool {
        self.count != 0 && self.bytes.saturating_add(range.len()) > ENOUGH_BYTES
    }
}

/// What the search for areas that are behind has come to.
enum Found<const N: usize> {
    /// No area is behind any more.
    None,
    /// There may be some from this address on.
    Later(u64),
    /// Another task works on the first one.
    Busy,
    /// These.
    Some(Batch<N>),
}

/// Looks for areas that are behind, from `from` on, and puts at most `N` of them into
/// [`State::Moving`].
fn find_behind<const N: usize>(space: &mut Space, from: u64) -> Found<N> {
    let mut batch = Batch {
        areas: [const { None }; N],
        count: 0,
        bytes: 0,
        small_pages: space.domains.small_pages,
        alone: !space.domains.members.has_full(),
    };
    let Space { domains, areas, .. } = space;
    let mut rest = IovaRange::new(from, u64::MAX);
    for _ in 0..MOST_LOOKS {
        let Some((range, area)) = rest.and_then(|rest| areas.first_in_mut(rest)) else {
            rest = None;
            break;
        };
        if domains.members.is_behind(area.followed) {
            if area.state != State::Ready {
                if batch.count == 0 {
                    return Found::Busy;
                }
                break;
            }
            if batch.is_too_small_for(range) {
                break;
            }
            area.state = State::Moving;
            batch.push(range, area.slice.clone(), area.prot);
            if batch.is_full() {
                break;
            }
        }
        let next = range.last().checked_add(1);
        rest = next.and_then(|start| IovaRange::new(start, u64::MAX));
    }
    match rest {
        _ if batch.count != 0 => Found::Some(batch),
        Some(rest) => Found::Later(rest.start()),
        None => Found::None,
    }
}

impl Ioas {
    /// Waits until no domain joins or leaves, and returns the lock. Returns `EINTR` if the task is
    /// killed meanwhile.
    fn write_settled(&self) -> Result<WriteGuard<'_, Space>> {
        loop {
            let space = self.space.write();
            if space.domains.members.is_settled() {
                return Ok(space);
            }
            self.settled.wait_killable(space)?;
        }
    }

    /// As [`Ioas::write_settled`]. Cannot fail.
    fn write_settled_unkillable(&self) -> WriteGuard<'_, Space> {
        loop {
            let space = self.space.write();
            if space.domains.members.is_settled() {
                return space;
            }
            self.settled.wait(space);
        }
    }

    /// Adds a domain and maps all areas into it. On failure nothing has changed. Areas that are
    /// made meanwhile are mapped into it from the beginning.
    ///
    /// Returns `EADDRINUSE` if an area lies outside of the domain's aperture or is not aligned to
    /// its smallest page, `EINVAL` if that page is larger than the CPU's, `ENOMEM`, `EINTR` if the
    /// task is being killed, and `EFAULT`.
    pub(crate) fn add_domain(&self, domain: &Arc<Domain>) -> Result {
        let mut space = self.write_settled()?;
        let owner = id_of(domain);

        let alignment = domain.min_page_size().max(space.alignment);
        if alignment > PAGE_SIZE {
            return Err(Reason::HwptPageSize.with(alignment));
        }
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(Reason::IoasUnaligned.with(alignment));
        }
        space.add_aperture(owner, domain.aperture())?;
        if let Err(error) = space.domains.members.begin_join(domain.clone()) {
            space.remove_aperture(owner);
            return Err(error.into());
        }
        space.alignment = alignment;
        drop(space);

        let result = self.fill_domain(domain);
        if result.is_err() {
            self.space.write().domains.members.begin_undo();
            self.empty_domain(domain);
        }
        self.settled.wake_all();
        result?;
        self.stats.domains.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Removes a domain and unmaps all areas from it. Cannot fail. Areas that are made meanwhile
    /// are not mapped into it.
    pub(crate) fn remove_domain(&self, domain: &Arc<Domain>) {
        let mut space = self.write_settled_unkillable();
        let members = &mut space.domains.members;
        let is_member = members.begin_leave(|other| Arc::ptr_eq(other, domain));
        drop(space);

        if !warn_on_once!(!is_member) {
            self.stats.domains.fetch_sub(1, Relaxed);
            self.empty_domain(domain);
            self.settled.wake_all();
        }
    }

    /// Maps the areas that are behind into the domain that joins, and ends that. Returns what
    /// [`Ioas::add_domain`] fails with; some areas may be in the domain then.
    fn fill_domain(&self, domain: &Arc<Domain>) -> Result {
        // No other domain joins or leaves meanwhile.
        let pinned = self.space.read().domains.members.has_full();
        let mut from = Some(0);
        while let Some(start) = from {
            signal::check_killed()?;
            // Pinning may wait for user memory, and others then wait for all areas of the batch.
            from = if pinned {
                self.fill_some::<MOST_AREAS>(domain, start)?
            } else {
                self.fill_some::<1>(domain, start)?
            };
        }
        Ok(())
    }

    /// As [`Ioas::fill_domain`], for at most `N` areas from address `from` on. Returns the address
    /// to go on from. If no area is behind any more, ends the change and returns `None`.
    fn fill_some<const N: usize>(&self, domain: &Arc<Domain>, from: u64) -> Result<Option<u64>> {
        let mut space = self.space.write();
        let batch = match find_behind::<N>(&mut space, from) {
            Found::None => {
                space.domains.members.end();
                return Ok(None);
            }
            Found::Later(next) => return Ok(Some(next)),
            Found::Busy => {
                self.settled.wait_killable(space)?;
                return Ok(Some(from));
            }
            Found::Some(batch) => batch,
        };
        let followed = space.domains.members.follow();
        drop(space);

        let mut done = 0;
        let result: Result = batch.areas().try_for_each(|(range, slice, prot)| {
            fill_one(domain, range, slice, prot, batch.small_pages, batch.alone)?;
            done += 1;
            Ok(())
        });
        let next = self.moved(batch, followed, done);
        result.map(|()| Some(next))
    }

    /// Unmaps the areas that are behind from the domain that leaves, or has failed to join. Unpins
    /// their memory if no other domain has it. Ends the change. Cannot fail.
    fn empty_domain(&self, domain: &Arc<Domain>) {
        let mut from = 0;
        loop {
            let mut space = self.space.write();
            let batch = match find_behind::<MOST_AREAS>(&mut space, from) {
                Found::None => {
                    let left = space.domains.members.end();
                    space.remove_aperture(id_of(domain));
                    space.alignment = space.domains.alignment();
                    drop(space);
                    drop(left);
                    return;
                }
                Found::Later(next) => {
                    from = next;
                    continue;
                }
                Found::Busy => {
                    self.settled.wait(space);
                    continue;
                }
                Found::Some(batch) => batch,
            };
            let followed = space.domains.members.follow();
            drop(space);

            unfill_one(
                domain,
                batch.areas().map(|(range, slice, _)| (range, slice)),
            );
            if batch.alone {
                batch.areas().for_each(|(_, slice, _)| release(slice));
            }
            from = self.moved(batch, followed, MOST_AREAS);
        }
    }

    /// Ends the work on areas, the first `done` of which have followed the change. Returns the
    /// address from which on there may be others that are behind.
    fn moved<const N: usize>(&self, batch: Batch<N>, followed: Followed, done: usize) -> u64 {
        let mut from = 0;
        let mut space = self.space.write();
        for (place, (range, _, _)) in batch.areas().enumerate() {
            match space.areas.get_mut(range) {
                Some(area) => {
                    area.state = State::Ready;
                    if place < done {
                        area.followed = followed;
                    }
                }
                // No other task removes or cuts an area in `State::Moving`.
                None => {
                    warn_on_once!(true);
                }
            }
            from = range.last().saturating_add(1);
        }
        drop(space);
        self.settled.wake_all();
        from
    }

    /// Adds an emulated device. Returns `EADDRINUSE` if an area is not aligned as the accessor
    /// needs, and `ENOMEM`.
    pub(crate) fn add_accessor(&self, accessor: Arc<Accessor>) -> Result {
        let mut space = self.space.write();

        let alignment = accessor.alignment().max(space.alignment);
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(Reason::IoasUnaligned.with(alignment));
        }
        let accessors = &mut space.domains.accessors;
        accessors.push(accessor, GFP_KERNEL_ACCOUNT)?;
        space.alignment = alignment;
        self.stats.accessors.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Undoes [`Ioas::add_accessor`]. Cannot fail.
    pub(crate) fn remove_accessor(&self, accessor: &Arc<Accessor>) {
        let mut space = self.space.write();

        // The caller's reference keeps it from being dropped under the lock.
        let accessors = &mut space.domains.accessors;
        let before = accessors.len();
        accessors.retain(|other| !Arc::ptr_eq(other, accessor));
        warn_on_once!(accessors.len() + 1 != before);
        self.stats.accessors.fetch_sub(1, Relaxed);
        space.alignment = space.domains.alignment();
    }

    /// Requires areas that consist of whole pages until [`Ioas::remove_phys_pin`]. Returns
    /// `EADDRINUSE` if there is an area that does not.
    pub(crate) fn add_phys_pin(&self) -> Result {
        let mut space = self.space.write();

        if space.alignment != PAGE_SIZE && !space.fits(PAGE_SIZE) {
            return Err(Reason::IoasUnaligned.with(PAGE_SIZE));
        }
        space.domains.phys_pins.add(1);
        space.alignment = PAGE_SIZE;
        Ok(())
    }

    /// Undoes [`Ioas::add_phys_pin`]. Cannot fail.
    pub(crate) fn remove_phys_pin(&self) {
        let mut space = self.space.write();

        space.domains.phys_pins.sub(1);
        space.alignment = space.domains.alignment();
    }

    /// Returns true if areas may be mapped with pages larger than the CPU's smallest.
    pub(crate) fn large_pages(&self) -> bool {
        !self.space.read().domains.small_pages
    }

    /// Turns large pages off or on if `commit`, which is called last, succeeds. Returns `EINVAL` if
    /// domains have mappings, `EADDRINUSE` if an area begins or ends inside a page, `EINTR` if the
    /// task is killed while another one adds or removes a domain, and the error of `commit`.
    pub(crate) fn set_large_pages(&self, large: bool, commit: impl FnOnce() -> Result) -> Result {
        let mut space = self.write_settled()?;

        if !large && !space.domains.small_pages {
            if !space.domains.members.is_empty() && !space.areas.is_empty() {
                return Err(Reason::OptionHasMappings.with(0));
            }
            if !space.fits(PAGE_SIZE) {
                return Err(Reason::IoasUnaligned.with(PAGE_SIZE));
            }
        }
        commit()?;
        space.domains.small_pages = !large;
        space.alignment = space.domains.alignment();
        Ok(())
    }
}

/// Returns the address of a domain, which identifies it.
fn id_of(domain: &Arc<Domain>) -> usize {
    core::ptr::from_ref(&**domain).addr()
}
