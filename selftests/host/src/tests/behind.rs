// SPDX-License-Identifier: GPL-2.0-only

//! Tests of `ioas/behind.rs`: which areas a search finds, and how many it looks at.

use std::{
    cell::Cell,
    rc::Rc, //
};

use crate::{
    ioas::{
        behind::{
            find_behind,
            Batch,
            Follower,
            Found,
            MOST_LOOKS, //
        },
        interval::{
            IntervalMap,
            Vacancy, //
        },
        membership::{
            Followed,
            Membership, //
        }, //
    },
    kapi::units::{
        IovaRange,
        IovaUnit, //
    },
};

const PAGE: u64 = 4096;

struct Area {
    followed: Followed,
    ready: bool,
    /// How often an area was looked at.
    looks: Rc<Cell<usize>>,
}

impl Follower for Area {
    fn followed(&self) -> Followed {
        self.looks.set(self.looks.get() + 1);
        self.followed
    }

    fn is_ready(&self) -> bool {
        self.ready
    }
}

/// A batch of up to 16 areas.
#[derive(Default)]
struct Ranges(Vec<IovaRange>);

impl Batch<Area> for Ranges {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_full(&self) -> bool {
        self.0.len() == 16
    }

    fn takes(&mut self, _: IovaRange, _: &Area) -> bool {
        true
    }

    fn push(&mut self, range: IovaRange, area: &mut Area) {
        area.ready = false;
        self.0.push(range);
    }
}

struct World {
    members: Membership<u32>,
    areas: IntervalMap<IovaUnit, Area>,
    looks: Rc<Cell<usize>>,
}

impl World {
    /// An address space with one domain and this many areas of a page each. Another task works on
    /// those for which `busy` returns true.
    fn new(count: u64, busy: impl Fn(u64) -> bool) -> Self {
        let mut world = Self {
            members: Membership::new(),
            areas: IntervalMap::new(),
            looks: Rc::default(),
        };
        world.members.begin_join(1).unwrap();
        world.members.end();
        for place in 0..count {
            world.add(place, !busy(place));
        }
        world
    }

    fn add(&mut self, place: u64, ready: bool) {
        let area = Area {
            followed: self.members.up_to_date(),
            ready,
            looks: self.looks.clone(),
        };
        let vacancy = Vacancy::new().unwrap();
        assert!(self.areas.insert(vacancy, page(place), area).is_ok());
    }

    fn area(&mut self, place: u64) -> &mut Area {
        self.areas.get_mut(page(place)).unwrap()
    }

    /// A task has finished with an area. If the domain that leaves is to be emptied, it does that until it
    /// comes to an area of another task, as `Ioas::empty_domain()` does. Returns the number of areas that
    /// it has looked at.
    fn work(&mut self) -> usize {
        let before = self.looks.get();
        let mut work = self.members.take_work();
        while let Some(mut doing) = work.take() {
            let mut batch = Ranges::default();
            let found = find_behind(&self.members, &mut self.areas, &mut doing.from, &mut batch);
            match found {
                Found::None => {
                    self.members.end();
                    work = self.members.take_work();
                }
                Found::Later => work = Some(doing),
                Found::Busy => self.members.put_work_down(doing),
                Found::Some(followed) => {
                    for range in batch.0 {
                        let area = self.areas.get_mut(range).unwrap();
                        (area.ready, area.followed) = (true, followed);
                        doing.from = range.last() + 1;
                    }
                    work = Some(doing);
                }
            }
        }
        self.looks.get() - before
    }
}

fn page(place: u64) -> IovaRange {
    IovaRange::from_len(place * PAGE, PAGE).unwrap()
}

const COUNT: u64 = 10_000;

