// SPDX-License-Identifier: GPL-2.0-only

//! Tasks pin and unpin the same pages, while another one moves them to its process.
//!
//! The tasks run the module's own code: `Pages::begin_pin()`, `pin_present()`, `unpin()`, `copy_bytes()` and
//! IOMMU_IOAS_CHANGE_PROCESS. Each page is somewhere else whenever it is pinned, and every frame is unpinned
//! once (`kapi/ledger.rs`). The limit is at least what all pins need together, so none may fail: if it is that,
//! tasks wait for each other that want the same page, and if it is more, they pin it at once.

use std::{
    ops::Deref,
    sync::Arc, //
};

use kernel::{
    mm::Mm,
    prelude::*,
    task, //
};
use loom::thread::JoinHandle;

use crate::{
    ioas::{
        pages::Pages,
        piece_before,
        process::change_process,
        space::{
            Area,
            Slice, //
        },
        transfer::Transfer, //
    },
    kapi::{
        ledger,
        mm::{
            pin,
            usage::Account,
            user::UserStruct, //
        },
        reason::Result,
        sync::shared::Shared,
        uapi::IoasChangeProcess,
        units::{
            IovaRange,
            PageRange,
            PAGE_SIZE, //
        }, //
    },
    object::Ctx,
    orders::every_order, //
};

/// The number of pages of a source.
const PAGES: u64 = 3;

/// The limits of most models: what is pinned in the end, and what two tasks charge that pin all pages.
const LIMITS: [u64; 2] = [PAGES, 2 * PAGES];

/// How pages are charged, and whether they are those of a file.
#[derive(Clone, Copy)]
struct Kind {
    process: bool,
    file: bool,
}

/// Pages of a file that are charged to a user.
const FILE: Kind = Kind {
    process: false,
    file: true,
};

/// Pages of a file that are charged to a process.
const PROCESS: Kind = Kind {
    process: true,
    ..FILE
};

/// A memory source, another one, and the process that has made them.
struct State {
    pages: Shared<Pages>,
    /// Nothing changes of this one but whom it is charged to.
    beside: Shared<Pages>,
    /// How many pages of that are pinned.
    pinned_beside: u64,
    ctx: Ctx,
    memory: u64,
    mm: Mm,
}

#[derive(Clone)]
struct World(Arc<State>);

impl Deref for World {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// Returns `count` pages from `first` on.
fn range(first: u64, count: u64) -> PageRange {
    PageRange::from_len(first, count).unwrap()
}

/// Pages that are pinned, and where they are.
struct Held {
    range: PageRange,
    frames: Vec<u64>,
}

impl Held {
    /// The pages of the range are pinned in these frames.
    fn new(range: PageRange, frames: Vec<u64>) -> Self {
        let held = Self { range, frames };
        held.check();
        held
    }

    /// Each page is pinned, where it was.
    fn check(&self) {
        let pages = self.frames.iter().map(|frame| ledger::page_in(*frame));
        let expected = self.range.start()..=self.range.last();
        assert!(pages.eq(expected), "other pages than those asked for");
        let pinned = self.frames.iter().all(|frame| ledger::is_pinned(*frame));
        assert!(pinned, "a page that is used is not pinned");
    }
}

impl World {
    /// Memory of which so many pages can be pinned, and the pages `absent` are not there.
    fn new(limit: u64, kind: Kind, absent: &[u64]) -> Self {
        Self::with(limit, kind, absent, 0)
    }

    /// As [`World::new`]. So many pages of another source are pinned as well, and stay so.
    fn with(limit: u64, kind: Kind, absent: &[u64], pinned_beside: u64) -> Self {
        let mm = Mm::new(limit);
        let world = Self::of(&mm, &mm, kind, absent, pinned_beside);
        world.map([false, true, false]);
        world
    }

    /// The pages are those of a file of `next`, and one page of the other source, which has a lower address, is
    /// pinned and charged to `old`.
    fn of_next(old: &Mm, next: &Mm, kind: Kind) -> Self {
        let world = Self::of(next, old, kind, &[], 1);
        world.map([true, false, false]);
        world
    }

    /// The pages of `mm`, and another source of `other` that has so many pinned pages.
    fn of(mm: &Mm, other: &Mm, kind: Kind, absent: &[u64], pinned_beside: u64) -> Self {
        let (ctx, memory) = (Ctx::new(), ledger::add(absent));
        task::enter(mm);
        let account = || Account {
            usage: ctx.usage(),
            process: kind.process,
        };
        let length = PAGES * PAGE_SIZE;
        let made = if kind.file {
            Pages::from_file(memory as i32, 0, length, true, account())
        } else {
            Pages::from_user(pin::addr_of(memory), length, true, account())
        };
        let (pages, offset) = made.unwrap();
        assert_eq!(offset, 0);
        task::enter(other);
        let (beside, _) = Pages::from_file(memory as i32, length, length, true, account()).unwrap();
        if pinned_beside != 0 {
            beside.fill(range(0, pinned_beside), 0, usize::MAX).unwrap();
        }
        Self(Arc::new(State {
            pages,
            beside,
            pinned_beside,
            ctx,
            memory,
            mm: mm.clone(),
        }))
    }

    /// Maps the source, or the other one where it says so. The first one has two mappings, as after a copy.
    fn map(&self, beside: [bool; 3]) {
        let mut space = self.ctx.objects().ioas().space.write();
        let length = PAGES * PAGE_SIZE;
        for (at, beside) in beside.into_iter().enumerate() {
            let range = IovaRange::from_len(at as u64 * length, length).unwrap();
            let pages = if beside { &self.beside } else { &self.pages };
            let slice = Slice {
                pages: pages.clone(),
            };
            space.areas.push((range, Area { slice }));
        }
    }

