// SPDX-License-Identifier: GPL-2.0-only

//! Compares the room in the gaps of maps with a model that records every address.

use std::cell::Cell;

use proptest::{
    collection::vec,
    prelude::{
        any,
        Strategy, //
    },
    prop_oneof, //
};

use crate::{
    ioas::{
        interval::{
            IntervalMap,
            Vacancy, //
        },
        room::Room, //
    },
    kapi::units::{
        IovaRange,
        IovaUnit, //
    },
    tests::random::{
        ends,
        few,
        for_all,
        steps,
        Ends, //
    }, //
};

/// The addresses of the model.
const ADDRESSES: u64 = 48;

type Map = IntervalMap<IovaUnit, u64>;

/// The addresses that are in no range but cannot be used.
type Closed = [bool; ADDRESSES as usize];

fn range(first: u64, last: u64) -> IovaRange {
    IovaRange::new(first, last).expect("in order")
}

/// Returns the runs of addresses in `within` of which `free` is true.
fn runs(within: (u64, u64), free: impl Fn(u64) -> bool) -> Vec<IovaRange> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for at in (within.0..=within.1).filter(|at| free(*at)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == at => *last = at,
            _ => runs.push((at, at)),
        }
    }
    runs.into_iter()
        .map(|(first, last)| range(first, last))
        .collect()
}

/// Returns the room in a gap: its longest run of addresses that can be used.
fn room(closed: &Closed, gap: IovaRange) -> u64 {
    let end = ADDRESSES - 1;
    let (first, last) = (gap.start().min(end), gap.last().min(end));
    let open = runs((first, last), |at| !closed[at as usize]);
    open.iter().map(IovaRange::len).max().unwrap_or(0)
}

/// Returns the range of the map that has an address.
fn there(map: &Map, at: u64) -> Option<IovaRange> {
    map.first_in(IovaRange::at(at)).map(|(range, _)| range)
}

fn is_free(map: &Map, at: u64) -> bool {
    there(map, at).is_none()
}

/// Compares the room that the map knows with what is there.
fn compare(map: &mut Map, closed: &Closed, within: Ends, least: u64) {
    let gaps = runs((0, ADDRESSES - 1), |at| is_free(map, at));
    let behind = map.iter().last().map_or(0, |(range, _)| range.last() + 1);
    let within = range(within.first, within.last);
    // The gap behind the last range is returned whatever its room is.
    let wanted = gaps
        .iter()
        .filter(|gap| gap.start() >= behind || room(closed, **gap) >= least);
    let expected: Vec<_> = wanted.filter_map(|gap| gap.intersection(&within)).collect();
    let known = map.room(|gap| room(closed, gap));
    let found: Vec<_> = known.gaps(within, least).collect();
    assert_eq!(found, expected, "room for {least} in {within:?}");
}

/// A number alone is an address: of the range that has it, or that is in none.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(Ends),
    Remove(u64),
    TakeFirst { within: Ends, refuse: bool },
    Split { range: u64, after: u64 },
    JoinWithNext(u64),
    CloseOrOpen(u64),
    LookFor { least: u64, within: Ends },
}

fn any_step() -> impl Strategy<Value = Step> {
    let address = || 0..ADDRESSES;
    let some = || few(ADDRESSES, 6);
    prop_oneof![
        4 => some().prop_map(Step::Insert),
        1 => address().prop_map(Step::Remove),
        1 => (some(), any::<bool>()).prop_map(|(within, refuse)| Step::TakeFirst { within, refuse }),
        1 => (address(), 0..=5u64).prop_map(|(range, after)| Step::Split { range, after }),
        1 => address().prop_map(Step::JoinWithNext),
        2 => address().prop_map(Step::CloseOrOpen),
        // Several changes come between two searches.
        20 => (1..=5u64, ends(ADDRESSES))
            .prop_map(|(least, within)| Step::LookFor { least, within }),
    ]
}

