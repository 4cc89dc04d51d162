// SPDX-License-Identifier: GPL-2.0-only

//! Domains join and leave an address space while other tasks map, unmap and cut areas.
//!
//! The tasks run the module's own code: `Ioas::add_domain()`, `remove_domain()`, `map()`, `unmap()` and
//! `cut_after()`. What is seen of it are page tables and pins (`kapi/iommu/domain.rs` here): a page is pinned,
//! mapped, unmapped and unpinned once, in this order, by the task that works on its area. In the end each
//! domain that has not been removed has each area, and one that has been removed is gone.

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
        iommu::domain::{
            Domain,
            Prot, //
        },
        sync::{
            chunks::Chunks,
            shared::Shared, //
        },
        units::{
            IovaRange,
            PAGE_SIZE, //
        }, //
    },
    tests::{
        at_once,
        every_order, //
    }, //
};

const PROT: Prot = Prot {
    read: true,
    write: true,
    mmio: false,
};

/// Returns the addresses of `count` pages from that of index `first` on.
fn range(first: u64, count: u64) -> IovaRange {
    IovaRange::from_len(first * PAGE_SIZE, count * PAGE_SIZE).unwrap()
}

/// A domain, which its owner removes before it drops it.
type Member = sync::Arc<Domain>;

/// An address space.
#[derive(Clone)]
struct World {
    ioas: Arc<Ioas>,
    memory: Memory,
    /// The number of domains that were dropped.
    dropped: Arc<AtomicUsize>,
}

impl World {
    /// An address space with small pages, so that areas can be cut. The pages with the indices `absent`
    /// cannot be pinned.
    fn new(absent: &[usize]) -> Self {
        let ioas = Ioas::new().make().unwrap();
        ioas.set_large_pages(false, || Ok(())).unwrap();
        Self {
            ioas: Arc::new(ioas),
            memory: Memory::new(absent),
            dropped: Arc::default(),
        }
    }

    /// Makes a domain.
    fn domain(&self) -> Member {
        let (ioas, dropped) = (Arc::downgrade(&self.ioas), self.dropped.clone());
        let on_drop = move || {
            // No task may drop it under the lock.
            ioas.upgrade().unwrap().wait_for_lock();
            dropped.fetch_add(1, SeqCst);
        };
        sync::Arc::new(Domain::new(&self.memory, on_drop), GFP_KERNEL).unwrap()
    }

    /// Adds a domain.
    fn add(&self, domain: &Member) {
        self.ioas.add_domain(domain).unwrap();
    }

    /// Makes a domain and adds it.
    fn member(&self) -> Member {
        let domain = self.domain();
        self.add(&domain);
        domain
    }

