// SPDX-License-Identifier: GPL-2.0-only

//! Tasks pin and unpin the same pages, while another one moves them to its process.
//!
//! The tasks run the module's own code: `Pages::begin_pin()`, `pin_present()`, `unpin()`, `copy_bytes()` and
//! IOMMU_IOAS_CHANGE_PROCESS. Each page is somewhere else whenever it is pinned, and every frame is unpinned
//! once (`kapi/ledger.rs`). The limit is at least what all pins need together, so none may fail: if it is that,
//! tasks wait for each other that want the same page, and if it is more, they pin it at once.

use kernel::{
    mm::Mm,
    prelude::*,
    task, //
};

use crate::{
    kapi::ledger,
    orders::every_order,
    world::*, //
};

/// Two tasks pin pages of which one is the same. It is pinned once in the end, for both.
#[test]
fn two_tasks_pin_overlapping_pages() {
    for limit in LIMITS {
        every_order(None, move || {
            let world = World::new(limit, FILE, &[]);
            let theirs = world.spawn(|world| world.fill(0, 2));
            let mine = world.fill(1, 2);
            let theirs = theirs.join().unwrap();
            world.end([mine, theirs], 3);
        });
    }
}

/// Two tasks pin the same pages, in pieces that do not end at the same page. One unpins them again.
#[test]
fn two_tasks_pin_the_same_pages_in_pieces() {
    for limit in LIMITS {
        every_order(None, move || {
            let world = World::new(limit, FILE, &[]);
            let theirs = world.spawn(|world| {
                let held = world.try_fill(range(0, 3), 1, usize::MAX).unwrap();
                world.unpin(held);
            });
            let mine = world.try_fill(range(0, 3), 2, usize::MAX).unwrap();
            theirs.join().unwrap();
            world.end([mine], 3);
        });
    }
}

/// While a task pins pages, another one pins one in their midst.
#[test]
fn a_page_is_pinned_between_others() {
    for limit in LIMITS {
        every_order(None, move || {
            let world = World::new(limit, FILE, &[]);
            let theirs = world.spawn(|world| world.fill(1, 1));
            let mine = world.fill(0, 3);
            let theirs = theirs.join().unwrap();
            world.end([mine, theirs], 3);
        });
    }
}

/// The page that two tasks have in common was pinned for another one, which unpins it meanwhile.
#[test]
fn a_page_is_unpinned_that_two_tasks_pin() {
    for limit in LIMITS {
        every_order(Some(4), move || {
            let world = World::new(limit, FILE, &[]);
            let held = world.fill(1, 1);
            let first = world.spawn(|world| world.fill(0, 2));
            let second = world.spawn(|world| world.fill(1, 2));
            world.unpin(held);
            let held = [first.join().unwrap(), second.join().unwrap()];
            world.end(held, 3);
        });
    }
}

/// All pages were pinned when two tasks began to, for another one, which unpins them when the two have come to
/// a later piece. So they have to charge these, and one of them waits for the other.
#[test]
fn all_pages_are_unpinned_that_two_tasks_pin() {
    every_order(Some(4), || {
        let world = World::new(3, FILE, &[]);
        let held = world.fill(0, 3);
        let first = world.spawn(|world| world.try_fill(range(0, 3), 1, usize::MAX).unwrap());
        let second = world.spawn(|world| world.try_fill(range(0, 3), 1, usize::MAX).unwrap());
        world.unpin(held);
        world.look();
        let held = [first.join().unwrap(), second.join().unwrap()];
        world.end(held, 3);
    });
}

/// The limit is too small for two tasks. One of them succeeds.
#[test]
fn the_limit_is_reached() {
    every_order(None, || {
        let world = World::new(2, FILE, &[]);
        let theirs = world.spawn(|world| world.fill_some(0, 2));
        let mine = world.fill_some(1, 2);
        world.end_with_one_of(mine, theirs.join().unwrap());
    });
}

/// A task for which the limit is reached gets what another one gives back that fails.
#[test]
fn a_task_fails_for_which_another_one_waits() {
    every_order(None, || {
        let world = World::new(2, FILE, &[1]);
        let theirs = world.spawn(|world| {
            let filled = world.fill_some(0, 2);
            assert!(filled.is_err_and(|refusal| refusal == EINVAL || refusal == ENOMEM));
        });
        let mine = world.fill(0, 1);
        theirs.join().unwrap();
        world.end([mine], 1);
    });
}

