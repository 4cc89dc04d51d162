// SPDX-License-Identifier: GPL-2.0-only

//! Interrupts that the IOMMU translates like other DMA. The doorbell, to which a device writes
//! them, must be mapped.
//!
//! An IOMMU driver names a window of addresses for doorbells. Nothing else is mapped there while a
//! device with that window is attached. Within a context a doorbell has one address in a window, so
//! a device whose interrupts are set up can be attached to other page tables: the doorbells that
//! its group uses are mapped there before.
//!
//! The lock `Window::state` (rank 17) is taken inside the IOMMU core's group lock while an
//! interrupt is set up. Doorbells are mapped and unmapped under it.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    }, //
};

use crate::{
    kapi::{
        bug::{
            some_or_warn,
            sub_or_warn,
            warn_on_once, //
        },
        iommu::{
            device::IommuDevice,
            domain::{
                Domain,
                Prot, //
            },
            msi::{
                Doorbell,
                Doorbells, //
            },
            provider,
            resv::{
                resv_regions,
                ResvKind, //
            }, //
        },
        sync::shared::Shared,
        units::{
            to_u64,
            IovaRange,
            PAGE_SIZE, //
        }, //
    },
    object::{
        Ctx,
        Registry, //
    }, //
};

/// A value that only this file has, for
/// [`RangeOwner`](crate::kapi::iommu::domain::RangeOwner). What the file must ensure is in
/// `abi/contracts.rs`.
#[derive(Clone, Copy)]
pub(crate) struct DoorbellRanges(());

const RANGES: DoorbellRanges = DoorbellRanges(());

/// A set of doorbells of a window: a bit for each index in [`State::doorbells`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Set(u64);

impl Set {
    const EMPTY: Self = Self(0);
    /// The maximum number of doorbells.
    const MAX: usize = u64::BITS as usize;

    fn contains(self, place: usize) -> bool {
        place < Self::MAX && self.0 & (1 << place) != 0
    }

    fn insert(&mut self, place: usize) {
        if place < Self::MAX {
            self.0 |= 1 << place;
        }
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::MAX).filter(move |place| self.contains(*place))
    }
}

/// Page tables to which groups with the window are attached.
struct Tables {
    domain: Arc<Domain>,
    /// The number of attachments that exist or are being made.
    attachments: usize,
    mapped: Set,
}

/// The identity of a group. Groups that exist at the same time differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct GroupId(usize);

/// The identity of page tables. Page tables that exist at the same time differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct DomainId(usize);

impl DomainId {
    fn of(domain: &Arc<Domain>) -> Self {
        Self(core::ptr::from_ref(&**domain).addr())
    }
}

struct State {
    /// The doorbells. None is ever removed, because a device may have its address.
    doorbells: KVec<Doorbell>,
    tables: RBTree<DomainId, Tables>,
    /// The number of attachments of each group to each page tables. It is not 0.
    attachments: RBTree<(GroupId, DomainId), usize>,
}

/// A window of addresses for doorbells, shared by all groups of a context for which the IOMMU
/// driver names these addresses.
#[pin_data]
pub(crate) struct Window {
    range: IovaRange,
    #[pin]
    state: Mutex<State>,
}

impl Window {
    fn new(range: IovaRange) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            range,
            state <- new_mutex!(
                State {
                    doorbells: KVec::new(),
                    tables: RBTree::new(),
                    attachments: RBTree::new(),
                },
                "Window::state"
            ),
        })
    }

    /// Returns the addresses of a doorbell. Returns `EOVERFLOW` if they are outside of the window.
    fn page(&self, place: usize) -> Result<IovaRange> {
        let offset = to_u64(place).checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
        let start = self.range.start().checked_add(offset).ok_or(EOVERFLOW)?;
        let page = IovaRange::from_len(start, PAGE_SIZE)?;
        if !self.range.contains(&page) {
            return Err(EOVERFLOW);
        }
        Ok(page)
    }

    /// Returns the index of a doorbell, which is added if it is new. Returns `EOVERFLOW` or
    /// `ENOMEM`.
    fn place_of(&self, state: &mut State, doorbell: Doorbell) -> Result<usize> {
        if let Some(place) = state.doorbells.iter().position(|known| *known == doorbell) {
            return Ok(place);
        }
        let place = state.doorbells.len();
        if place >= Set::MAX {
            return Err(EOVERFLOW);
        }
        self.page(place)?;
        state.doorbells.push(doorbell, GFP_KERNEL_ACCOUNT)?;
        Ok(place)
    }

    /// Maps a doorbell, if it is not mapped. Returns `ENOMEM`.
    fn map(&self, doorbells: &[Doorbell], tables: &mut Tables, place: usize) -> Result {
        const PROT: Prot = Prot {
            read: true,
            write: true,
            mmio: true,
        };
        if !tables.mapped.contains(place) {
            let doorbell = *some_or_warn!(doorbells.get(place))?;
            let piece = core::iter::once(doorbell.piece());
            tables
                .domain
                .map(RANGES, self.page(place)?, piece, PROT, false)?;
            tables.mapped.insert(place);
        }
        Ok(())
    }

    /// Maps the doorbells that a group uses, before the group is attached to `domain`. Returns
    /// `ENOMEM`.
    fn enter(&self, group: &Interrupts, domain: &Arc<Domain>) -> Result {
        let id = DomainId::of(domain);
        let new = Tables {
            domain: domain.clone(),
            attachments: 0,
            mapped: Set::EMPTY,
        };
        let new = RBTreeNode::new(id, new, GFP_KERNEL_ACCOUNT)?;
        let attachment = RBTreeNode::new((group.id(), id), 1, GFP_KERNEL_ACCOUNT)?;

        let mut state = self.state.lock();
        let State {
            doorbells,
            tables,
            attachments,
        } = &mut *state;
        if tables.get(&id).is_none() {
            tables.insert(new);
        }
        let known = some_or_warn!(tables.get_mut(&id)).map_err(Error::from);
        let mapped = known.and_then(|tables| {
            let mut used = group.used().iter();
            used.try_for_each(|place| self.map(doorbells, tables, place))?;
            tables.attachments += 1;
            Ok(())
        });
        if mapped.is_err() {
            self.forget_unused(&mut state, id);
            return mapped;
        }
        match attachments.get_mut(&(group.id(), id)) {
            Some(count) => *count += 1,
            None => {
                attachments.insert(attachment);
            }
        }
        Ok(())
    }

    /// Undoes [`Window::enter`].
    fn leave(&self, group: &Interrupts, domain: &Arc<Domain>) {
        let id = DomainId::of(domain);
        let mut state = self.state.lock();

        let count = state.attachments.get_mut(&(group.id(), id));
        warn_on_once!(count.is_none());
        if let Some(count) = count {
            sub_or_warn!(*count, 1);
            if *count == 0 {
                state.attachments.remove(&(group.id(), id));
            }
            let tables = state.tables.get_mut(&id);
            warn_on_once!(tables.is_none());
            if let Some(tables) = tables {
                sub_or_warn!(tables.attachments, 1);
            }
        }
        self.forget_unused(&mut state, id);
    }

    /// Unmaps the doorbells of page tables that no group uses any more, since user space may map
    /// their addresses from then on. The caller has a reference to the domain.
    fn forget_unused(&self, state: &mut State, id: DomainId) {
        if state.tables.get(&id).is_none_or(|t| t.attachments != 0) {
            return;
        }
        if let Some(tables) = state.tables.remove(&id) {
            let mapped = tables.mapped.iter();
            let pages = mapped.filter_map(|place| self.page(place).ok());
            tables.domain.unmap(RANGES, pages);
        }
    }
}

