// SPDX-License-Identifier: GPL-2.0-only

//! Areas: ranges of IOVA that are mapped to memory.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    }, //
};

use crate::{
    ioas::{
        behind::Follower,
        membership::{
            Followed,
            Membership, //
        },
        pages::Pages, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        iommu::domain::Prot,
        reason::{
            Reason,
            Result, //
        },
        sync::shared::Shared,
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// A part of a memory source.
#[derive(Clone)]
pub(crate) struct Slice {
    /// The source.
    pub(crate) pages: Shared<Pages>,
    /// The offset of the first byte from the first page of the source.
    pub(crate) start: u64,
    /// The length in bytes. It is not 0.
    pub(crate) length: u64,
}

impl Slice {
    /// Returns the pages that the slice touches. `EOVERFLOW`.
    pub(crate) fn page_range(&self) -> Result<PageRange> {
        let last = self
            .start
            .checked_add(self.length - 1)
            .ok_or(Reason::MapOverflow.with(self.start))?;
        some_or_warn!(PageRange::new(self.start >> PAGE_SHIFT, last >> PAGE_SHIFT))
    }

    /// Returns an address that is aligned as the first byte is, for choosing an IOVA.
    pub(crate) fn origin(&self) -> u64 {
        self.pages.origin().wrapping_add(self.start)
    }
}

/// The state of an area. Its IOVA range is taken in all of them. In all but [`State::Ready`] a task
/// works on the area without `Ioas::space`; only that task changes the state, and the area is
/// neither removed nor cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A task maps it, or undoes that. Its domains are being filled.
    Building,
    /// The domains that have it, according to [`Area::followed`], are filled.
    Ready,
    /// As [`State::Ready`] for all others: a task fills it into the domain that joins, or empties it
    /// from the one that leaves.
    Moving,
    /// As [`State::Ready`] for all others, but no reader comes to it: a task cuts it, which may wait
    /// for the pinned pages.
    Cutting,
    /// A task unmaps it.
    Dying,
}

/// Areas of one mapping, of which there are too many to change the state of each while `Ioas::space` is
/// held. They become ready at one moment.
pub(super) struct Joint {
    /// Changes under `Ioas::space` held for writing, and is read under it.
    ready: Atomic<bool>,
}

impl Joint {
    /// Creates one for areas in [`State::Building`]. Returns `ENOMEM`.
    pub(super) fn new() -> Result<Arc<Self>> {
        let ready = Atomic::new(false);
        Ok(Arc::new(Self { ready }, GFP_KERNEL_ACCOUNT)?)
    }

    /// Makes the areas ready that are in [`State::Building`].
    pub(super) fn make_ready(&self) {
        self.ready.store(true, Relaxed);
    }
}

/// A mapped range of an address space.
pub(crate) struct Area {
    /// The memory.
    pub(crate) slice: Slice,
    /// What devices may do with it.
    pub(crate) prot: Prot,
    /// See [`Area::state`].
    state: State,
    /// If `state` is [`State::Building`], what makes the area ready besides [`Area::set_state`]. The
    /// task that maps it holds a reference until no area has one.
    joint: Option<Arc<Joint>>,
    /// Tells which domains have it: see [`Membership`].
    followed: Followed,
    /// The number of accesses that pin pages of it. Changes while `Ioas::space` is held for
    /// reading.
    pub(crate) accesses: Atomic<i32>,
    /// The number of these accesses that are HW queues. Changes likewise.
    pub(crate) phys_pins: Atomic<i32>,
    /// The number of [`Reader`](crate::ioas::reader::Reader)s that are at the area. Changes
    /// likewise. Unless it is 0 the area is neither unmapped nor cut.
    pub(crate) readers: Atomic<i32>,
    /// A task waits for the accesses to end. No new access may begin.
    pub(crate) prevent_access: bool,
    /// A task waits for the readers to leave, in `Ioas::settled`. Others wait there until it has
    /// had its turn.
    pub(crate) wanted: bool,
}

impl Follower for Area {
    fn followed(&self) -> Followed {
        self.followed
    }

    fn is_ready(&self) -> bool {
        self.state() == State::Ready
    }
}

impl Area {
    /// Creates an area in [`State::Building`]. If it is one of a [`Joint`], that makes it ready.
    pub(super) fn building(
        slice: Slice,
        prot: Prot,
        followed: Followed,
        joint: Option<Arc<Joint>>,
    ) -> Self {
        Self {
            slice,
            prot,
            state: State::Building,
            joint,
            followed,
            accesses: Atomic::new(0),
            phys_pins: Atomic::new(0),
            readers: Atomic::new(0),
            prevent_access: false,
            wanted: false,
        }
    }

    /// Creates an area for the second part of `first`, in the same state, which has the memory `tail`.
    pub(crate) fn second(first: &Self, tail: Slice) -> Self {
        let mut second = Self::building(tail, first.prot, first.followed, None);
        second.state = first.state();
        second
    }

    /// Returns the state.
    pub(crate) fn state(&self) -> State {
        match (self.state, &self.joint) {
            (State::Building, Some(joint)) if joint.ready.load(Relaxed) => State::Ready,
            (state, _) => state,
        }
    }

    /// Changes the state.
    pub(crate) fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// Has the area follow the changes of the domains up to `now`, and counts it so.
    pub(super) fn follow<D: Clone>(&mut self, now: Followed, members: &mut Membership<D>) {
        members.follow(self.followed, now);
        self.followed = now;
    }

    /// Makes an area of `joint`, which is ready, one like others.
    pub(super) fn leave(&mut self, joint: &Arc<Joint>) {
        if self
            .joint
            .as_ref()
            .is_some_and(|ours| Arc::ptr_eq(ours, joint))
        {
            self.state = self.state();
            self.joint = None;
        }
    }

    /// Counts one [`Reader`](crate::ioas::reader::Reader) fewer.
    pub(crate) fn reader_leaves(&self) {
        warn_on_once!(self.readers.fetch_sub(1, Relaxed) <= 0);
    }

    /// Returns true if the area has no reader and no access. Unmapping waits for both.
    pub(crate) fn is_unused(&self) -> bool {
        [&self.readers, &self.accesses, &self.phys_pins]
            .iter()
            .all(|number| number.load(Relaxed) == 0)
    }

    /// Returns true if the area is mapped, for everyone but the task that maps or unmaps it.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.state(), State::Ready | State::Moving | State::Cutting)
    }

    /// Returns true if a reader must wait before it comes to the area.
    pub(crate) fn keeps_readers_out(&self) -> bool {
        self.wanted || self.state == State::Cutting
    }

    /// Returns true if another task moves, cuts or reads the area, which must be waited for before it
    /// is unmapped or cut. No reader can come to the area then until this returns false, or
    /// [`Area::wanted`] is cleared.
    pub(crate) fn must_wait(&mut self) -> bool {
        let works = matches!(self.state, State::Moving | State::Cutting);
        self.wanted = works || *self.readers.get_mut() != 0;
        self.wanted
    }

    /// Returns true if the memory is a dma-buf's, which may be unmapped from page tables at any
    /// time.
    pub(crate) fn is_mmio(&self) -> bool {
        self.slice.pages.mmio().is_some()
    }

    /// Returns the base-2 logarithm of the largest alignment, up to a page, that the addresses and
    /// the memory of the area have.
    pub(crate) fn alignment(&self, range: IovaRange) -> u32 {
        let bits = range.start() | range.last().wrapping_add(1) | page_offset(self.slice.start);
        bits.trailing_zeros().min(PAGE_SHIFT)
    }
}
