// SPDX-License-Identifier: GPL-2.0-only

//! Memory that tasks of a model pin, and what is looked at when they have finished.

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
    object::Ctx, //
};

/// The number of pages of a source.
pub(super) const PAGES: u64 = 3;

/// The limits of most models: what is pinned in the end, and what two tasks charge that pin all pages.
pub(super) const LIMITS: [u64; 2] = [PAGES, 2 * PAGES];

/// How pages are charged, and whether they are those of a file.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) process: bool,
    pub(super) file: bool,
}

/// Pages of a file that are charged to a user.
pub(super) const FILE: Kind = Kind {
    process: false,
    file: true,
};

/// Pages of a file that are charged to a process.
pub(super) const PROCESS: Kind = Kind {
    process: true,
    ..FILE
};

/// A memory source, another one, and the process that has made them.
pub(super) struct State {
    pub(super) pages: Shared<Pages>,
    /// Nothing changes of this one but whom it is charged to.
    pub(super) beside: Shared<Pages>,
    /// How many pages of that are pinned.
    pub(super) pinned_beside: u64,
    pub(super) ctx: Ctx,
    pub(super) memory: u64,
    pub(super) mm: Mm,
}

#[derive(Clone)]
pub(super) struct World(Arc<State>);

impl Deref for World {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

/// Returns `count` pages from `first` on.
pub(super) fn range(first: u64, count: u64) -> PageRange {
    PageRange::from_len(first, count).unwrap()
}

/// Pages that are pinned, and where they are.
pub(super) struct Held {
    pub(super) range: PageRange,
    pub(super) frames: Vec<u64>,
}

impl Held {
    /// The pages of the range are pinned in these frames.
    pub(super) fn new(range: PageRange, frames: Vec<u64>) -> Self {
        let held = Self { range, frames };
        held.check();
        held
    }

    /// Each page is pinned, where it was.
    pub(super) fn check(&self) {
        let pages = self.frames.iter().map(|frame| ledger::page_in(*frame));
        let expected = self.range.start()..=self.range.last();
        assert!(pages.eq(expected), "other pages than those asked for");
        let pinned = self.frames.iter().all(|frame| ledger::is_pinned(*frame));
        assert!(pinned, "a page that is used is not pinned");
    }
}

impl World {
    /// Memory of which so many pages can be pinned, and the pages `absent` are not there.
    pub(super) fn new(limit: u64, kind: Kind, absent: &[u64]) -> Self {
        Self::with(limit, kind, absent, 0)
    }

    /// As [`World::new`]. So many pages of another source are pinned as well, and stay so.
    pub(super) fn with(limit: u64, kind: Kind, absent: &[u64], pinned_beside: u64) -> Self {
        let mm = Mm::new(limit);
        let world = Self::of(&mm, &mm, kind, absent, pinned_beside);
        world.map([false, true, false]);
        world
    }

    /// The pages are those of a file of `next`, and one page of the other source, which has a lower address, is
    /// pinned and charged to `old`.
    pub(super) fn of_next(old: &Mm, next: &Mm, kind: Kind) -> Self {
        let world = Self::of(next, old, kind, &[], 1);
        world.map([true, false, false]);
        world
    }

    /// The pages of `mm`, and another source of `other` that has so many pinned pages.
    pub(super) fn of(mm: &Mm, other: &Mm, kind: Kind, absent: &[u64], pinned_beside: u64) -> Self {
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
    pub(super) fn map(&self, beside: [bool; 3]) {
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
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let world = self.clone();
        loom::thread::spawn(move || task(&world))
    }

    /// Pins pages as a domain that has room for so many, in pieces of which one ends before page `end`.
    pub(super) fn try_fill(&self, pages: PageRange, end: u64, room: usize) -> Result<Held> {
        task::enter(&self.mm);
        let filled = self.pages.fill(pages, piece_before(end), room);
        filled.map(|frames| Held::new(pages, frames))
    }

    /// Pins `count` pages from `first` on, in one piece, unless the limit is reached.
    pub(super) fn fill_some(&self, first: u64, count: u64) -> Result<Held> {
        self.try_fill(range(first, count), PAGES, usize::MAX)
    }

    /// As [`World::fill_some`], where that must succeed.
    pub(super) fn fill(&self, first: u64, count: u64) -> Held {
        let filled = self.fill_some(first, count);
        filled.expect("the limit is not reached")
    }

    /// Pins pages if that is possible without waiting.
    pub(super) fn fill_at_once(&self, first: u64, count: u64) -> Option<Held> {
        task::enter(&self.mm);
        let pages = range(first, count);
        let filled = self.pages.fill_at_once(pages);
        filled.map(|frames| Held::new(pages, frames))
    }

    /// Unpins pages.
    pub(super) fn unpin(&self, held: Held) {
        held.check();
        self.pages.unpin(held.range);
    }

    /// Reads all of the memory, from pages that others have pinned and from others. Each byte is the number
    /// of its page.
    pub(super) fn read(&self) {
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
    pub(super) fn try_move_to(&self, mm: &Mm) -> Result {
        task::enter(mm);
        change_process(&self.ctx, IoasChangeProcess::default(), &UserStruct)
    }

    /// Another process becomes the owner.
    pub(super) fn move_to(&self, mm: &Mm) {
        self.try_move_to(mm).expect("the limit is not reached");
    }

    /// Two tasks pin pages of which one is the same, while another process becomes the owner. If `is_locked`,
    /// a third task takes the mmap lock of that process.
    pub(super) fn move_while_two_pin(&self, next: &Mm, is_locked: bool) -> [Held; 2] {
        let first = self.spawn(|world| world.fill(0, 2));
        let second = self.spawn(|world| world.fill(1, 2));
        let holds = is_locked.then(|| {
            let mm = next.clone();
            loom::thread::spawn(move || mm.with_lock(|| ()))
        });
        self.move_to(next);
        if let Some(holds) = holds {
            holds.join().unwrap();
        }
        [first.join().unwrap(), second.join().unwrap()]
    }

    /// Looks at the numbers, between two steps of others.
    pub(super) fn look(&self) {
        self.pages.look(self.ctx.usage(), self.pinned_beside);
    }

    /// All tasks have finished, `pinned` pages are pinned, of `held`, and are charged to `mm` alone. Unpins
    /// and removes everything.
    pub(super) fn end_at<const N: usize>(self, held: [Held; N], pinned: u64, mm: &Mm) {
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
    pub(super) fn end_with_one_of(self, one: Result<Held>, other: Result<Held>) {
        match (one, other) {
            (Ok(held), Err(refusal)) | (Err(refusal), Ok(held)) => {
                assert_eq!(refusal, ENOMEM);
                self.end([held], 2);
            }
            _ => panic!("not one of the tasks has succeeded"),
        }
    }

    /// As [`World::end_at`], where the process is the first one.
    pub(super) fn end<const N: usize>(self, held: [Held; N], pinned: u64) {
        let mm = self.mm.clone();
        self.end_at(held, pinned, &mm);
    }
}
