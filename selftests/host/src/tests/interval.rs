// SPDX-License-Identifier: GPL-2.0-only

//! Compares interval maps and gaps with a model that records every cell.

use std::rc::Rc;

use kernel::{
    alloc::fault,
    prelude::*, //
};

use crate::{
    ioas::interval::{
        Gaps,
        IntervalMap,
        Vacancy, //
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

type Map = IntervalMap<IovaUnit, u32>;

/// The 64-bit numbers as cells: a cell per number at both ends, and one cell for all between.
const CELLS: u64 = 41;
const MIDDLE: u64 = CELLS / 2;

fn first_of(cell: u64) -> u64 {
    if cell <= MIDDLE {
        cell
    } else {
        u64::MAX - (CELLS - 1 - cell)
    }
}

fn last_of(cell: u64) -> u64 {
    if cell < MIDDLE {
        cell
    } else {
        u64::MAX - (CELLS - 1 - cell)
    }
}

fn range_of((first, last): (u64, u64)) -> IovaRange {
    IovaRange::new(first_of(first), last_of(last)).expect("cells are in order")
}

/// The first cell, the last cell and the value of each range, unsorted.
#[derive(Default)]
struct Model(Vec<(u64, u64, u32)>);

impl Model {
    fn at(&self, cell: u64) -> Option<&(u64, u64, u32)> {
        self.0
            .iter()
            .find(|(first, last, _)| *first <= cell && cell <= *last)
    }

    /// Returns the ranges that intersect, in order.
    fn within(&self, (first, last): (u64, u64)) -> Vec<(IovaRange, u32)> {
        let mut found: Vec<_> = (first..=last).filter_map(|cell| self.at(cell)).collect();
        found.dedup();
        found
            .iter()
            .map(|(first, last, value)| (range_of((*first, *last)), *value))
            .collect()
    }

    fn gaps(&self, within: (u64, u64)) -> Vec<IovaRange> {
        gaps_between(within, |cell| self.at(cell).is_some())
    }
}

/// The runs of cells that are not taken.
fn gaps_between(within: (u64, u64), taken: impl Fn(u64) -> bool) -> Vec<IovaRange> {
    let mut gaps: Vec<(u64, u64)> = Vec::new();
    for cell in (within.0..=within.1).filter(|cell| !taken(*cell)) {
        match gaps.last_mut() {
            Some((_, last)) if *last + 1 == cell => *last = cell,
            _ => gaps.push((cell, cell)),
        }
    }
    gaps.into_iter().map(range_of).collect()
}

fn insert(map: &mut Map, range: IovaRange, value: u32) -> Result<(), u32> {
    map.insert(Vacancy::new().expect("nothing fails"), range, value)
}

fn found<'a>(list: impl Iterator<Item = (IovaRange, &'a u32)>) -> Vec<(IovaRange, u32)> {
    list.map(|(range, value)| (range, *value)).collect()
}

fn compare(map: &Map, model: &Model, random: &mut Random) {
    assert_eq!(found(map.iter()), model.within((0, CELLS - 1)));
    assert_eq!(map.is_empty(), model.0.is_empty());
    assert_eq!(
        map.gaps_in(IovaRange::ALL).collect::<Vec<_>>(),
        model.gaps((0, CELLS - 1))
    );
    for _ in 0..4 {
        let cells = random.ends_within(0..=CELLS - 1);
        let within = range_of(cells);
        let expected = model.within(cells);
        assert_eq!(found(map.iter_in(within)), expected, "{within:#x?}");
        let first = map.first_in(within).map(|(range, value)| (range, *value));
        assert_eq!(first, expected.first().copied(), "{within:#x?}");
        assert_eq!(
            map.gaps_in(within).collect::<Vec<_>>(),
            model.gaps(cells),
            "{within:#x?}"
        );
    }
}

