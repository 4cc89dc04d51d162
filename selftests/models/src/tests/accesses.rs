// SPDX-License-Identifier: GPL-2.0-only

//! Memory is pinned and read for accesses while other tasks unmap and cut it.
//!
//! The tasks run the module's own code: that of accesses (`device/access.rs`), HW queues and readers, and
//! `Ioas::unmap()` and `cut_after()`. A task that has unmapped memory uses its bytes for something else, and
//! loom reports it if an access uses them still. What is pinned is unpinned once, in the area where it was
//! pinned, and a reader leaves the area to which it has come.

use kernel::prelude::*;

use crate::{
    ioas::{
        pages::of_access,
        transfer::Transfer,
        PhysPin, //
    },
    kapi::{
        reason::{
            Reason,
            Result, //
        },
        units::{
            IovaRange,
            PAGE_SIZE, //
        }, //
    },
    tests::{
        at_once,
        driver::Driver,
        every_order,
        world::{
            range,
            Member,
            World, //
        }, //
    }, //
};

/// The first page and the number of pages of each area.
type Areas = &'static [(u64, u64)];

const ONE_PAGE: Areas = &[(0, 1)];
const TWO_PAGES: Areas = &[(0, 2)];
const TWO_AREAS: Areas = &[(0, 1), (1, 1)];

/// Why an access finds no memory: it is not mapped, or is unmapped.
const GONE: &[Reason] = &[Reason::AccessGap, Reason::AccessUnmapping];

/// Runs a model in a world with these areas and a driver; first where no domain has the areas, and then
/// where one has. The model returns the areas that are left.
fn with_driver(
    preemptions: Option<usize>,
    areas: Areas,
    model: impl Fn(&World, &Driver) -> Areas + Copy + Send + Sync + 'static,
) {
    for has_domain in [false, true] {
        every_order(preemptions, move || {
            let world = World::new(&[]);
            let member = has_domain.then(|| world.member());
            world.map_all(areas);
            let driver = Driver::new(&world);
            let left = model(&world, &driver);
            driver.destroy();
            world.end(member, 0, left);
        });
    }
}

/// Runs a model in a world with these areas, and a domain that has them. The model returns the areas that
/// are left.
fn with_domain(
    preemptions: Option<usize>,
    areas: Areas,
    model: impl Fn(&World, &Member) -> Areas + Send + Sync + 'static,
) {
    every_order(preemptions, move || {
        let world = World::new(&[]);
        let member = world.member();
        world.map_all(areas);
        let left = model(&world, &member);
        world.end([member], 0, left);
    });
}

/// Checks that something was done, or refused for one of these reasons. Returns whether it was done.
fn done(result: Result, reasons: &[Reason]) -> bool {
    if let Err(refusal) = result {
        let reason = refusal.reason();
        assert!(reasons.contains(&reason), "refused: {reason:?}");
        return false;
    }
    true
}

/// Cuts the area in front of the page `at`, unless an access pins pages of it. Returns whether it is cut.
fn try_cut(world: &World, at: u64) -> bool {
    let cut = world.ioas.cut_after(at * PAGE_SIZE - 1);
    done(cut, &[Reason::UnmapCutInUse])
}

/// Returns the areas of two pages.
fn two_pages(are_cut: bool) -> Areas {
    match are_cut {
        true => TWO_AREAS,
        false => TWO_PAGES,
    }
}

/// Uses the first `count` pages for a HW queue, unless that is refused for one of these reasons.
fn run_hw_queue(world: &World, count: u64, reasons: &[Reason]) {
    let length = count * PAGE_SIZE;
    let pin = of_access(|| PhysPin::new(&world.ioas, 0, length));
    let result = pin.map(|pin| {
        assert_eq!((pin.phys(), pin.len()), (0, length));
        world.memory.touch(0..=count - 1);
        of_access(|| drop(pin));
    });
    done(result, reasons);
}

/// Unmaps the first page, unless a HW queue uses it. Returns the areas that are left of it.
fn take_unless_a_queue_runs(world: &World) -> Areas {
    match done(world.take(0, 1), &[Reason::UnmapHwQueue]) {
        true => &[],
        false => ONE_PAGE,
    }
}

/// Reads what is dirty of what is mapped in the domain.
fn read_dirty(world: &World, member: &Member) {
    for part in world.ioas.contiguous_memory(IovaRange::ALL) {
        member.read_dirty(part);
    }
}

