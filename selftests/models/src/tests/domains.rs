// SPDX-License-Identifier: GPL-2.0-only

//! Domains join and leave an address space while other tasks map, unmap and cut areas.
//!
//! The tasks run the module's own code: `Ioas::add_domain()`, `remove_domain()`, `map()`, `unmap()` and
//! `cut_after()`. What is seen of it are page tables and pins (`kapi/iommu/domain.rs` here): a page is pinned,
//! mapped, unmapped and unpinned once, in this order, by the task that works on its area. In the end each
//! domain that has not been removed has each area, and one that has been removed is gone.

use kernel::prelude::*;

use crate::{
    kapi::units::PAGE_SIZE,
    tests::{
        at_once,
        every_order,
        world::World, //
    }, //
};

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
