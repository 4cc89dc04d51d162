// SPDX-License-Identifier: GPL-2.0-only

//! Random guests of the model in `world.rs`: they change their tables and say so, while devices and
//! PASIDs are attached, moved and detached.
//!
//! A request that is complete leaves no translation behind that the guest's tables have no more. No
//! device gets at tables that are not its guest's, and no descriptor names a domain, PASID or device
//! that does not have the first stage.

use std::cell::{
    Cell,
    RefCell, //
};

use super::{
    batch::{
        Asked,
        Memory, //
    },
    world::{
        Queue,
        World,
        NEIGHBOURS,
        PLACES,
        STAGES, //
    }, //
};
use crate::{
    drivers::vtd::{
        batch,
        range::LEAF, //
    },
    tests::random::{
        cases,
        times, //
    }, //
};

const STEPS: usize = 100_000;
const CASES: u64 = 50;

/// Changes the tables of a first stage and returns the request that makes it known.
fn change(world: &mut World, stage: usize) -> Asked {
    let page = world.any_page();
    let (kind, count) = (world.random.within(0..=9), world.random.within(1..=9));
    let leaf = if world.random.one_in(2) { LEAF } else { 0 };
    let (tables, version) = world.tables(stage);
    match kind {
        0 => {
            tables.directories.insert(page >> 9, version);
            ((page >> 9) << 9, 512, 0)
        }
        1 => {
            let pages = PLACES.iter().flat_map(|place| *place..*place + NEIGHBOURS);
            tables.leaves.extend(pages.map(|page| (page, version)));
            (0, u64::MAX, leaf)
        }
        2..=4 => {
            let pages = page..page + count;
            tables.leaves.extend(pages.map(|page| (page, version)));
            (page, count, LEAF)
        }
        _ => {
            tables.leaves.insert(page, version);
            (page, 1, leaf)
        }
    }
}

#[test]
fn nothing_stale_nothing_foreign() {
    let (seen_stale, of_others, unattached) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count =
        |counter: &Cell<usize>, is_so: bool| counter.set(counter.get() + usize::from(is_so));
    cases(CASES, |random| {
        let world = RefCell::new(World::new(random));
        for _ in 0..STEPS / CASES as usize {
            let stage = random.within(0..=STAGES as u64 - 1) as usize;
            let mut moved = world.borrow_mut();
            if random.one_in(4) {
                moved.attach_any();
            }
            moved.traffic(random.within(1..=12));
            let requests: Vec<_> = (0..random.within(1..=5))
                .map(|_| change(&mut moved, stage))
                .collect();
            count(&seen_stale, moved.stale().is_some());
            let before = moved.cached_of_others(stage);
            drop(moved);
            let queue = Queue {
                world: &world,
                stage,
                submissions: Cell::new(0),
            };
            let mut source = Memory {
                requests: &requests,
                next: 0,
                bad: None,
            };
            let all = requests.len() as u32;
            let answer = batch::carry_out(&queue, &mut source, all);
            assert_eq!((answer.done, answer.result), (all, Ok(())));
            count(&unattached, answer.submissions == Some(0));
            let world = world.borrow();
            let left = world.stale();
            assert!(left.is_none(), "{left:?} is stale after {requests:x?}");
            // What others have cached stays.
            assert!(world.cached_of_others(stage) >= before);
            count(&of_others, before > 0);
        }
    });
    // The caches do hold what the guest has changed, and what is others', or the test would find nothing.
    assert!(seen_stale.get() > STEPS / 10, "{}", seen_stale.get());
    assert!(of_others.get() > STEPS / 2);
    assert!(unattached.get() > STEPS / 1000);
    assert!(unattached.get() < STEPS / 4 * times() as usize);
}