/// A driver unpins memory while it is unmapped, or because it is.
#[test]
fn pinned_memory_is_unmapped() {
    with_driver(None, ONE_PAGE, |world, driver| {
        driver.pin(0, 1).unwrap();
        let theirs = driver.clone();
        at_once!(
            move || theirs.let_go();
            || world.take(0, 1).unwrap()
        );
        &[]
    });
}

/// Memory is pinned while it is unmapped: before, and the driver is asked to unpin it, or not at all.
#[test]
fn memory_is_pinned_while_it_is_unmapped() {
    with_driver(None, ONE_PAGE, |world, driver| {
        let theirs = driver.clone();
        at_once!(
            move || {
                done(theirs.pin(0, 1), &[Reason::AccessGap]);
            };
            || world.take(0, 1).unwrap()
        );
        &[]
    });
}

/// Memory that is pinned is pinned once more while it is unmapped, which stops new pins at some time.
#[test]
fn memory_is_pinned_again_while_it_is_unmapped() {
    with_driver(Some(4), ONE_PAGE, |world, driver| {
        driver.pin(0, 1).unwrap();
        let theirs = driver.clone();
        at_once!(
            move || {
                done(theirs.pin(0, 1), GONE);
                theirs.let_go();
            };
            || world.take(0, 1).unwrap()
        );
        &[]
    });
}

/// Two areas are pinned while one is unmapped: both are, or none.
#[test]
fn two_areas_are_pinned_while_one_is_unmapped() {
    with_driver(Some(4), TWO_AREAS, |world, driver| {
        let theirs = driver.clone();
        at_once!(
            move || {
                if done(theirs.pin(0, 2), &[Reason::AccessGap]) {
                    theirs.let_go();
                }
            };
            || world.take(1, 1).unwrap()
        );
        ONE_PAGE
    });
}

/// Two areas cannot be pinned, because the second one has no memory, while the first one is unmapped.
#[test]
fn a_pin_fails_while_an_area_is_unmapped() {
    every_order(Some(4), || {
        let world = World::new(&[1]);
        world.map_all(TWO_AREAS);
        let driver = Driver::new(&world);
        let theirs = driver.clone();
        at_once!(
            move || {
                let reasons = [Reason::AccessGap, Reason::UserMemory];
                assert!(!done(theirs.pin(0, 2), &reasons));
            };
            || world.take(0, 1).unwrap()
        );
        driver.destroy();
        world.end([], 0, &[(1, 1)]);
    });
}

/// An area is cut before it is pinned or after it was unpinned, or not at all.
#[test]
fn an_area_is_pinned_while_it_is_cut() {
    with_driver(Some(4), TWO_PAGES, |world, driver| {
        let (theirs, mut is_cut) = (driver.clone(), false);
        at_once!(
            move || {
                theirs.pin(0, 2).unwrap();
                theirs.let_go();
            };
            || is_cut = try_cut(world, 1)
        );
        two_pages(is_cut)
    });
}

/// Two areas are pinned while one is cut. The task that pins may hold the first one when it finds that the
/// second one is being cut, and begins again.
#[test]
fn two_areas_are_pinned_while_one_is_cut() {
    with_driver(Some(4), &[(0, 1), (1, 2)], |world, driver| {
        let (theirs, mut is_cut) = (driver.clone(), false);
        at_once!(
            move || {
                theirs.pin(0, 3).unwrap();
                theirs.let_go();
            };
            || is_cut = try_cut(world, 2)
        );
        match is_cut {
            true => &[(0, 1), (1, 1), (2, 1)],
            false => &[(0, 1), (1, 2)],
        }
    });
}

/// The second part of an area is unmapped, if it can be cut off, while the area is pinned and read.
#[test]
fn an_area_is_pinned_while_a_part_is_unmapped() {
    with_driver(Some(3), TWO_PAGES, |world, driver| {
        let (theirs, mut left) = (driver.clone(), TWO_PAGES);
        at_once!(
            move || {
                if done(theirs.pin(0, 2), &[Reason::AccessGap]) {
                    done(theirs.copy(0, 2), GONE);
                    theirs.let_go();
                }
            };
            || {
                let is_cut = try_cut(world, 1);
                let is_unmapped = done(world.take(1, 1), &[Reason::UnmapPart]);
                assert_eq!(is_unmapped, is_cut);
                if is_unmapped {
                    left = ONE_PAGE;
                }
            }
        );
        left
    });
}