/// A domain takes a part of the pages only, which are unpinned again, but for those that another task has
/// pinned.
#[test]
fn a_domain_refuses_pages_that_another_task_pins() {
    for limit in LIMITS {
        every_order(None, move || {
            let world = World::new(limit, FILE, &[]);
            let theirs = world.spawn(|world| {
                let filled = world.try_fill(range(0, 3), 1, 1);
                assert!(filled.is_err_and(|refusal| refusal == ENOSPC));
            });
            let mine = world.fill(0, 2);
            theirs.join().unwrap();
            world.end([mine], 2);
        });
    }
}

/// A task pins a page without waiting, if no other task pins or has pinned it.
#[test]
fn a_page_is_pinned_without_waiting() {
    for limit in LIMITS {
        every_order(None, move || {
            let kind = Kind {
                file: false,
                ..FILE
            };
            let world = World::new(limit, kind, &[]);
            let theirs = world.spawn(|world| world.fill(0, 3));
            let mine = match world.fill_at_once(1, 1) {
                Some(held) => held,
                None => world.fill(1, 1),
            };
            let theirs = theirs.join().unwrap();
            world.end([mine, theirs], 3);
        });
    }
}

/// A task reads memory while others pin and unpin it.
#[test]
fn memory_is_read_that_others_pin_and_unpin() {
    every_order(None, || {
        let world = World::new(3, FILE, &[]);
        let held = world.fill(0, 2);
        let pins = world.spawn(|world| world.fill(1, 2));
        let unpins = world.spawn(|world| world.unpin(held));
        world.read();
        unpins.join().unwrap();
        let theirs = pins.join().unwrap();
        world.end([theirs], 2);
    });
}

/// A task looks at the numbers while two others pin and unpin.
#[test]
fn what_is_pinned_is_charged_at_any_time() {
    for limit in LIMITS {
        every_order(Some(4), move || {
            let world = World::new(limit, FILE, &[]);
            let first = world.spawn(|world| world.fill(0, 2));
            let second = world.spawn(|world| world.unpin(world.fill(1, 2)));
            world.look();
            let held = first.join().unwrap();
            second.join().unwrap();
            world.end([held], 2);
        });
    }
}

/// The pages are moved to another process while two tasks pin, of which one unpins them again. The limit of
/// that process is what all pins need together, or what both tasks charge that pin the same page.
#[test]
fn the_owner_changes_while_two_tasks_pin() {
    for limit in LIMITS {
        for limit_next in [PAGES, PAGES + 1] {
            every_order(Some(3), move || {
                let (world, next) = (World::new(limit, FILE, &[]), Mm::new(limit_next));
                let first = world.spawn(|world| world.unpin(world.fill(0, 2)));
                let second = world.spawn(|world| world.fill(1, 2));
                world.move_to(&next);
                first.join().unwrap();
                let held = second.join().unwrap();
                world.end_at([held], 2, &next);
            });
        }
    }
}

/// The same, where the limit is reached for pages of another source, which are charged later.
#[test]
fn the_owner_of_two_sources_changes_while_two_tasks_pin() {
    every_order(Some(3), || {
        let world = World::with(2 * PAGES, FILE, &[], 1);
        let next = Mm::new(PAGES + 1);
        let held = world.move_while_two_pin(&next, false);
        world.end_at(held, 3, &next);
    });
}

/// The same, where the tasks pin memory that is the next owner's already, and comes after what is charged to
/// it: they may have ended when the charge is found to be too much.
#[test]
fn the_owner_of_the_rest_changes_while_two_tasks_pin() {
    every_order(Some(3), || {
        let (old, next) = (Mm::new(1), Mm::new(PAGES + 1));
        let world = World::of_next(&old, &next, FILE);
        let held = world.move_while_two_pin(&next, false);
        assert_eq!(old.locked(), 0);
        world.end_at(held, 3, &next);
    });
}

