// SPDX-License-Identifier: GPL-2.0-only

//! Compares the room in the gaps of maps with a model that records every address.

use std::cell::Cell;

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
        cases,
        Random, //
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

/// Returns a random range, and the one in the map that has its first address if there is one.
fn pick(random: &mut Random, map: &Map) -> (IovaRange, Option<IovaRange>) {
    let (first, last) = random.ends_within(0..=ADDRESSES - 1);
    let at = IovaRange::at(first);
    let there = map.first_in(at).map(|(range, _)| range);
    (range(first, last.min(first + 5)), there)
}

/// Compares the room that the map knows with what is there.
fn compare(map: &mut Map, closed: &Closed, random: &mut Random) {
    let gaps = runs((0, ADDRESSES - 1), |at| {
        !map.first_in(IovaRange::at(at)).is_some()
    });
    let behind = map.iter().last().map_or(0, |(range, _)| range.last() + 1);

    for _ in 0..4 {
        let (first, last) = random.ends_within(0..=ADDRESSES - 1);
        let within = range(first, last);
        let least = random.within(1..=5);
        // The gap behind the last range is returned whatever its room is.
        let wanted = gaps
            .iter()
            .filter(|gap| gap.start() >= behind || room(closed, **gap) >= least);
        let expected: Vec<_> = wanted.filter_map(|gap| gap.intersection(&within)).collect();
        let known = map.room(|gap| room(closed, gap));
        let found: Vec<_> = known.gaps(within, least).collect();
        assert_eq!(found, expected, "room for {least} in {within:?}");
    }
}

#[test]
fn the_room_is_that_of_the_gaps() {
    cases(1500, |random| {
        let mut map = Map::new();
        let mut closed: Closed = [false; ADDRESSES as usize];

        for step in 0..60 {
            let (some, there) = pick(random, &map);
            match (random.within(0..=9), there) {
                (0..=3, _) => {
                    // Addresses that cannot be used are in no range.
                    let open = (some.start()..=some.last()).all(|at| !closed[at as usize]);
                    let free = !map.first_in(some).is_some();
                    if open {
                        let vacancy = Vacancy::new().expect("nothing fails");
                        let result = map.insert(vacancy, some, step);
                        assert_eq!(result.is_ok(), free);
                    }
                }
                (4, Some(there)) => assert!(map.remove(there).is_some()),
                (5, Some(_)) => {
                    let refuse = random.one_in(2);
                    let check = |_, _: &mut u64| if refuse { Err(()) } else { Ok(()) };
                    let taken = map.take_first_in(some, check);
                    assert_eq!(taken.map(|it| it.is_err()), Some(refuse));
                }
                (6, Some(there)) => {
                    let at = random.within(there.start()..=there.last());
                    let vacancy = Vacancy::new().expect("nothing fails");
                    let inside = at != there.start();
                    assert_eq!(map.split(vacancy, there, at, step).is_ok(), inside);
                }
                (7, Some(there)) => {
                    let next = there.last().checked_add(1).map(IovaRange::at);
                    let next = next.and_then(|at| map.first_in(at)).map(|(next, _)| next);
                    if let Some(next) = next {
                        assert!(map.join(there, next).is_some());
                    }
                }
                (8..=9, None) => {
                    let at = some.start();
                    closed[at as usize] = !closed[at as usize];
                    map.room_changed(IovaRange::at(at));
                }
                _ => {}
            }
            // Several changes come between two searches.
            if random.one_in(2) {
                compare(&mut map, &closed, random);
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
    cases(3000, |random| {
        let mut map = Map::new();
        for step in 0..random.within(0..=8) {
            let (some, _) = pick(random, &map);
            let vacancy = Vacancy::new().expect("nothing fails");
            let free = !map.first_in(some).is_some();
            assert_eq!(map.insert(vacancy, some, step).is_ok(), free);
        }
        let within = random.ends_within(0..=ADDRESSES - 1);
        let gaps = runs(within, |at| !map.first_in(IovaRange::at(at)).is_some());
        let expected = gaps.iter().map(IovaRange::len).max().unwrap_or(0);
        let within = range(within.0, within.1);
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