#[test]
fn a_map_does_what_its_model_does() {
    cases(400, |random| {
        let mut map = Map::new();
        let mut model = Model::default();
        // With short ranges many fit; long ones intersect.
        let longest = *random.pick(&[1, 3, CELLS]);
        for step in 0..60 {
            let (first, mut last) = random.ends_within(0..=CELLS - 1);
            last = last.min(first + longest - 1);
            match random.within(0..=13) {
                0..=4 => {
                    let free = model.within((first, last)).is_empty();
                    let result = insert(&mut map, range_of((first, last)), step);
                    assert_eq!(result, if free { Ok(()) } else { Err(step) });
                    if free {
                        model.0.push((first, last, step));
                    }
                }
                5..=6 => {
                    let cells = model.at(first).map_or((first, last), |(f, l, _)| (*f, *l));
                    // Tries to remove a range that may not be in the map in one of four cases.
                    let cells = if random.one_in(4) {
                        (first, last)
                    } else {
                        cells
                    };
                    let there = model.0.iter().position(|(f, l, _)| (*f, *l) == cells);
                    let removed = there.map(|at| model.0.swap_remove(at).2);
                    assert_eq!(map.remove(range_of(cells)), removed);
                }
                7..=8 => {
                    let cells = model.at(first).map_or((first, last), |(f, l, _)| (*f, *l));
                    let at = random.within(cells.0..=CELLS - 1);
                    let there = model.0.iter_mut().find(|(f, l, _)| (*f, *l) == cells);
                    let there = there.filter(|(f, l, _)| *f < at && at <= *l);
                    let vacancy = Vacancy::new().expect("nothing fails");
                    let result = map.split(vacancy, range_of(cells), first_of(at), step);
                    assert_eq!(result, if there.is_some() { Ok(()) } else { Err(step) });
                    if let Some((_, end, _)) = there {
                        let tail = (at, core::mem::replace(end, at - 1), step);
                        model.0.push(tail);
                    }
                }
                9..=10 => {
                    // The value of the second range stays.
                    let ours = model.within((0, CELLS - 1));
                    let at = random.within(0..=ours.len() as u64) as usize;
                    let (Some(one), Some(two)) = (ours.get(at), ours.get(at + 1)) else {
                        continue;
                    };
                    let next = one.0.last().checked_add(1) == Some(two.0.start());
                    assert_eq!(map.join(one.0, two.0), next.then_some(one.1));
                    if next {
                        let head = model.0.iter().position(|(.., value)| *value == one.1);
                        let (first, ..) = model.0.swap_remove(head.expect("it is there"));
                        let tail = model.0.iter_mut().find(|(.., value)| *value == two.1);
                        tail.expect("it is there").0 = first;
                    }
                }
                11..=12 => {
                    let cells = match model.at(first) {
                        Some((first, last, _)) if random.one_in(2) => (*first, *last),
                        _ => (first, last),
                    };
                    let expected = model.within(cells).first().copied();
                    let refuse = random.one_in(3);
                    let taken = map.take_first_in(range_of(cells), |range, value| {
                        assert_eq!(Some((range, *value)), expected);
                        if refuse {
                            Err(())
                        } else {
                            Ok(())
                        }
                    });
                    let taken = taken.map(|it| it.map(|it| (it.range(), *it.value())));
                    let result = expected.map(|it| if refuse { Err(()) } else { Ok(it) });
                    assert_eq!(taken, result);
                    if let Some(Ok((_, value))) = taken {
                        model.0.retain(|(.., other)| *other != value);
                    }
                }
                _ => {
                    let cells = model.at(first).map_or((first, last), |(f, l, _)| (*f, *l));
                    let cells = if random.one_in(4) {
                        (first, last)
                    } else {
                        cells
                    };
                    let ours = model.0.iter_mut().find(|(f, l, _)| (*f, *l) == cells);
                    let theirs = map.get_mut(range_of(cells));
                    assert_eq!(theirs.is_some(), ours.is_some());
                    if let (Some(theirs), Some((_, _, ours))) = (theirs, ours) {
                        assert_eq!(theirs, ours);
                        (*theirs, *ours) = (step, step);
                    }
                }
            }
            compare(&map, &model, random);
        }
    });
}