/// The same, where the mmap lock of the next owner is taken for a moment.
#[test]
fn the_rest_is_paid_for_while_two_tasks_pin() {
    every_order(Some(3), || {
        let (old, next) = (Mm::new(1), Mm::new(PAGES + 1));
        let world = World::of_next(&old, &next, PROCESS);
        let held = world.move_while_two_pin(&next, true);
        assert_eq!(old.locked(), 0);
        world.end_at(held, 3, &next);
    });
}

/// The mmap lock of the process is taken as well, so that the sum is paid for in advance.
#[test]
fn the_sum_is_paid_for_while_two_tasks_pin() {
    every_order(Some(3), || {
        let world = World::with(2 * PAGES, PROCESS, &[], 1);
        let next = Mm::new(PAGES + 1);
        let held = world.move_while_two_pin(&next, true);
        world.end_at(held, 3, &next);
    });
}

/// The pages are not moved to a process whose limit is too small for what is pinned meanwhile.
#[test]
fn the_owner_does_not_change_while_a_task_pins() {
    every_order(None, || {
        let (world, next) = (World::with(4, FILE, &[], 1), Mm::new(3));
        let held = world.fill(0, 2);
        let theirs = world.spawn(|world| world.fill_some(1, 2));
        let moved = world.try_move_to(&next);
        match (moved, theirs.join().unwrap()) {
            (Ok(()), Err(refusal)) => {
                assert_eq!(refusal, ENOMEM);
                world.end_at([held], 2, &next);
            }
            (Err(refusal), Ok(theirs)) => {
                assert_eq!(refusal, ENOMEM);
                world.end([held, theirs], 3);
            }
            _ => panic!("not one of the tasks has succeeded"),
        }
    });
}

/// The mmap lock of the process to which pages are charged is taken now and then. They are paid for in
/// advance.
#[test]
fn two_tasks_pin_while_the_mmap_lock_is_taken() {
    for limit in LIMITS {
        every_order(Some(3), move || {
            let world = World::new(limit, PROCESS, &[]);
            let first = world.spawn(|world| world.fill(0, 2));
            let second = world.spawn(|world| world.fill(1, 2));
            world.mm.with_lock(|| ());
            let held = [first.join().unwrap(), second.join().unwrap()];
            world.end(held, 3);
        });
    }
}

/// The same, where the limit is too small for both, or for each.
#[test]
fn the_limit_is_reached_while_the_mmap_lock_is_taken() {
    for limit in [1, 2] {
        every_order(Some(3), move || {
            let world = World::new(limit, PROCESS, &[]);
            let first = world.spawn(|world| world.fill_some(0, 2));
            let second = world.spawn(|world| world.fill_some(1, 2));
            world.mm.with_lock(|| ());
            let (first, second) = (first.join().unwrap(), second.join().unwrap());
            if limit == 1 {
                assert!(first.is_err() && second.is_err());
                world.end([], 0);
            } else {
                world.end_with_one_of(first, second);
            }
        });
    }
}

/// A page is unpinned, while the mmap lock is taken, that another task pins.
#[test]
fn a_page_is_unpinned_while_the_mmap_lock_is_taken() {
    every_order(Some(4), || {
        let world = World::new(3, PROCESS, &[]);
        let held = world.fill(1, 1);
        let pins = world.spawn(|world| world.fill(0, 3));
        let unpins = world.spawn(|world| world.unpin(held));
        world.mm.with_lock(|| ());
        unpins.join().unwrap();
        let held = pins.join().unwrap();
        world.end([held], 3);
    });
}

/// The mmap lock of the process is taken to which pages of two sources are moved, while a task pins more of one
/// of them, or unpins some.
#[test]
fn the_owner_changes_while_its_mmap_lock_is_taken() {
    for unpins in [false, true] {
        every_order(Some(3), move || {
            let (world, next) = (World::with(4, PROCESS, &[], 1), Mm::new(4));
            let held = world.fill(0, 2);
            let theirs = world.spawn(move |world| {
                if unpins {
                    world.unpin(held);
                    None
                } else {
                    Some([held, world.fill(1, 2)])
                }
            });
            let mm = next.clone();
            let holds = loom::thread::spawn(move || mm.with_lock(|| ()));
            world.move_to(&next);
            holds.join().unwrap();
            match theirs.join().unwrap() {
                Some(held) => world.end_at(held, 3, &next),
                None => world.end_at([], 0, &next),
            }
        });
    }
}