#[test]
fn the_room_is_that_of_the_gaps() {
    for_all(2500, steps(any_step(), 240), |steps| {
        let mut map = Map::new();
        let mut closed: Closed = [false; ADDRESSES as usize];

        for (number, step) in (0..).zip(steps) {
            let vacancy = || Vacancy::new().expect("nothing fails");
            match step {
                Step::Insert(cells) => {
                    // Addresses that cannot be used are in no range.
                    let open = cells.numbers().all(|at| !closed[at as usize]);
                    let free = cells.numbers().all(|at| is_free(&map, at));
                    if open {
                        let new = range(cells.first, cells.last);
                        assert_eq!(map.insert(vacancy(), new, number).is_ok(), free);
                    }
                }
                Step::Remove(at) => {
                    if let Some(there) = there(&map, at) {
                        assert!(map.remove(there).is_some());
                    }
                }
                Step::TakeFirst { within, refuse } => {
                    let any = within.numbers().any(|at| !is_free(&map, at));
                    let check = |_, _: &mut u64| if refuse { Err(()) } else { Ok(()) };
                    let taken = map.take_first_in(range(within.first, within.last), check);
                    assert_eq!(taken.map(|it| it.is_err()), any.then_some(refuse));
                }
                Step::Split { range, after } => {
                    if let Some(there) = there(&map, range) {
                        let at = there.start() + after;
                        let inside = after != 0 && at <= there.last();
                        assert_eq!(map.split(vacancy(), there, at, number).is_ok(), inside);
                    }
                }
                Step::JoinWithNext(at) => {
                    if let Some(one) = there(&map, at) {
                        if let Some(next) = there(&map, one.last() + 1) {
                            assert!(map.join(one, next).is_some());
                        }
                    }
                }
                Step::CloseOrOpen(at) => {
                    if is_free(&map, at) {
                        closed[at as usize] = !closed[at as usize];
                        map.room_changed(IovaRange::at(at));
                    }
                }
                Step::LookFor { least, within } => compare(&mut map, &closed, within, least),
            }
        }
    });
}

/// All of a gap is room.
fn whole(map: &mut Map) -> Room<'_, u64> {
    map.room(|gap| gap.len())
}

#[test]
fn the_largest_gap_of_a_part() {
    let inputs = (vec(few(ADDRESSES, 6), 0..=8), ends(ADDRESSES));
    for_all(3000, inputs, |(taken, within)| {
        let mut map = Map::new();
        for some in taken {
            let vacancy = Vacancy::new().expect("nothing fails");
            let free = some.numbers().all(|at| is_free(&map, at));
            let some = range(some.first, some.last);
            assert_eq!(map.insert(vacancy, some, 0).is_ok(), free);
        }
        let gaps = runs((within.first, within.last), |at| is_free(&map, at));
        let expected = gaps.iter().map(IovaRange::len).max().unwrap_or(0);
        let within = range(within.first, within.last);
        assert_eq!(whole(&mut map).largest_gap(within), expected);
    });
}

#[test]
fn room_is_found_for_some_gaps_at_a_time() {
    let mut map = Map::new();
    for at in 0..100 {
        let vacancy = Vacancy::new().expect("nothing fails");
        assert_eq!(map.insert(vacancy, IovaRange::at(2 * at), 0), Ok(()));
    }
    let seen = Cell::new(0);
    let room = |gap: IovaRange| {
        seen.set(seen.get() + 1);
        gap.len()
    };
    let mut times = 1;
    while !map.find_some_room(10, room) {
        assert!(seen.get() <= 10 * times);
        times += 1;
    }
    // There is no gap before the first range.
    assert_eq!((seen.get(), times), (99, 10));
    assert_eq!(map.room(room).gaps(IovaRange::ALL, 2).count(), 1);
    // It was known.
    assert_eq!(seen.get(), 99);
}

#[test]
fn gaps_at_both_ends_of_64_bits() {
    let max = u64::MAX;
    let mut map = Map::new();
    let all = |map: &mut Map| whole(map).gaps(IovaRange::ALL, 1).collect::<Vec<_>>();
    let largest = |map: &mut Map| whole(map).largest_gap(IovaRange::ALL);
    let insert = |map: &mut Map, range| {
        let vacancy = Vacancy::new().expect("nothing fails");
        assert_eq!(map.insert(vacancy, range, 0), Ok(()));
    };
    assert_eq!(all(&mut map), [IovaRange::ALL]);
    assert_eq!(largest(&mut map), max);

    // This gap has more addresses than a weight can say.
    insert(&mut map, range(max, max));
    assert_eq!(all(&mut map), [range(0, max - 1)]);
    assert_eq!(largest(&mut map), max);
    insert(&mut map, range(0, 0));
    assert_eq!(all(&mut map), [range(1, max - 1)]);
    assert_eq!(largest(&mut map), max - 1);
    assert_eq!(map.remove(IovaRange::at(0)), Some(0));
    assert_eq!(all(&mut map), [range(0, max - 1)]);
    insert(&mut map, range(0, max - 1));
    assert!(all(&mut map).is_empty());
    assert_eq!(largest(&mut map), 0);
}