#[test]
fn ranges_at_both_ends_of_64_bits() {
    let max = u64::MAX;
    let mut map = Map::new();
    assert_eq!(insert(&mut map, IovaRange::ALL, 1), Ok(()));
    for (start, last) in [(0, 0), (max, max), (0, max), (5, 6)] {
        let within = IovaRange::new(start, last).expect("in order");
        assert_eq!(found(map.iter_in(within)), [(IovaRange::ALL, 1)]);
        assert_eq!(insert(&mut map, within, 2), Err(2));
        assert!(map.gaps_in(within).next().is_none());
    }
    // Neither part may be empty.
    let mut split =
        |range, at, value| map.split(Vacancy::new().expect("nothing fails"), range, at, value);
    let range = |start, last| IovaRange::new(start, last).expect("in order");
    let (head, tail) = (range(0, 9), range(10, max));
    assert_eq!(split(IovaRange::ALL, 0, 3), Err(3));
    assert_eq!(split(tail, 11, 3), Err(3));
    assert_eq!(split(IovaRange::ALL, 10, 3), Ok(()));
    assert_eq!(split(IovaRange::ALL, 10, 4), Err(4));
    assert_eq!(split(tail, 10, 4), Err(4));
    assert_eq!(split(tail, max, 4), Ok(()));
    let (middle, end) = (range(10, max - 1), range(max, max));
    assert_eq!(found(map.iter()), [(head, 1), (middle, 3), (end, 4)]);
    assert!(map.gaps_in(IovaRange::ALL).next().is_none());
    assert_eq!(map.remove(tail), None);
    assert_eq!(map.remove(range(5, 9)), None);
    assert_eq!(map.remove(middle), Some(3));
    assert_eq!(map.remove(middle), None);
    assert_eq!(map.gaps_in(IovaRange::ALL).collect::<Vec<_>>(), [middle]);
}

#[test]
fn only_a_vacancy_allocates() {
    let range = IovaRange::new(5, 9).expect("in order");
    let (vacancy, _) = fault::failing(0, Vacancy::<IovaUnit, u32>::new);
    assert_eq!(vacancy.err(), Some(ENOMEM));

    let mut map = Map::new();
    let (one, other, third) = (Vacancy::new(), Vacancy::new(), Vacancy::new());
    let (result, failed) = fault::failing(0, || {
        assert_eq!(map.insert(one?, range, 1), Ok(()));
        assert_eq!(map.insert(other?, range, 2), Err(2));
        assert_eq!(map.split(third?, range, 8, 3), Ok(()));
        assert_eq!(map.iter().count() + map.gaps_in(IovaRange::ALL).count(), 4);
        assert_eq!(map.remove(IovaRange::new(5, 7).ok_or(EINVAL)?), Some(1));
        Ok::<_, Error>(())
    });
    assert_eq!((result, failed), (Ok(()), false));
}

#[test]
fn values_are_dropped_once() {
    let value = Rc::new(());
    let mut map: IntervalMap<IovaUnit, Rc<()>> = IntervalMap::new();
    for start in 0..4 {
        let range = IovaRange::new(start * 10, start * 10 + 9).expect("in order");
        assert!(map
            .insert(Vacancy::new().expect("nothing fails"), range, value.clone())
            .is_ok());
        let refused = map.insert(Vacancy::new().expect("nothing fails"), range, value.clone());
        assert!(refused.is_err());
    }
    assert_eq!(Rc::strong_count(&value), 5);
    drop(map.remove(IovaRange::new(10, 19).expect("in order")));
    assert_eq!(Rc::strong_count(&value), 4);
    drop(map);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn gaps_between_ranges_that_may_intersect() {
    cases(3000, |random| {
        let count = random.within(0..=6);
        let mut taken: Vec<_> = (0..count)
            .map(|_| random.ends_within(0..=CELLS - 1))
            .collect();
        // Ranges with the same start may be in any order.
        taken.sort_by_key(|(first, _)| *first);
        let within = random.ends_within(0..=CELLS - 1);
        let expected = gaps_between(within, |cell| {
            taken
                .iter()
                .any(|(first, last)| *first <= cell && cell <= *last)
        });
        let ranges = taken.iter().map(|cells| (range_of(*cells), &()));
        let mut gaps = Gaps::new(ranges, range_of(within));
        let found: Vec<_> = gaps.by_ref().collect();
        assert_eq!(found, expected, "{taken:?} in {within:?}");
        assert_eq!(gaps.next(), None);
    });
}
