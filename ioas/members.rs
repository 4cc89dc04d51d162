// SPDX-License-Identifier: GPL-2.0-only

//! Adding domains, emulated devices and HW queues to an address space, and removing them.
//!
//! A domain is filled and emptied with `Ioas::space` released: see
//! [`Membership`](crate::ioas::membership::Membership). The task that does so puts some areas into
//! [`State::Moving`], works on them, and goes on to the next ones. Areas that another task maps,
//! unmaps or moves are waited for.

use kernel::{
    prelude::*,
    rbtree::RBTreeNode,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    }, //
};

use crate::{
    ioas::{
        accessor::{
            self,
            Accessor, //
        },
        area::{
            Area,
            Slice,
            State, //
        },
        behind::{
            self,
            Batch,
            Found, //
        },
        domains::{
            fill_one,
            release,
            unfill_one, //
        },
        membership::{
            Followed,
            Work, //
        },
        space::Space,
        stats::Stats,
        together::{
            fill_together,
            is_small,
            MOST_BYTES, //
        },
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

/// The number of areas that are filled one by one after memory was found that must be waited for.
const MOST_ALONE: u32 = 16;

/// The work on a domain that leaves, or has failed to join.
pub(super) type DomainWork = Work<Arc<Domain>>;

/// Which areas are moved at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// Any.
    Any,
    /// Several small ones, see [`is_small`], or one that is not.
    Small,
    /// One.
    One,
}

/// At most [`MOST_AREAS`] areas in [`State::Moving`].
struct Moving {
    areas: [Option<(IovaRange, Slice, Prot)>; MOST_AREAS],
    count: usize,
    bytes: u64,
    pick: Pick,
    /// All areas are small.
    small: bool,
    small_pages: bool,
    /// No other domain has the areas.
    alone: bool,
}

impl Moving {
    fn new(pick: Pick) -> Self {
        Self {
            // An array of constants would be filled with zeroes.
            areas: core::array::from_fn(|_| None),
            count: 0,
            bytes: 0,
            pick,
            small: false,
            small_pages: false,
            alone: false,
        }
    }

    fn areas(&self) -> impl Iterator<Item = (IovaRange, &Slice, Prot)> + Clone {
        let areas = self.areas.get(..self.count).unwrap_or(&[]);
        areas
            .iter()
            .flatten()
            .map(|(range, slice, prot)| (*range, slice, *prot))
    }

    /// Returns the address of the first area.
    fn start(&self) -> u64 {
        self.areas().next().map_or(0, |(range, ..)| range.start())
    }
}

impl Batch<Area> for Moving {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn is_full(&self) -> bool {
        let most = match self.pick {
            Pick::Small if !self.small => 1,
            Pick::Any | Pick::Small => MOST_AREAS,
            Pick::One => 1,
        };
        self.count == most
    }

    fn takes(&mut self, range: IovaRange, area: &Area) -> bool {
        let most = match self.pick {
            Pick::Small => MOST_BYTES,
            Pick::Any | Pick::One => ENOUGH_BYTES,
        };
        let small = self.pick == Pick::Small && is_small(&area.slice);
        if self.count == 0 {
            self.small = small;
            return true;
        }
        self.small == small && self.bytes.saturating_add(range.len()) <= most
    }

    fn push(&mut self, range: IovaRange, area: &mut Area) {
        let place = self.areas.get_mut(self.count);
        warn_on_once!(place.is_none());
        if let Some(place) = place {
            area.set_state(State::Moving);
            *place = Some((range, area.slice.clone(), area.prot));
            self.count += 1;
            self.bytes = self.bytes.saturating_add(range.len());
        }
    }
}

/// As [`behind::find_behind`]. Puts the areas of the batch into [`State::Moving`].
fn find_behind(space: &mut Space, from: &mut u64, batch: &mut Moving) -> Found {
    batch.small_pages = space.domains.small_pages;
    batch.alone = !space.domains.members.has_full();
    let Space { domains, areas, .. } = space;
    behind::find_behind(&domains.members, areas, from, batch)
}

/// How far a domain is filled.
enum Filled {
    /// With all areas.
    All,
    /// Some may be missing.
    Part,
    /// The first one that is missing must be filled alone. There were `some` before it that were not.
    Alone { some: bool },
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
            self.change_ended.wait_killable(space)?;
        }
    }

    /// Adds a domain and maps all areas into it. On failure the domain is removed as by
    /// [`Ioas::remove_domain`]. Areas that are made meanwhile are mapped into it from the beginning.
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
        space.add_needs(owner, domain.aperture(), domain.min_page_size())?;
        if let Err(error) = space.domains.members.begin_join(domain.clone()) {
            space.remove_needs(owner);
            return Err(error.into());
        }
        space.alignment = alignment;
        drop(space);

        if let Err(refusal) = self.fill_domain(domain) {
            let mut space = self.space.write();
            space.domains.members.begin_undo();
            let work = space.domains.members.take_work();
            drop(space);
            self.work(work);
            return Err(refusal);
        }
        self.stats.domains.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Removes a domain and unmaps all areas from it. Cannot fail. Areas that are made meanwhile
    /// are not mapped into it.
    ///
    /// Does not wait for other tasks that work on areas, or add or remove a domain. These may wait for
    /// user memory. The first of them that has finished does the rest, in its own call, and the domain
    /// exists until then.
    pub(crate) fn remove_domain(&self, domain: &Arc<Domain>) {
        let mut space = self.space.write();
        let members = &mut space.domains.members;
        let is_member = members.leave(|other| Arc::ptr_eq(other, domain));
        let work = members.take_work();
        drop(space);

        if !warn_on_once!(!is_member) {
            Stats::sub(&self.stats.domains, 1);
            self.work(work);
        }
    }

    /// Ends the caller's work on areas: takes the work that another task has put down, releases
    /// `Ioas::space`, wakes the tasks that wait for an area or a domain, and does the work.
    pub(super) fn settle(&self, mut space: WriteGuard<'_, Space>) {
        let work = space.domains.members.take_work();
        drop(space);
        self.settled.wake_all();
        self.work(work);
    }

    /// Does the work that [`Membership::take_work`](crate::ioas::membership::Membership::take_work)
    /// has returned. The caller holds no area.
    pub(super) fn work(&self, mut work: Option<DomainWork>) {
        while let Some(leaving) = work {
            work = self.empty_domain(leaving);
        }
    }

    /// Maps the areas that are behind into the domain that joins, and ends that. Returns what
    /// [`Ioas::add_domain`] fails with; some areas may be in the domain then.
    fn fill_domain(&self, domain: &Arc<Domain>) -> Result {
        // No other domain joins or leaves meanwhile.
        let pinned = self.space.read().domains.members.has_full();
        let mut from = 0;
        // The number of areas that are not tried together with others.
        let mut alone = 0;
        loop {
            signal::check_killed()?;
            // Pinning may wait for user memory, and others then wait for all areas of the batch.
            let pick = match alone {
                _ if pinned => Pick::Any,
                0 => Pick::Small,
                _ => Pick::One,
            };
            alone -= u32::from(pick == Pick::One);
            match self.fill_some(domain, &mut from, pick)? {
                Filled::All => return Ok(()),
                Filled::Part => {}
                // If no memory is present, each try to pin it together is for nothing.
                Filled::Alone { some } => alone = if some { 1 } else { MOST_ALONE },
            }
        }
    }

    /// As [`Ioas::fill_domain`], for some areas. None is behind that ends before `from`, which is moved
    /// on. If no area is behind any more, ends the change.
    fn fill_some(&self, domain: &Arc<Domain>, from: &mut u64, pick: Pick) -> Result<Filled> {
        let mut batch = Moving::new(pick);
        let mut space = self.space.write();
        let followed = match find_behind(&mut space, from, &mut batch) {
            Found::None => {
                space.domains.members.end();
                self.settle(space);
                self.change_ended.wake_all();
                return Ok(Filled::All);
            }
            Found::Later => return Ok(Filled::Part),
            Found::Busy => {
                self.settled.wait_killable(space)?;
                return Ok(Filled::Part);
            }
            Found::Some(followed) => followed,
        };
        drop(space);

        let mut done = 0;
        let result = if batch.small {
            fill_together(domain, batch.areas(), batch.small_pages, &mut done)
        } else {
            batch.areas().try_for_each(|(range, slice, prot)| {
                fill_one(domain, range, slice, prot, batch.small_pages, batch.alone)?;
                done += 1;
                Ok(())
            })
        };
        *from = self.moved(&batch, followed, done);
        result?;
        if done == batch.count {
            Ok(Filled::Part)
        } else {
            Ok(Filled::Alone { some: done != 0 })
        }
    }

    /// Unmaps the areas that are behind from the domain that leaves, or has failed to join. Unpins
    /// their memory if no other domain has it. Ends the change, and returns the work on the next one.
    /// Cannot fail. Another task that works on an area gets the rest of the work.
    fn empty_domain(&self, mut work: DomainWork) -> Option<DomainWork> {
        loop {
            let mut batch = Moving::new(Pick::Any);
            let mut space = self.space.write();
            let followed = match find_behind(&mut space, &mut work.from, &mut batch) {
                Found::None => {
                    let left = space.domains.members.end();
                    space.remove_needs(id_of(&work.domain));
                    space.alignment = space.domains.alignment();
                    let next = space.domains.members.take_work();
                    drop(space);
                    drop(left);
                    self.settled.wake_all();
                    self.change_ended.wake_all();
                    return next;
                }
                Found::Later => continue,
                Found::Busy => {
                    space.domains.members.put_work_down(work);
                    return None;
                }
                Found::Some(followed) => followed,
            };
            drop(space);

            unfill_one(
                &work.domain,
                batch.areas().map(|(range, slice, _)| (range, slice)),
            );
            if batch.alone {
                batch.areas().for_each(|(_, slice, _)| release(slice));
            }
            work.from = self.moved(&batch, followed, MOST_AREAS);
        }
    }

    /// Ends the work on areas, the first `done` of which have followed the change. Returns the
    /// address from which on there may be others that are behind.
    fn moved(&self, batch: &Moving, followed: Followed, done: usize) -> u64 {
        let mut from = batch.start();
        let mut space = self.space.write();
        for (place, (range, _, _)) in batch.areas().enumerate() {
            match space.areas.get_mut(range) {
                Some(area) => {
                    area.set_state(State::Ready);
                    if place < done {
                        area.followed = followed;
                        from = range.last().saturating_add(1);
                    }
                }
                // No other task removes or cuts an area in `State::Moving`.
                None => {
                    warn_on_once!(true);
                }
            }
        }
        drop(space);
        self.settled.wake_all();
        from
    }

    /// Adds an emulated device. Returns `EADDRINUSE` if an area is not aligned as the accessor
    /// needs, and `ENOMEM`.
    pub(crate) fn add_accessor(&self, accessor: Arc<Accessor>) -> Result {
        let needed = accessor.alignment();
        let node = RBTreeNode::new(accessor::id_of(&accessor), accessor, GFP_KERNEL_ACCOUNT)?;
        let mut space = self.space.write();

        let alignment = needed.max(space.alignment);
        if alignment != space.alignment && !space.fits(alignment) {
            return Err(Reason::IoasUnaligned.with(alignment));
        }
        let refused = space.domains.accessors.insert(node);
        warn_on_once!(refused.is_some());
        space.domains.alignments.add(needed);
        space.alignment = alignment;
        self.stats.accessors.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Undoes [`Ioas::add_accessor`]. Cannot fail.
    pub(crate) fn remove_accessor(&self, accessor: &Arc<Accessor>) {
        let mut space = self.space.write();

        // The caller's reference keeps it from being dropped under the lock.
        let removed = space.domains.accessors.remove(&accessor::id_of(accessor));
        if !warn_on_once!(removed.is_none()) {
            space.domains.alignments.remove(accessor.alignment());
            Stats::sub(&self.stats.accessors, 1);
        }
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