/// An area that a HW queue uses is not unmapped. It is when the queue is gone, or before there is one.
#[test]
fn a_hw_queue_runs_while_its_memory_is_unmapped() {
    with_driver(Some(4), ONE_PAGE, |world, _| {
        let (theirs, mut left) = (world.clone(), ONE_PAGE);
        at_once!(
            move || run_hw_queue(&theirs, 1, &[Reason::AccessGap]);
            || left = take_unless_a_queue_runs(world)
        );
        left
    });
}

/// An area that a HW queue uses is not cut.
#[test]
fn a_hw_queue_runs_while_its_memory_is_cut() {
    with_driver(Some(3), TWO_PAGES, |world, _| {
        let (theirs, mut is_cut) = (world.clone(), false);
        at_once!(
            move || run_hw_queue(&theirs, 2, &[]);
            || is_cut = try_cut(world, 1)
        );
        two_pages(is_cut)
    });
}

/// The driver of a device and a HW queue have pinned the same memory when it is unmapped, which asks the
/// driver once the queue is gone.
#[test]
fn a_driver_and_a_hw_queue_use_memory_that_is_unmapped() {
    with_driver(None, ONE_PAGE, |world, driver| {
        driver.pin(0, 1).unwrap();
        let (theirs, mut left) = (world.clone(), ONE_PAGE);
        at_once!(
            move || run_hw_queue(&theirs, 1, GONE);
            || left = take_unless_a_queue_runs(world)
        );
        left
    });
}

/// Two areas are read while one is unmapped, which waits until the reader has left it.
#[test]
fn memory_is_read_while_it_is_unmapped() {
    with_driver(Some(4), TWO_AREAS, |world, driver| {
        let theirs = driver.clone();
        at_once!(
            move || {
                done(theirs.copy(0, 2), &[Reason::AccessGap]);
            };
            || world.take(1, 1).unwrap()
        );
        ONE_PAGE
    });
}

/// An area is read while it is cut: as a whole, or in two parts.
#[test]
fn memory_is_read_while_it_is_cut() {
    with_driver(Some(4), TWO_PAGES, |world, driver| {
        let theirs = driver.clone();
        at_once!(
            move || theirs.copy(0, 2).unwrap();
            || world.cut(1)
        );
        TWO_AREAS
    });
}

/// A driver reads memory that it has pinned, under its lock, while the memory is unmapped. It is asked to
/// unpin it, and takes the lock for that: so its reader must not be kept out then.
#[test]
fn pinned_memory_is_read_while_it_is_unmapped() {
    with_driver(Some(4), ONE_PAGE, |world, driver| {
        driver.pin(0, 1).unwrap();
        let theirs = driver.clone();
        at_once!(
            move || {
                done(theirs.copy(0, 1), GONE);
            };
            || world.take(0, 1).unwrap()
        );
        &[]
    });
}

/// One task reads an area, one cuts it, and one unmaps both parts or the whole: each has its turn.
#[test]
fn an_area_is_read_and_cut_while_it_is_unmapped() {
    with_driver(Some(3), TWO_PAGES, |world, driver| {
        let (reads, cuts) = (driver.clone(), world.clone());
        at_once!(
            move || {
                done(reads.copy(0, 2), &[Reason::AccessGap]);
            },
            move || {
                done(cuts.ioas.cut_after(PAGE_SIZE - 1), &[Reason::UnmapBusy]);
            };
            || world.take(0, 2).unwrap()
        );
        &[]
    });
}

/// Two tasks read an area while it is cut. One of them may wait for the cut, which waits for the other one.
#[test]
fn an_area_is_read_twice_while_it_is_cut() {
    with_driver(Some(3), TWO_PAGES, |world, driver| {
        let (one, other) = (driver.clone(), world.clone());
        at_once!(
            move || one.copy(0, 2).unwrap(),
            move || {
                let mut data = vec![0; PAGE_SIZE as usize];
                let data = Transfer::Read(&mut data);
                other.ioas.copy_bytes(0, data, false, false).unwrap();
            };
            || world.cut(1)
        );
        TWO_AREAS
    });
}

