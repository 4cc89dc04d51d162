// SPDX-License-Identifier: GPL-2.0-only

//! Compares interval maps and gaps with a model that records every cell.

use std::rc::Rc;

use kernel::{
    alloc::fault,
    prelude::*, //
};
use proptest::{
    collection::vec,
    prelude::Strategy,
    prop_oneof, //
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
        ends,
        few,
        for_all,
        steps,
        Ends,
        Steps, //
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

fn range_of(cells: Ends) -> IovaRange {
    IovaRange::new(first_of(cells.first), last_of(cells.last)).expect("cells are in order")
}

const ALL_CELLS: Ends = Ends {
    first: 0,
    last: CELLS - 1,
};

/// The cells and the value of each range, unsorted.
#[derive(Default)]
struct Model(Vec<(Ends, u32)>);

impl Model {
    fn at(&self, cell: u64) -> Option<&(Ends, u32)> {
        self.0.iter().find(|(cells, _)| cells.contains(cell))
    }

    fn named(&self, range: Named) -> Ends {
        match range {
            Named::At(cell) => {
                let nothing = Ends {
                    first: cell,
                    last: cell,
                };
                self.at(cell).map_or(nothing, |(cells, _)| *cells)
            }
            Named::Exactly(cells) => cells,
        }
    }

    /// Returns the place in the list of a range that is in the map.
    fn place(&self, cells: Ends) -> Option<usize> {
        self.0.iter().position(|(other, _)| *other == cells)
    }

    /// Returns the ranges that intersect, in order.
    fn within(&self, cells: Ends) -> Vec<(IovaRange, u32)> {
        let mut found: Vec<_> = cells.numbers().filter_map(|cell| self.at(cell)).collect();
        found.dedup();
        found
            .iter()
            .map(|(cells, value)| (range_of(*cells), *value))
            .collect()
    }

    fn gaps(&self, within: Ends) -> Vec<IovaRange> {
        gaps_between(within, |cell| self.at(cell).is_some())
    }
}

/// The runs of cells that are not taken.
fn gaps_between(within: Ends, taken: impl Fn(u64) -> bool) -> Vec<IovaRange> {
    let mut gaps: Vec<Ends> = Vec::new();
    for cell in within.numbers().filter(|cell| !taken(*cell)) {
        match gaps.last_mut() {
            Some(gap) if gap.last + 1 == cell => gap.last = cell,
            _ => gaps.push(Ends {
                first: cell,
                last: cell,
            }),
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

/// Compares what is in a map, and what is said of a part of it.
fn compare(map: &Map, model: &Model, cells: Ends) {
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

/// A range that may be in a map.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The one that has a cell; the cell alone, if there is none.
    At(u64),
    Exactly(Ends),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(Ends),
    Remove(Named),
    /// After some of its cells.
    Split(Named, u64),
    /// The range that has a cell with the next one, whose value stays.
    Join(u64),
    Take(Named),
    RefuseToTake(Named),
    SetValue(Named),
    LookAt(Ends),
}

/// Steps with ranges of at most `longest` cells. Of short ones many fit; long ones intersect.
fn any_steps(longest: u64) -> impl Strategy<Value = Steps<Step>> {
    let cells = move || few(CELLS, longest);
    let named = move || {
        prop_oneof![
            3 => (0..CELLS).prop_map(Named::At),
            1 => cells().prop_map(Named::Exactly),
        ]
    };
    let step = prop_oneof![
        5 => cells().prop_map(Step::Insert),
        2 => named().prop_map(Step::Remove),
        2 => (named(), 0..=longest).prop_map(|(range, after)| Step::Split(range, after)),
        2 => (0..CELLS).prop_map(Step::Join),
        2 => (named(), proptest::bool::weighted(0.3)).prop_map(|(range, refuse)| {
            if refuse {
                Step::RefuseToTake(range)
            } else {
                Step::Take(range)
            }
        }),
        1 => named().prop_map(Step::SetValue),
        36 => ends(CELLS).prop_map(Step::LookAt),
    ];
    steps(step, 240)
}

/// Takes the first range within another one, and compares with what is there.
fn take(map: &mut Map, model: &mut Model, range: Named, refuse: bool) {
    let cells = model.named(range);
    let expected = model.within(cells).first().copied();
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
        model.0.retain(|(_, other)| *other != value);
    }
}

#[test]
fn a_map_does_what_its_model_does() {
    let inputs = prop_oneof![any_steps(1), any_steps(3), any_steps(CELLS)];
    for_all(800, inputs, |steps| {
        let mut map = Map::new();
        let mut model = Model::default();
        for (number, step) in (0..).zip(steps) {
            let vacancy = || Vacancy::new().expect("nothing fails");
            match step {
                Step::Insert(cells) => {
                    let free = model.within(cells).is_empty();
                    let result = insert(&mut map, range_of(cells), number);
                    assert_eq!(result, if free { Ok(()) } else { Err(number) });
                    if free {
                        model.0.push((cells, number));
                    }
                }
                Step::Remove(range) => {
                    let cells = model.named(range);
                    let removed = model.place(cells).map(|at| model.0.swap_remove(at).1);
                    assert_eq!(map.remove(range_of(cells)), removed);
                }
                Step::Split(range, after) => {
                    let cells = model.named(range);
                    let at = (cells.first + after).min(CELLS - 1);
                    let inside = cells.first < at && at <= cells.last;
                    let there = model.place(cells).filter(|_| inside);
                    let result = map.split(vacancy(), range_of(cells), first_of(at), number);
                    assert_eq!(result, if there.is_some() { Ok(()) } else { Err(number) });
                    if let Some(there) = there {
                        model.0[there].0.last = at - 1;
                        model.0.push((Ends { first: at, ..cells }, number));
                    }
                }
                Step::Join(cell) => {
                    let Some(head) = model.place(model.named(Named::At(cell))) else {
                        continue;
                    };
                    let (cells, value) = model.0[head];
                    let behind = Ends {
                        first: cells.last + 1,
                        ..ALL_CELLS
                    };
                    let Some((next, next_value)) = model.within(behind).first().copied() else {
                        continue;
                    };
                    let adjacent = range_of(cells).last().checked_add(1) == Some(next.start());
                    let joined = map.join(range_of(cells), next);
                    assert_eq!(joined, adjacent.then_some(value));
                    if adjacent {
                        model.0.swap_remove(head);
                        let mut all = model.0.iter_mut();
                        let tail = all.find(|(_, value)| *value == next_value);
                        tail.expect("it is there").0.first = cells.first;
                    }
                }
                Step::Take(range) => take(&mut map, &mut model, range, false),
                Step::RefuseToTake(range) => take(&mut map, &mut model, range, true),
                Step::SetValue(range) => {
                    let cells = model.named(range);
                    let ours = model.place(cells).map(|place| &mut model.0[place].1);
                    let theirs = map.get_mut(range_of(cells));
                    assert_eq!(theirs, ours);
                    if let (Some(theirs), Some(ours)) = (theirs, ours) {
                        (*theirs, *ours) = (number, number);
                    }
                }
                Step::LookAt(cells) => {
                    compare(&map, &model, cells);
                    continue;
                }
            }
            compare(&map, &model, ALL_CELLS);
            assert_eq!(found(map.iter()), model.within(ALL_CELLS));
            assert_eq!(map.is_empty(), model.0.is_empty());
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
    let inputs = (vec(ends(CELLS), 0..=6), ends(CELLS));
    for_all(3000, inputs, |(mut taken, within)| {
        // Ranges with the same start may be in any order.
        taken.sort_by_key(|cells| cells.first);
        let expected = gaps_between(within, |cell| {
            taken.iter().any(|cells| cells.contains(cell))
        });
        let ranges = taken.iter().map(|cells| (range_of(*cells), &()));
        let mut gaps = Gaps::new(ranges, range_of(within));
        assert_eq!(gaps.by_ref().collect::<Vec<_>>(), expected);
        assert_eq!(gaps.next(), None);
    });
}