/// The state of a group for interrupts that the IOMMU translates.
pub(crate) struct Interrupts {
    windows: Shared<Registry>,
    /// `None` after `drop` has taken it.
    window: Option<Shared<Window>>,
    /// The doorbells whose addresses devices of the group have, a [`Set`]. Changed under the
    /// window's lock.
    used: Atomic<u64>,
}

impl Interrupts {
    /// Returns the state of the group of `dev`, or `None` if the IOMMU does not translate its
    /// interrupts. Returns `ENOMEM`.
    pub(crate) fn of(ctx: &Ctx, dev: &IommuDevice) -> Result<Option<Arc<Self>>> {
        if !provider::is_registered() {
            return Ok(None);
        }
        let regions = resv_regions(dev)?;
        let Some(region) = regions.iter().find(|r| r.kind == ResvKind::SwMsi) else {
            return Ok(None);
        };
        let key = region.range.start();
        let window = ctx
            .windows()
            .get_or_make(key, || Window::new(region.range))?;
        // Made first: if the allocation below fails, its drop releases the window.
        let interrupts = Self {
            windows: ctx.windows().clone(),
            window: Some(window),
            used: Atomic::new(Set::EMPTY.0),
        };
        Ok(Some(Arc::new(interrupts, GFP_KERNEL_ACCOUNT)?))
    }

    /// Maps the doorbells of the group in page tables, before it is attached to them. They remain
    /// mapped until the result is dropped. Returns `ENOMEM`.
    pub(crate) fn enter(self: &Arc<Self>, domain: &Arc<Domain>) -> Result<KBox<dyn Doorbells>> {
        let memory = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let window = some_or_warn!(self.window.as_ref())?;
        window.enter(self, domain)?;
        Ok(memory.write(Entered {
            interrupts: self.clone(),
            domain: domain.clone(),
        }))
    }

    fn id(&self) -> GroupId {
        GroupId(core::ptr::from_ref(self).addr())
    }

    fn used(&self) -> Set {
        Set(self.used.load(Relaxed))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        if let Some(window) = self.window.take() {
            self.windows.release(window.range.start(), window);
        }
    }
}

/// The doorbells of a group are mapped in a domain.
struct Entered {
    interrupts: Arc<Interrupts>,
    domain: Arc<Domain>,
}

impl Doorbells for Entered {
    fn place(&self, doorbell: Doorbell) -> Result<u64> {
        let group = &*self.interrupts;
        let window = some_or_warn!(group.window.as_ref())?;
        let mut state = window.state.lock();

        let place = window.place_of(&mut state, doorbell)?;
        let State {
            doorbells,
            tables,
            attachments,
        } = &mut *state;
        // Also in the domain to which the group is being moved.
        let mut next = Some(DomainId(0));
        while let Some(at) = next {
            let found = attachments.cursor_lower_bound(&(group.id(), at));
            let found = found.map(|cursor| *cursor.current().0);
            let Some((_, id)) = found.filter(|(owner, _)| *owner == group.id()) else {
                break;
            };
            let tables = some_or_warn!(tables.get_mut(&id))?;
            window.map(doorbells, tables, place)?;
            next = id.0.checked_add(1).map(DomainId);
        }
        let mut used = group.used();
        used.insert(place);
        group.used.store(used.0, Relaxed);
        Ok(window.page(place)?.start())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let window = self.interrupts.window.as_ref();
        warn_on_once!(window.is_none());
        if let Some(window) = window {
            window.leave(&self.interrupts, &self.domain);
        }
    }
}