/// One task pins an area that is pinned already, one reads it, and one unmaps it. The pin may wait for the
/// unmapping, which waits for the reader, and then for the driver, whose lock the task has that pins.
#[test]
fn an_area_is_pinned_and_read_while_it_is_unmapped() {
    with_domain(Some(3), ONE_PAGE, |world, member| {
        let driver = Driver::new(world);
        driver.pin(0, 1).unwrap();
        let pins = driver.clone();
        let (reads, domain) = (world.clone(), member.clone());
        at_once!(
            move || {
                done(pins.pin(0, 1), GONE);
            },
            move || read_dirty(&reads, &domain);
            || world.take(0, 1).unwrap()
        );
        driver.destroy();
        &[]
    });
}

/// Dirty pages of two areas are read while one is unmapped: a reader finds it in the page tables, or not at
/// all.
#[test]
fn dirty_pages_are_read_while_an_area_is_unmapped() {
    with_domain(None, TWO_AREAS, |world, member| {
        let (theirs, domain) = (world.clone(), member.clone());
        at_once!(
            move || read_dirty(&theirs, &domain);
            || world.take(1, 1).unwrap()
        );
        ONE_PAGE
    });
}

/// Dirty pages are read while an area is cut.
#[test]
fn dirty_pages_are_read_while_an_area_is_cut() {
    with_domain(None, TWO_PAGES, |world, member| {
        let (theirs, domain) = (world.clone(), member.clone());
        at_once!(
            move || read_dirty(&theirs, &domain);
            || world.cut(1)
        );
        TWO_AREAS
    });
}

/// Dirty pages are read while another domain joins and leaves, which waits for no reader.
#[test]
fn dirty_pages_are_read_while_another_domain_comes_and_goes() {
    every_order(Some(4), || {
        let world = World::new(&[]);
        let member = world.member();
        world.map(0, 1);
        let (theirs, domain) = (world.clone(), member.clone());
        at_once!(
            move || read_dirty(&theirs, &domain);
            || world.remove(world.member())
        );
        world.end([member], 1, ONE_PAGE);
    });
}

/// Memory is pinned while the only domain joins and leaves. It stays pinned for the driver.
#[test]
fn memory_is_pinned_while_a_domain_comes_and_goes() {
    every_order(Some(4), || {
        let world = World::new(&[]);
        world.map(0, 1);
        let driver = Driver::new(&world);
        let theirs = driver.clone();
        at_once!(
            move || theirs.pin(0, 1).unwrap();
            || world.remove(world.member())
        );
        assert_eq!(world.memory.held(), [0]);
        driver.destroy();
        world.end([], 1, ONE_PAGE);
    });
}

/// Two areas are looked up to be copied while one is unmapped: both are found, or none.
#[test]
fn mappings_are_copied_while_one_is_unmapped() {
    with_domain(None, TWO_AREAS, |world, _| {
        let theirs = world.clone();
        at_once!(
            move || {
                let parts = theirs.ioas.parts(range(0, 2));
                done(parts.map(drop), &[Reason::MapGap]);
            };
            || world.take(1, 1).unwrap()
        );
        ONE_PAGE
    });
}

/// Areas of which one is unmapped before the other one is mapped are neither pinned nor copied together.
#[test]
fn areas_that_are_not_there_at_once_are_not_used_together() {
    with_driver(Some(4), ONE_PAGE, |world, driver| {
        let (theirs, driver) = (world.clone(), driver.clone());
        at_once!(
            move || {
                assert!(!done(driver.pin(0, 2), &[Reason::AccessGap]));
                let parts = theirs.ioas.parts(range(0, 2));
                assert!(!done(parts.map(drop), &[Reason::MapGap]));
            };
            || {
                world.take(0, 1).unwrap();
                world.map(1, 1);
            }
        );
        &[(1, 1)]
    });
}

/// An access is destroyed while its memory is unmapped. When that is done its driver is not called any more.
#[test]
fn an_access_is_destroyed_while_its_memory_is_unmapped() {
    every_order(Some(4), || {
        let world = World::new(&[]);
        world.map(0, 1);
        let driver = Driver::new(&world);
        driver.pin(0, 1).unwrap();
        at_once!(
            move || driver.destroy();
            || world.take(0, 1).unwrap()
        );
        world.end([], 0, &[]);
    });
}

/// A device is moved to another address space while memory that it has pinned is unmapped.
#[test]
fn a_device_is_moved_while_its_memory_is_unmapped() {
    with_driver(None, ONE_PAGE, |world, driver| {
        driver.pin(0, 1).unwrap();
        let other = World::address_space(&world.ctx).id();
        let theirs = driver.clone();
        at_once!(
            move || theirs.replace(other);
            || world.take(0, 1).unwrap()
        );
        &[]
    });
}