    /// Maps `count` pages from `first` on, whether that succeeds.
    fn try_map(&self, first: u64, count: u64) -> bool {
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
    fn map(&self, first: u64, count: u64) {
        assert!(self.try_map(first, count));
    }

    /// Unmaps `count` pages from `first` on, which are mapped.
    fn unmap(&self, first: u64, count: u64) {
        let mut unmapped = 0;
        self.ioas.unmap(range(first, count), &mut unmapped).unwrap();
        assert_eq!(unmapped, count * PAGE_SIZE);
    }

    /// Cuts the area in front of the page `at`.
    fn cut(&self, at: u64) {
        self.ioas.cut_after(at * PAGE_SIZE - 1).unwrap();
    }

    /// Removes a domain, which need not exist any more when other tasks have finished.
    fn remove(&self, domain: Member) {
        self.ioas.remove_domain(&domain);
    }

    /// All tasks have finished. The domains are `members`, `gone` others have left, and the areas begin
    /// at the pages `areas.0` and have `areas.1` pages. Removes everything.
    fn end<const N: usize>(self, members: [Member; N], gone: usize, areas: &[(u64, u64)]) {
        let expected = areas.iter().map(|(first, count)| range(*first, *count));
        assert_eq!(self.ioas.at_rest(), expected.collect::<Vec<_>>());
        assert_eq!(self.dropped.load(SeqCst), gone, "domains that were dropped");
        let pages = areas.iter().flat_map(|(first, n)| *first..first + n);
        let pages: Vec<_> = pages.collect();
        for member in &members {
            assert_eq!(member.pages(), pages);
        }
        let pinned = if N == 0 { Vec::new() } else { pages };
        assert_eq!(self.memory.pinned(), pinned);

        for member in members {
            self.remove(member);
        }
        assert_eq!(self.dropped.load(SeqCst), gone + N);
        assert_eq!(self.memory.pinned(), []);
        let mut unmapped = 0;
        self.ioas.unmap_all(&mut unmapped).unwrap();
        // Its drop looks at what is left of the domains.
        assert_eq!(Arc::strong_count(&self.ioas), 1);
    }
}

/// A domain joins while an area is mapped. Another one is there.
#[test]
fn a_domain_joins_while_an_area_is_mapped() {
    every_order(None, || {
        let world = World::new(&[]);
        world.map(0, 1);
        let (theirs, joins) = (world.clone(), world.domain());
        at_once!(
            move || theirs.map(1, 1);
            || world.add(&joins)
        );
        world.end([joins], 0, &[(0, 1), (1, 1)]);
    });
}

/// A domain joins while an area is unmapped. It never gets it, or the task that unmaps it takes it out.
#[test]
fn a_domain_joins_while_an_area_is_unmapped() {
    every_order(None, || {
        let world = World::new(&[]);
        world.map(0, 1);
        world.map(1, 1);
        let (theirs, joins) = (world.clone(), world.domain());
        at_once!(
            move || theirs.unmap(0, 1);
            || world.add(&joins)
        );
        world.end([joins], 0, &[(1, 1)]);
    });
}

/// A second domain joins while an area is cut: it is filled with the whole, or with both parts.
#[test]
fn a_domain_joins_while_an_area_is_cut() {
    every_order(None, || {
        let world = World::new(&[]);
        let stays = world.member();
        world.map(0, 2);
        let (theirs, joins) = (world.clone(), world.domain());
        at_once!(
            move || theirs.cut(1);
            || world.add(&joins)
        );
        world.end([stays, joins], 0, &[(0, 1), (1, 1)]);
    });
}

/// An area is unmapped while it is cut: as a whole or in two parts, or the cut fails.
#[test]
fn an_area_is_unmapped_while_it_is_cut() {
    every_order(None, || {
        let world = World::new(&[]);
        let stays = world.member();
        world.map(0, 2);
        let theirs = world.clone();
        at_once!(
            move || {
                let _ = theirs.ioas.cut_after(PAGE_SIZE - 1);
            };
            || world.unmap(0, 2)
        );
        world.end([stays], 0, &[]);
    });
}

/// The only domain leaves while an area is mapped.
#[test]
fn the_only_domain_leaves_while_an_area_is_mapped() {
    every_order(None, || {
        let world = World::new(&[]);
        let leaves = world.member();
        world.map(0, 1);
        let theirs = world.clone();
        at_once!(
            move || theirs.map(1, 1);
            || world.remove(leaves)
        );
        world.end([], 1, &[(0, 1), (1, 1)]);
    });
}

/// One of two domains leaves while an area is mapped, which remains pinned.
#[test]
fn one_of_two_domains_leaves_while_an_area_is_mapped() {
    every_order(None, || {
        let world = World::new(&[]);
        let (leaves, stays) = (world.member(), world.member());
        let theirs = world.clone();
        at_once!(
            move || theirs.map(1, 1);
            || world.remove(leaves)
        );
        world.end([stays], 1, &[(1, 1)]);
    });
}

/// A domain leaves while a map of memory that is not there fails.
#[test]
fn a_domain_leaves_while_a_map_fails() {
    every_order(None, || {
        let world = World::new(&[1]);
        let leaves = world.member();
        let theirs = world.clone();
        at_once!(
            move || {
                // Without a domain memory is not pinned.
                if theirs.try_map(1, 1) {
                    theirs.unmap(1, 1);
                }
            };
            || world.remove(leaves)
        );
        world.end([], 1, &[]);
    });
}

/// A domain leaves while an area is unmapped. One of the two takes it out.
#[test]
fn a_domain_leaves_while_an_area_is_unmapped() {
    every_order(None, || {
        let world = World::new(&[]);
        let leaves = world.member();
        world.map(0, 1);
        world.map(1, 1);
        let theirs = world.clone();
        at_once!(
            move || theirs.unmap(0, 1);
            || world.remove(leaves)
        );
        world.end([], 1, &[(1, 1)]);
    });
}

/// A domain leaves while an area is cut: both parts are taken out of it.
#[test]
fn a_domain_leaves_while_an_area_is_cut() {
    every_order(None, || {
        let world = World::new(&[]);
        let leaves = world.member();
        world.map(0, 2);
        let theirs = world.clone();
        at_once!(
            move || theirs.cut(1);
            || world.remove(leaves)
        );
        world.end([], 1, &[(0, 1), (1, 1)]);
    });
}

/// A domain cannot be filled while an area is mapped, which stays. The domain is removed from it, and is
/// gone in the end.
#[test]
fn a_domain_fails_to_join_while_an_area_is_mapped() {
    every_order(None, || {
        let world = World::new(&[2]);
        world.map(0, 1);
        world.map(2, 1);
        let (theirs, joins) = (world.clone(), world.domain());
        at_once!(
            move || theirs.map(1, 1);
            || {
                assert!(world.ioas.add_domain(&joins).is_err());
                drop(joins);
            }
        );
        world.end([], 1, &[(0, 1), (1, 1), (2, 1)]);
    });
}

/// A domain may fail to be filled with an area that is unmapped meanwhile.
#[test]
fn a_domain_joins_or_fails_to_while_an_area_is_unmapped() {
    every_order(Some(4), || {
        let world = World::new(&[1]);
        world.map(0, 1);
        world.map(1, 1);
        let (theirs, joins) = (world.clone(), world.domain());
        let mut joined = false;
        at_once!(
            move || theirs.unmap(1, 1);
            || joined = world.ioas.add_domain(&joins).is_ok()
        );
        if joined {
            world.end([joins], 0, &[(0, 1)]);
        } else {
            drop(joins);
            world.end([], 1, &[(0, 1)]);
        }
    });
}

/// Two domains join, one after the other.
#[test]
fn two_domains_join_at_once() {
    every_order(None, || {
        let world = World::new(&[]);
        world.map(0, 1);
        let (first, second) = (world.domain(), world.domain());
        let (theirs, other) = (first.clone(), world.clone());
        at_once!(
            move || other.add(&theirs);
            || world.add(&second)
        );
        world.end([first, second], 0, &[(0, 1)]);
    });
}

/// One domain joins while another one leaves, with an area.
#[test]
fn a_domain_joins_while_one_leaves() {
    every_order(None, || {
        let world = World::new(&[]);
        let leaves = world.member();
        world.map(0, 1);
        let (theirs, joins) = (world.clone(), world.domain());
        at_once!(
            move || theirs.remove(leaves);
            || world.add(&joins)
        );
        world.end([joins], 1, &[(0, 1)]);
    });
}

/// Two domains leave at once.
#[test]
fn two_domains_leave_at_once() {
    every_order(None, || {
        let world = World::new(&[]);
        let (first, second) = (world.member(), world.member());
        world.map(0, 1);
        let theirs = world.clone();
        at_once!(
            move || theirs.remove(first);
            || world.remove(second)
        );
        world.end([], 2, &[(0, 1)]);
    });
}

/// A domain lingers in two areas, and the last task that has mapped one drops it.
#[test]
fn a_domain_lingers_in_areas_of_two_tasks() {
    every_order(Some(3), || {
        let world = World::new(&[]);
        let leaves = world.member();
        let (one, other) = (world.clone(), world.clone());
        at_once!(
            move || one.map(0, 1),
            move || other.map(1, 1);
            || world.remove(leaves)
        );
        world.end([], 1, &[(0, 1), (1, 1)]);
    });
}

/// Two domains leave while an area is mapped, so both may linger in it.
#[test]
fn two_domains_leave_while_an_area_is_mapped() {
    every_order(Some(4), || {
        let world = World::new(&[]);
        let (first, second) = (world.member(), world.member());
        let (one, other) = (world.clone(), world.clone());
        at_once!(
            move || one.remove(first),
            move || other.remove(second);
            || world.map(0, 1)
        );
        world.end([], 2, &[(0, 1)]);
    });
}

/// A third domain leaves while two may linger in an area that is mapped.
#[test]
fn three_domains_leave_while_an_area_is_mapped() {
    every_order(Some(3), || {
        let world = World::new(&[]);
        let (first, second, third) = (world.member(), world.member(), world.member());
        let (one, other) = (world.clone(), world.clone());
        at_once!(
            move || {
                one.remove(first);
                one.remove(second);
            },
            move || other.remove(third);
            || world.map(0, 1)
        );
        world.end([], 3, &[(0, 1)]);
    });
}

/// A domain joins while another one leaves and an area is mapped: it waits for that, if the other one lingers.
#[test]
fn a_domain_joins_while_one_leaves_and_an_area_is_mapped() {
    every_order(Some(3), || {
        let world = World::new(&[]);
        let leaves = world.member();
        let joins = world.domain();
        let (one, other) = (world.clone(), world.clone());
        at_once!(
            move || one.map(0, 1),
            move || other.remove(leaves);
            || world.add(&joins)
        );
        world.end([joins], 1, &[(0, 1)]);
    });
}
