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
        let followed = self.members.up_to_date();
        let area = Area {
            followed,
            ready,
            looks: self.looks.clone(),
        };
        self.members.add_area(followed);
        let vacancy = Vacancy::new().unwrap();
        assert!(self.areas.insert(vacancy, page(place), area).is_ok());
    }

    fn area(&mut self, place: u64) -> &mut Area {
        self.areas.get_mut(page(place)).unwrap()
    }

    /// An area follows all changes, and is ready.
    fn follow(&mut self, range: IovaRange) {
        let now = self.members.up_to_date();
        let area = self.areas.get_mut(range).unwrap();
        self.members.follow(area.followed, now);
        (area.ready, area.followed) = (true, now);
    }

    /// Empties domains that are to leave, as `Ioas::empty_domain()` does. Returns the number of areas that
    /// were looked at.
    fn empty(&mut self) -> usize {
        let before = self.looks.get();
        while self.members.take_work().is_some() {
            let mut from = 0;
            loop {
                let mut batch = Ranges::default();
                match find_behind(&self.members, &mut self.areas, &mut from, &mut batch) {
                    Found::None => break,
                    Found::Later => {}
                    Found::Busy => panic!("waits for another task"),
                    Found::Some => {
                        for range in batch.0 {
                            self.follow(range);
                            from = range.last() + 1;
                        }
                    }
                }
            }
            self.members.end();
            self.let_go();
        }
        self.looks.get() - before
    }

    fn let_go(&mut self) {
        while self.members.take_gone().is_some() {}
    }

    /// The task that works on an area takes it out of the domains that leave, as `Ioas::catch_up()` does.
    fn finish(&mut self, place: u64) {
        let followed = self.area(place).followed;
        let now = self.members.up_to_date();
        assert!(self.members.next_leaving(0, followed, now).is_some());
        self.follow(page(place));
        self.let_go();
    }
}

fn page(place: u64) -> IovaRange {
    IovaRange::from_len(place * PAGE, PAGE).unwrap()
}

const COUNT: u64 = 10_000;

/// A domain leaves while others work on some areas. It is emptied of all others, each of which is looked at
/// once or twice, and has left when the last of these tasks has finished.
#[test]
fn areas_of_others_are_passed_over() {
    let is_busy = |place| [0, 17, 18, COUNT - 1].contains(&place);
    let mut world = World::new(COUNT, is_busy);
    assert!(world.members.leave(|_| true));
    let looks = world.empty() as u64;
    assert!((COUNT..COUNT * 9 / 8).contains(&looks), "{looks} looks");
    for place in 0..COUNT {
        let followed = world.area(place).followed;
        assert_eq!(world.members.is_pinned(followed), is_busy(place));
    }
    for place in (0..COUNT).rev().filter(|place| is_busy(*place)) {
        assert!(!world.members.is_empty());
        world.finish(place);
    }
    assert!(world.members.is_empty());
}

/// Nobody looks at the areas once the domain lingers only.
#[test]
fn tasks_that_finish_look_at_their_own_areas() {
    let mut world = World::new(COUNT, |_| true);
    assert!(world.members.leave(|_| true));
    assert_eq!(world.empty() as u64, COUNT);
    let before = world.looks.get();
    for place in 0..COUNT {
        assert_eq!(world.empty(), 0);
        world.finish(place);
    }
    assert_eq!(world.looks.get(), before);
    assert!(world.members.is_empty());
}

/// A task that fills a domain waits for an area that is not ready, and looks at it alone each time it is
/// woken. Areas before it that are not behind are looked at once.
#[test]
fn a_domain_that_joins_waits_for_others() {
    let mut world = World::new(1, |_| true);
    world.members.begin_join(2).unwrap();
    let mut from = 0;
    let mut search = |world: &mut World| {
        let mut batch = Ranges::default();
        find_behind(&world.members, &mut world.areas, &mut from, &mut batch)
    };
    assert_eq!(search(&mut world), Found::Busy);
    for place in 1..100 {
        world.add(place, true);
        let before = world.looks.get();
        assert_eq!(search(&mut world), Found::Busy);
        assert_eq!(world.looks.get(), before + 1);
    }
    world.follow(page(0));
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
    for place in 0..40 {
        let ready = world.area(place).ready;
        world.follow(page(place));
        world.area(place).ready = ready;
    }
    assert!(world.members.leave(|domain| *domain == 1));
    assert!(!world.members.leave(|domain| *domain == 2));
    assert_eq!(world.empty(), 0);
    world.members.end();
    assert!(world.members.leave(|domain| *domain == 2));
    world.empty();
    assert!(!world.members.is_settled());
    world.finish(20);
    assert!(world.members.is_empty());
    for place in 0..40 {
        let followed = world.area(place).followed;
        assert!(!world.members.is_pinned(followed));
        assert!(world.members.is_last(followed));
    }
}

/// The lock is released after a number of areas.
#[test]
fn a_search_ends_after_a_number_of_looks() {
    let mut world = World::new(COUNT, |_| false);
    world.members.begin_join(2).unwrap();
    for place in 0..COUNT {
        world.follow(page(place));
    }
    let (mut from, mut batch) = (0, Ranges::default());
    world.looks.set(0);
    let found = find_behind(&world.members, &mut world.areas, &mut from, &mut batch);
    assert_eq!(found, Found::Later);
    assert_eq!(world.looks.get(), MOST_LOOKS);
    assert_eq!(from, MOST_LOOKS as u64 * PAGE);
}

/// A batch of areas for a domain that joins ends before the area of another task; of one that leaves, behind it.
#[test]
fn a_batch_ends_before_an_area_of_another_task() {
    let mut world = World::new(40, |place| place == 3);
    let search = |world: &mut World, most| {
        let (mut from, mut batch) = (0, Ranges::default());
        let found = find_behind(&world.members, &mut world.areas, &mut from, &mut batch);
        assert_eq!((found, from), (Found::Some, 0));
        let places = (0..most).filter(|place| *place != 3);
        assert_eq!(batch.0, places.map(page).collect::<Vec<_>>());
    };
    world.members.begin_join(2).unwrap();
    search(&mut world, 3);
    for place in 0..3 {
        world.area(place).ready = true;
    }
    world.members.begin_undo();
    world.members.end();
    world.let_go();
    assert!(world.members.leave(|_| true));
    assert!(world.members.take_work().is_some());
    search(&mut world, 17);
}