    /// Begins a task.
    fn spawn<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let world = self.clone();
        loom::thread::spawn(move || task(&world))
    }

    /// Pins pages as a domain that has room for so many, in pieces of which one ends before page `end`.
    fn try_fill(&self, pages: PageRange, end: u64, room: usize) -> Result<Held> {
        task::enter(&self.mm);
        let filled = self.pages.fill(pages, piece_before(end), room);
        filled.map(|frames| Held::new(pages, frames))
    }

    /// Pins `count` pages from `first` on, in one piece, unless the limit is reached.
    fn fill_some(&self, first: u64, count: u64) -> Result<Held> {
        self.try_fill(range(first, count), PAGES, usize::MAX)
    }

    /// As [`World::fill_some`], where that must succeed.
    fn fill(&self, first: u64, count: u64) -> Held {
        let filled = self.fill_some(first, count);
        filled.expect("the limit is not reached")
    }

    /// Pins pages if that is possible without waiting.
    fn fill_at_once(&self, first: u64, count: u64) -> Option<Held> {
        task::enter(&self.mm);
        let pages = range(first, count);
        let filled = self.pages.fill_at_once(pages);
        filled.map(|frames| Held::new(pages, frames))
    }

    /// Unpins pages.
    fn unpin(&self, held: Held) {
        held.check();
        self.pages.unpin(held.range);
    }

    /// Reads all of the memory, from pages that others have pinned and from others. Each byte is the number
    /// of its page.
    fn read(&self) {
        task::enter(&self.mm);
        let mut bytes = vec![u8::MAX; (PAGES * PAGE_SIZE) as usize];
        let copied = self
            .pages
            .copy_bytes(0, Transfer::Read(&mut bytes), false, true);
        copied.unwrap();
        for (page, bytes) in bytes.chunks(PAGE_SIZE as usize).enumerate() {
            assert!(bytes.iter().all(|byte| usize::from(*byte) == page));
        }
    }

    /// Another process becomes the owner.
    fn try_move_to(&self, mm: &Mm) -> Result {
        task::enter(mm);
        change_process(&self.ctx, IoasChangeProcess::default(), &UserStruct)
    }

    /// Another process becomes the owner.
    fn move_to(&self, mm: &Mm) {
        self.try_move_to(mm).expect("the limit is not reached");
    }

    /// Looks at the numbers, between two steps of others.
    fn look(&self) {
        self.pages.look(self.ctx.usage(), self.pinned_beside);
    }

    /// All tasks have finished, `pinned` pages are pinned, of `held`, and are charged to `mm` alone. Unpins
    /// and removes everything.
    fn end_at<const N: usize>(self, held: [Held; N], pinned: u64, mm: &Mm) {
        let others = if mm.as_raw() == self.mm.as_raw() {
            0
        } else {
            self.mm.locked()
        };
        let (usage, beside) = (self.ctx.usage(), self.pinned_beside);
        let all = pinned + beside;
        assert_eq!((mm.locked(), others), (all, 0), "pages that are charged");
        assert_eq!(self.pages.at_rest(usage, beside), pinned);
        assert_eq!(ledger::pinned(self.memory), all);
        for held in held {
            assert_eq!(self.pages.read_pinned(held.range), held.frames);
            self.unpin(held);
        }
        assert_eq!(self.pages.at_rest(usage, beside), 0);
        if beside != 0 {
            self.beside.unpin(range(0, beside));
        }
        assert_eq!(ledger::remove(self.memory), 0, "pages that stay pinned");
        self.ctx.objects().ioas().space.write().areas.clear();
        let state = Arc::into_inner(self.0).expect("the tasks have finished");
        // What is left of charges is found when these are dropped.
        drop((state.pages, state.beside, state.ctx));
        assert_eq!((mm.locked(), state.mm.locked()), (0, 0));
    }

    /// As [`World::end_at`], where one of two tasks has pinned two pages, and the limit was reached for the other.
    fn end_with_one_of(self, one: Result<Held>, other: Result<Held>) {
        match (one, other) {
            (Ok(held), Err(refusal)) | (Err(refusal), Ok(held)) => {
                assert_eq!(refusal, ENOMEM);
                self.end([held], 2);
            }
            _ => panic!("not one of the tasks has succeeded"),
        }
    }

    /// As [`World::end_at`], where the process is the first one.
    fn end<const N: usize>(self, held: [Held; N], pinned: u64) {
        let mm = self.mm.clone();
        self.end_at(held, pinned, &mm);
    }
}

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
        let first = world.spawn(|world| world.fill(0, 2));
        let second = world.spawn(|world| world.fill(1, 2));
        world.move_to(&next);
        let held = [first.join().unwrap(), second.join().unwrap()];
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
        let first = world.spawn(|world| world.fill(0, 2));
        let second = world.spawn(|world| world.fill(1, 2));
        world.move_to(&next);
        let held = [first.join().unwrap(), second.join().unwrap()];
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
        let first = world.spawn(|world| world.fill(0, 2));
        let second = world.spawn(|world| world.fill(1, 2));
        let mm = next.clone();
        let holds = loom::thread::spawn(move || mm.with_lock(|| ()));
        world.move_to(&next);
        holds.join().unwrap();
        let held = [first.join().unwrap(), second.join().unwrap()];
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
        let first = world.spawn(|world| world.fill(0, 2));
        let second = world.spawn(|world| world.fill(1, 2));
        let mm = next.clone();
        let holds = loom::thread::spawn(move || mm.with_lock(|| ()));
        world.move_to(&next);
        holds.join().unwrap();
        let held = [first.join().unwrap(), second.join().unwrap()];
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
