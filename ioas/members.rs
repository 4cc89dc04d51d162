// SPDX-License-Identifier: GPL-2.0-only

//! Adding domains, emulated devices and HW queues to an address space, and removing them.
//!
//! A domain is filled and emptied with `Ioas::space` released: see
//! [`Membership`](crate::ioas::membership::Membership). The task that does so puts some areas into
//! [`State::Moving`], works on them, and goes on to the next ones. Areas on which another task works are
//! waited for when a domain joins. When one leaves, that other task takes its areas out of it itself:
//! [`Ioas::catch_up`].

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
            id_of,
            release,
            unfill_one, //
        },
        membership::{
            Followed,
            Next, //
        },
        space::Space,
        stats::Stats,
        together::{
            fill_together,
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

/// The largest number of areas that are changed while `Ioas::space` is held once.
const AT_ONCE: usize = 32;

/// Which areas are moved at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    /// Any.
    Any,
    /// Several small ones, see [`Pages::may_be_present`](crate::ioas::pages::Pages::may_be_present), or one that
    /// is not.
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
        let small = self.pick == Pick::Small
            && area
                .slice
                .pages
                .may_be_present(area.slice.start, area.slice.length);
        if self.count == 0 {
            self.small = small;
            return true;
        }
        self.small == small && self.bytes.saturating_add(range.len()) <= most
    }

    #[inline]
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
            self.space.write().domains.members.begin_undo();
            self.work(Some(domain.clone()));
            return Err(refusal);
        }
        self.stats.domains.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Removes a domain and unmaps all areas from it. Cannot fail. Areas that are made meanwhile
    /// are not mapped into it.
    ///
    /// Does not wait for other tasks, which may wait for user memory. Those that work on areas take the
    /// domain out of them when they have finished. If one adds or removes a domain at the time, it removes
    /// this one as well. The domain exists until then.
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

    /// Ends the caller's work on areas, which are ready or removed: releases `Ioas::space`, wakes the tasks
    /// that wait for an area, and drops domains that have left thereby.
    pub(super) fn settle(&self, mut space: WriteGuard<'_, Space>) {
        let gone = space.take_gone();
        drop(space);
        self.settled.wake_all();
        if gone.is_some() {
            self.let_go(gone);
        }
    }

    /// Drops domains that have left. The first one is what [`Space::take_gone`] has returned.
    pub(super) fn let_go(&self, mut gone: Option<Arc<Domain>>) {
        while let Some(domain) = gone {
            self.change_ended.wake_all();
            // May free the page tables.
            drop(domain);
            gone = self.space.write().take_gone();
        }
    }

    /// Takes areas on which the caller works, and which have followed the same changes, out of the domains
    /// that leave, and unpins their memory if no other domain has it. Returns the lock when no domain that
    /// leaves has them. Until that is released the caller lets others work on the areas again. Cannot fail.
    #[inline]
    pub(super) fn catch_up<'a, 'b>(
        &'a self,
        space: WriteGuard<'a, Space>,
        followed: Followed,
        areas: impl Iterator<Item = (IovaRange, &'b Slice)> + Clone,
    ) -> WriteGuard<'a, Space> {
        // As in most calls.
        if space.domains.members.is_settled() {
            return space;
        }
        self.take_out_of_leaving(space, followed, areas)
    }

    /// See [`Ioas::catch_up`].
    fn take_out_of_leaving<'a, 'b>(
        &'a self,
        mut space: WriteGuard<'a, Space>,
        mut followed: Followed,
        areas: impl Iterator<Item = (IovaRange, &'b Slice)> + Clone,
    ) -> WriteGuard<'a, Space> {
        loop {
            let members = &space.domains.members;
            let now = members.up_to_date();
            let mut next = members.next_leaving(0, followed, now);
            if next.is_none() {
                return space;
            }
            // No other domain has the areas.
            let alone = !members.has_full();
            drop(space);

            // Each of these domains keeps its slot as long as the areas have not followed.
            while let Some(Next { slot, domain, more }) = next {
                unfill_one(&domain, areas.clone());
                next = None;
                if more {
                    let space = self.space.read();
                    next = space.domains.members.next_leaving(slot + 1, followed, now);
                }
            }
            if alone {
                areas.clone().for_each(|(_, slice)| release(slice));
            }
            let mut rest = areas.clone().peekable();
            space = loop {
                let mut space = self.space.write();
                for (range, _) in rest.by_ref().take(AT_ONCE) {
                    space.follow(range, now);
                }
                if rest.peek().is_none() {
                    break space;
                }
                drop(space);
                self.space.let_waiters_in();
            };
            followed = now;
        }
    }

    /// Empties the domain that [`Membership::take_work`](crate::ioas::membership::Membership::take_work)
    /// has returned, and those that are to leave when that has ended. The caller works on no area.
    fn work(&self, mut work: Option<Arc<Domain>>) {
        while let Some(domain) = work {
            work = self.empty_domain(&domain);
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
        match find_behind(&mut space, from, &mut batch) {
            Found::None => {
                space.domains.members.end();
                let work = space.domains.members.take_work();
                drop(space);
                self.change_ended.wake_all();
                self.work(work);
                return Ok(Filled::All);
            }
            Found::Later => {
                drop(space);
                self.space.let_waiters_in();
                return Ok(Filled::Part);
            }
            Found::Busy => {
                self.settled.wait_killable(space)?;
                return Ok(Filled::Part);
            }
            Found::Some => drop(space),
        }

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
        *from = self.moved(&batch, done);
        result?;
        if done == batch.count {
            Ok(Filled::Part)
        } else {
            Ok(Filled::Alone { some: done != 0 })
        }
    }

    /// Unmaps the areas that are behind from the domain that leaves, or has failed to join, except for
    /// those on which other tasks work. Unpins their memory if no other domain has it. Ends that, and
    /// returns the next domain that is to leave. Cannot fail.
    fn empty_domain(&self, domain: &Arc<Domain>) -> Option<Arc<Domain>> {
        let mut from = 0;
        loop {
            let mut batch = Moving::new(Pick::Any);
            let mut space = self.space.write();
            match find_behind(&mut space, &mut from, &mut batch) {
                Found::None => {
                    space.domains.members.end();
                    let next = space.domains.members.take_work();
                    let gone = space.take_gone();
                    drop(space);
                    self.let_go(gone);
                    return next;
                }
                // Areas of other tasks are passed over.
                Found::Later | Found::Busy => {
                    drop(space);
                    self.space.let_waiters_in();
                    continue;
                }
                Found::Some => drop(space),
            }

            unfill_one(
                domain,
                batch.areas().map(|(range, slice, _)| (range, slice)),
            );
            if batch.alone {
                batch.areas().for_each(|(_, slice, _)| release(slice));
            }
            from = self.moved(&batch, MOST_AREAS);
        }
    }

    /// Ends the work on areas, the first `done` of which have followed the change. Returns the
    /// address from which on there may be others that are behind.
    fn moved(&self, batch: &Moving, done: usize) -> u64 {
        let mut from = batch.start();
        let mut space = self.space.write();
        let Space { domains, areas, .. } = &mut *space;
        // The next change does not begin before this one has ended.
        let now = domains.members.up_to_date();
        for (place, (range, _, _)) in batch.areas().enumerate() {
            let area = areas.get_mut(range);
            // No other task removes or cuts an area in `State::Moving`.
            warn_on_once!(area.is_none());
            if let Some(area) = area {
                area.set_state(State::Ready);
                if place < done {
                    area.follow(now, &mut domains.members);
                    from = range.last().saturating_add(1);
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
