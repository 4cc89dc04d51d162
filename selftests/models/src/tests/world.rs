// SPDX-License-Identifier: GPL-2.0-only

//! An address space, and what tasks do with it.

use std::sync::{
    atomic::{
        AtomicUsize,
        Ordering::SeqCst, //
    },
    Arc, //
};

use kernel::{
    prelude::*,
    sync, //
};

use crate::{
    ioas::{
        area::Slice,
        map::{
            Part,
            Placement, //
        },
        pages::{
            Memory,
            Pages, //
        },
        Ioas, //
    },
    kapi::{
        file::file_ref::FileRef,
        iommu::domain::{
            Domain,
            Prot, //
        },
        reason::Result,
        sync::{
            chunks::Chunks,
            shared::Shared, //
        },
        units::{
            IovaRange,
            PAGE_SIZE, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

const PROT: Prot = Prot {
    read: true,
    write: true,
    mmio: false,
};

/// Returns the addresses of `count` pages from that of index `first` on.
pub(super) fn range(first: u64, count: u64) -> IovaRange {
    IovaRange::from_len(first * PAGE_SIZE, count * PAGE_SIZE).unwrap()
}

/// A domain, which its owner removes before it drops it.
pub(super) type Member = sync::Arc<Domain>;

/// An address space.
#[derive(Clone)]
pub(super) struct World {
    pub(super) ioas: Arc<Ref<Ioas>>,
    pub(super) ctx: FileRef<Ctx>,
    pub(super) memory: Memory,
    /// The number of domains that were dropped.
    dropped: Arc<AtomicUsize>,
}

impl World {
    /// An address space with small pages, so that areas can be cut. The pages with the indices `absent`
    /// cannot be pinned.
    pub(super) fn new(absent: &[usize]) -> Self {
        let ctx = FileRef::new(Ctx::new());
        Self {
            ioas: Arc::new(Self::address_space(&ctx)),
            ctx,
            memory: Memory::new(absent),
            dropped: Arc::default(),
        }
    }

    /// Makes an address space with small pages.
    pub(super) fn address_space(ctx: &Ctx) -> Ref<Ioas> {
        let draft = ctx.objects().reserve().unwrap().fill(Ioas::new());
        let ioas = draft.unwrap().publish_and_get();
        ioas.set_large_pages(false, || Ok(())).unwrap();
        ioas
    }

    /// Makes a domain.
    pub(super) fn domain(&self) -> Member {
        let (ioas, dropped) = (Arc::downgrade(&self.ioas), self.dropped.clone());
        let on_drop = move || {
            // No task may drop it under the lock.
            ioas.upgrade().unwrap().wait_for_lock();
            dropped.fetch_add(1, SeqCst);
        };
        sync::Arc::new(Domain::new(&self.memory, on_drop), GFP_KERNEL).unwrap()
    }

    /// Adds a domain.
    pub(super) fn add(&self, domain: &Member) {
        self.ioas.add_domain(domain).unwrap();
    }

    /// Makes a domain and adds it.
    pub(super) fn member(&self) -> Member {
        let domain = self.domain();
        self.add(&domain);
        domain
    }

    /// Maps `count` pages from `first` on, whether that succeeds.
    pub(super) fn try_map(&self, first: u64, count: u64) -> bool {
        let pages = Ok::<_, Error>(Pages(self.memory.clone()));
        let slice = Slice {
            pages: Shared::pin_init(pages, GFP_KERNEL).unwrap(),
            start: first * PAGE_SIZE,
            length: count * PAGE_SIZE,
        };
        let mut parts = Chunks::new();
        parts
            .push(Part::new(Part::vacancy().unwrap(), slice))
            .unwrap();
        let (length, at) = (count * PAGE_SIZE, Placement::Fixed(first * PAGE_SIZE));
        let mapped = self
            .ioas
            .map(parts, length, at, PROT, Some(&mut |_| Ok(())));
        mapped.is_ok()
    }

    /// Maps `count` pages from `first` on.
    pub(super) fn map(&self, first: u64, count: u64) {
        assert!(self.try_map(first, count));
    }

    /// Maps areas, each with its first page and the number of its pages.
    pub(super) fn map_all(&self, areas: &[(u64, u64)]) {
        areas.iter().for_each(|(first, n)| self.map(*first, *n));
    }

    /// Unmaps `count` pages from `first` on, which are mapped.
    pub(super) fn unmap(&self, first: u64, count: u64) {
        let mut unmapped = 0;
        self.ioas.unmap(range(first, count), &mut unmapped).unwrap();
        assert_eq!(unmapped, count * PAGE_SIZE);
    }

    /// Unmaps what is mapped of `count` pages from `first` on, and uses their bytes for something else.
    pub(super) fn take(&self, first: u64, count: u64) -> Result {
        self.ioas.unmap(range(first, count), &mut 0)?;
        self.memory.reuse(first..=first + count - 1);
        Ok(())
    }

    /// Cuts the area in front of the page `at`.
    pub(super) fn cut(&self, at: u64) {
        self.ioas.cut_after(at * PAGE_SIZE - 1).unwrap();
    }

    /// Removes a domain, which need not exist any more when other tasks have finished.
    pub(super) fn remove(&self, domain: Member) {
        self.ioas.remove_domain(&domain);
    }

    /// All tasks have finished. The domains are `members`, `gone` others have left, and the areas begin
    /// at the pages `areas.0` and have `areas.1` pages. Removes everything.
    pub(super) fn end(
        self,
        members: impl IntoIterator<Item = Member>,
        gone: usize,
        areas: &[(u64, u64)],
    ) {
        let members: Vec<_> = members.into_iter().collect();
        let expected = areas.iter().map(|(first, count)| range(*first, *count));
        assert_eq!(self.ioas.at_rest(), expected.collect::<Vec<_>>());
        assert_eq!(self.dropped.load(SeqCst), gone, "domains that were dropped");
        let pages = areas.iter().flat_map(|(first, n)| *first..first + n);
        let pages: Vec<_> = pages.collect();
        for member in &members {
            assert_eq!(member.pages(), pages);
        }
        let pinned = if members.is_empty() {
            Vec::new()
        } else {
            pages
        };
        assert_eq!(self.memory.pinned(), pinned);
        assert_eq!(self.memory.held(), []);

        let gone = gone + members.len();
        for member in members {
            self.remove(member);
        }
        assert_eq!(self.dropped.load(SeqCst), gone);
        assert_eq!(self.memory.pinned(), []);
        let mut unmapped = 0;
        self.ioas.unmap_all(&mut unmapped).unwrap();
        // Its drop looks at what is left of the domains.
        assert_eq!(Arc::strong_count(&self.ioas), 1);
    }
}