/// A domain leaves while the last area is being mapped, which does not end. Tasks that map and unmap
/// others meanwhile look at one area each.
#[test]
fn work_goes_on_where_it_was_put_down() {
    let mut world = World::new(COUNT, |place| place == COUNT - 1);
    assert!(world.members.leave(|_| true));
    assert!(world.work() as u64 >= COUNT);
    for place in COUNT..COUNT + 100 {
        world.add(place, true);
        assert_eq!(world.work(), 1);
    }
    world.area(COUNT - 1).ready = true;
    assert!(world.work() < 300);
    assert!(world.members.is_empty());
}

/// A domain leaves while an area is being mapped. Areas that were made meanwhile, and are not behind,
/// come first: each is looked at once.
#[test]
fn what_is_not_behind_is_looked_at_once() {
    let mut world = World::new(1, |_| true);
    assert!(world.members.leave(|_| true));
    assert_eq!(world.work(), 1);
    for place in 1..100 {
        world.add(place, true);
        assert_eq!(world.work(), 1);
    }
    let mut from = 0;
    let mut search = |world: &mut World| {
        let mut batch = Ranges::default();
        find_behind(&world.members, &mut world.areas, &mut from, &mut batch)
    };
    // A task that waits for the area searches each time it is woken.
    world.area(0).followed = world.members.follow();
    world.area(99).followed = Membership::<u32>::new().up_to_date();
    world.area(99).ready = false;
    assert_eq!(search(&mut world), Found::Busy);
    let before = world.looks.get();
    assert_eq!(search(&mut world), Found::Busy);
    assert_eq!(world.looks.get(), before + 1);
}

/// A domain that leaves after another one is emptied of all areas.
#[test]
fn the_next_change_begins_at_the_first_area() {
    let mut world = World::new(40, |place| place == 20);
    world.members.begin_join(2).unwrap();
    let change = world.members.follow();
    for place in 0..40 {
        world.area(place).followed = change;
    }
    world.members.end();
    assert!(world.members.leave(|domain| *domain == 1));
    assert!(world.members.leave(|domain| *domain == 2));
    world.work();
    assert!(!world.members.is_settled());
    world.area(20).ready = true;
    world.work();
    assert!(world.members.is_empty());
    for place in 0..40 {
        let followed = world.area(place).followed;
        assert!(!world.members.is_pinned(followed));
        assert!(world.members.is_last(followed));
    }
}

/// A domain that has failed to join is emptied from the first area on, wherever the work on an earlier
/// change was put down.
#[test]
fn an_undone_join_begins_at_the_first_area() {
    let mut world = World::new(2, |place| place == 1);
    assert!(world.members.leave(|_| true));
    world.work();
    world.area(1).ready = true;
    world.work();
    world.members.begin_join(2).unwrap();
    world.area(0).followed = world.members.follow();
    world.members.begin_undo();
    assert_eq!(world.members.take_work().map(|work| work.from), Some(0));
}

/// The lock is released after a number of areas.
#[test]
fn a_search_ends_after_a_number_of_looks() {
    let mut world = World::new(COUNT, |_| false);
    world.members.begin_join(2).unwrap();
    let change = world.members.follow();
    for place in 0..COUNT {
        world.area(place).followed = change;
    }
    let (mut from, mut batch) = (0, Ranges::default());
    world.looks.set(0);
    let found = find_behind(&world.members, &mut world.areas, &mut from, &mut batch);
    assert_eq!(found, Found::Later);
    assert_eq!(world.looks.get(), MOST_LOOKS);
    assert_eq!(from, MOST_LOOKS as u64 * PAGE);
}

/// Areas are behind up to the one of another task.
#[test]
fn a_batch_ends_before_an_area_of_another_task() {
    let mut world = World::new(40, |place| place == 3);
    assert!(world.members.leave(|_| true));
    let (mut from, mut batch) = (0, Ranges::default());
    let found = find_behind(&world.members, &mut world.areas, &mut from, &mut batch);
    assert!(matches!(found, Found::Some(_)));
    assert_eq!(batch.0, (0..3).map(page).collect::<Vec<_>>());
    assert_eq!(from, 0);
}
