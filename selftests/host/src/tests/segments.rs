// SPDX-License-Identifier: GPL-2.0-only

//! Compares segments with a model that records every page, and with the ledger of pins.

use core::ops::{
    Deref,
    DerefMut, //
};

use kernel::{
    alloc::fault,
    prelude::*, //
};
use proptest::{
    prelude::{
        any,
        Strategy, //
    },
    prop_oneof, //
};

use crate::{
    ioas::{
        builder::Builder,
        segments::Segments, //
    },
    kapi::{
        ledger,
        mm::pin::Extent,
        units::{
            PageRange,
            PAGE_SHIFT, //
        }, //
    },
    tests::{
        memory::{
            batch,
            memory,
            pages,
            Batch,
            Memory,
            INDEXES, //
        },
        random::{
            ends,
            for_all,
            steps,
            Ends, //
        }, //
    }, //
};

/// Segments of a test, which may end with pages that have users.
pub(super) struct Fresh(Segments);

/// Returns segments without pages.
pub(super) fn fresh() -> Fresh {
    Fresh(Segments::new())
}

impl Deref for Fresh {
    type Target = Segments;

    fn deref(&self) -> &Segments {
        &self.0
    }
}

impl DerefMut for Fresh {
    fn deref_mut(&mut self) -> &mut Segments {
        &mut self.0
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Runs a closure that must not allocate.
fn without_memory<T>(f: impl FnOnce() -> T) -> T {
    let (value, failed) = fault::failing(0, f);
    assert!(!failed, "it allocates");
    value
}

/// The physical pages of a range, one by one. No run continues the one before it.
pub(super) fn physical(segments: &Segments, range: PageRange) -> Vec<u64> {
    let mut list: Vec<u64> = Vec::new();
    for run in segments.runs(range) {
        let first = run.phys() >> PAGE_SHIFT;
        assert_eq!(run.phys() % (1 << PAGE_SHIFT), 0);
        assert_ne!(run.npages(), 0);
        assert_ne!(list.last().map(|pfn| pfn + 1), Some(first));
        list.extend(first..first + run.npages());
    }
    list
}

/// How many pages each extent has, in the order of the pages.
pub(super) fn lists(segments: &Segments) -> Vec<u64> {
    let lists = segments.lists().flat_map(|(_, list)| list.iter());
    lists.map(Extent::npages).collect()
}

fn pages_of(ends: Ends) -> PageRange {
    pages(ends.first, ends.last)
}

struct Model {
    /// Users by page index.
    users: [u64; INDEXES as usize],
    /// Their ranges.
    ranges: Vec<Ends>,
}

impl Model {
    fn new() -> Self {
        Self {
            users: [0; INDEXES as usize],
            ranges: Vec::new(),
        }
    }

    /// Adds a user, or none if an allocation has failed.
    fn pinned(&mut self, range: Ends, (result, failed): (Result, bool)) {
        assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
        if !failed {
            self.ranges.push(range);
            range
                .numbers()
                .for_each(|index| self.users[index as usize] += 1);
        }
    }

    /// Removes a user and returns its range.
    fn unpinned(&mut self, user: usize) -> Ends {
        let range = self.ranges.swap_remove(user % self.ranges.len());
        range
            .numbers()
            .for_each(|index| self.users[index as usize] -= 1);
        range
    }

    fn held(&self, index: u64) -> bool {
        self.users[index as usize] != 0
    }

    fn compare(&self, segments: &Segments, memory: &Memory) {
        let held: Vec<u64> = (0..INDEXES).filter(|index| self.held(*index)).collect();
        assert_eq!(ledger::total(), held.len() as u64);
        assert_eq!(segments.pinned(), held.len() as u64);
        for index in 0..INDEXES {
            let pfn = memory.pfn(index);
            let pins = held
                .iter()
                .filter(|other| memory.pfn(**other) == pfn)
                .count();
            assert_eq!(ledger::pins(pfn), pins as u64, "page {index}");
            let mut extents = segments.extents_in(pages(index, index));
            let found = extents
                .next()
                .map(|(first, extent)| extent.pfn() + (index - first));
            assert_eq!(found, self.held(index).then_some(pfn), "page {index}");
            assert!(extents.next().is_none(), "page {index}");
        }
    }

    /// Compares what is said of a range.
    fn look_at(&self, segments: &Segments, memory: &Memory, Ends { first, last }: Ends) {
        let until = (first..=last)
            .find(|index| !self.held(*index))
            .unwrap_or(last + 1);
        let held = (first..=last).filter(|index| self.held(*index));
        let expected: Vec<u64> = held.map(|index| memory.pfn(index)).collect();
        let extents = segments.extents_in(pages(first, last));
        let all = extents.flat_map(|(index, extent)| {
            (0..extent.npages()).map(move |skip| (index + skip, extent.pfn() + skip))
        });
        let all = all.filter(|(index, _)| (first..=last).contains(index));
        let found: Vec<u64> = all.map(|(_, pfn)| pfn).collect();
        assert_eq!(found, expected, "{first} to {last}");

        let expected: Vec<u64> = (first..until).map(|index| memory.pfn(index)).collect();
        let found = physical(segments, pages(first, last));
        assert_eq!(found, expected, "{first} to {last}");

        let in_gaps = segments
            .gaps(pages(first, last))
            .flat_map(|gap| gap.start()..=gap.last());
        let expected: Vec<u64> = (first..=last).filter(|index| !self.held(*index)).collect();
        assert_eq!(in_gaps.collect::<Vec<_>>(), expected, "{first} to {last}");
    }
}

/// Returns the expected numbers of segments and extents for the pages that are pinned.
fn needed(memory: &Memory, users: &[Ends]) -> (usize, usize) {
    let (mut segments, mut extents) = (0, 0);
    for index in 0..INDEXES {
        let pinned = |at: u64| users.iter().any(|user| user.contains(at));
        if !pinned(index) {
            continue;
        }
        let first = index == 0 || !pinned(index - 1);
        let edge = |user: &Ends| user.first == index || user.last + 1 == index;
        let cut = first || users.iter().any(edge);
        segments += usize::from(cut);
        extents += usize::from(cut || memory.pfn(index) != memory.pfn(index - 1) + 1);
    }
    (segments, extents)
}

/// Returns the actual numbers of segments and extents.
fn kept(segments: &Segments) -> (usize, usize) {
    (segments.lists().count(), lists(segments).len())
}

/// Users are counted from the first one on, and from there again.
#[derive(Clone, Copy, Debug)]
enum Change {
    Pin {
        range: Ends,
        batch: Batch,
    },
    /// Divides the range of a user, if it has more pages than one. The page is counted from its second one
    /// on, and from there again.
    Divide {
        user: usize,
        at: u64,
        failing: u64,
    },
    Unpin {
        user: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let user = || 0..20usize;
    prop_oneof![
        3 => (ends(INDEXES), batch()).prop_map(|(range, batch)| Change::Pin { range, batch }),
        1 => (user(), 0..INDEXES, 0..=6u64)
            .prop_map(|(user, at, failing)| Change::Divide { user, at, failing }),
        2 => user().prop_map(|user| Change::Unpin { user }),
    ]
}

/// Segments and extents depend on the present users only, not on earlier ones.
#[test]
fn nothing_is_left_of_users_that_are_gone() {
    for_all(500, (memory(), steps(change(), 80)), |(memory, changes)| {
        let mut segments = fresh();
        let mut users: Vec<Ends> = vec![];
        for change in changes {
            match change {
                Change::Pin { range, batch } => {
                    let pinned = memory.pin_range(&mut segments, pages_of(range), batch);
                    pinned.expect("nothing fails");
                    users.push(range);
                }
                _ if users.is_empty() => {}
                Change::Divide { user, at, failing } => {
                    let user = user % users.len();
                    let Ends { first, last } = users[user];
                    if first == last {
                        continue;
                    }
                    let page = first + 1 + at % (last - first);
                    let (result, failed) = fault::failing(failing, || segments.divide(page));
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                    if !failed {
                        users[user].last = page - 1;
                        users.push(Ends { first: page, last });
                    }
                }
                Change::Unpin { user } => {
                    segments.put(pages_of(users.swap_remove(user % users.len())));
                }
            }
            assert_eq!(kept(&segments), needed(&memory, &users), "{users:?}");
        }
        for user in users {
            segments.put(pages_of(user));
        }
        assert_eq!((kept(&segments), ledger::total()), ((0, 0), 0));
    });
}

#[test]
fn pages_that_are_used_alone_for_a_moment_leave_nothing() {
    // One contiguous run, runs of 7 pages, and single pages.
    for run in [5000, 7, 1] {
        let runs = (0..5000).step_by(run);
        let memory = Memory(runs.map(|n| (n, 10_000 + n * 2)).collect());
        let whole = pages(0, 1999);
        let mut segments = fresh();
        memory
            .pin_range(&mut segments, whole, 512)
            .expect("nothing fails");
        let before = (kept(&segments), physical(&segments, whole));
        for index in 0..2000 {
            let page = pages(index * 1201 % 2000, index * 1201 % 2000);
            segments.cut(page).expect("nothing fails");
            segments.get(page);
            assert_eq!(segments.put(page).0, 0);
        }
        assert_eq!((kept(&segments), physical(&segments, whole)), before);
        assert_eq!(segments.put(whole).0, 2000);
        assert_eq!(ledger::total(), 0);
    }
}

/// Users are counted as in [`Change`]. The allocation of which `failing` is the number fails, if there are as many.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pin {
        range: Ends,
        batch: Batch,
        failing: u64,
    },
    /// The range of another user.
    PinAgain {
        user: usize,
        batch: Batch,
        failing: u64,
    },
    Unpin {
        user: usize,
        failing: u64,
    },
    Cut {
        range: Ends,
        failing: u64,
    },
    LookAt(Ends),
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..20usize;
    prop_oneof![
        3 => (ends(INDEXES), batch(), 0..=12u64)
            .prop_map(|(range, batch, failing)| Step::Pin { range, batch, failing }),
        2 => (user(), batch(), 0..=12u64)
            .prop_map(|(user, batch, failing)| Step::PinAgain { user, batch, failing }),
        4 => (user(), 0..=3u64).prop_map(|(user, failing)| Step::Unpin { user, failing }),
        1 => (ends(INDEXES), 0..=6u64).prop_map(|(range, failing)| Step::Cut { range, failing }),
        30 => ends(INDEXES).prop_map(Step::LookAt),
    ]
}

#[test]
fn a_page_is_pinned_while_it_has_a_user() {
    let inputs = (memory(), steps(step(), 240), any::<bool>());
    for_all(1000, inputs, |(memory, steps, unpin)| {
        let mut segments = fresh();
        let mut model = Model::new();

        for step in steps {
            match step {
                Step::LookAt(range) => {
                    model.look_at(&segments, &memory, range);
                    continue;
                }
                Step::Pin {
                    range,
                    batch,
                    failing,
                } => {
                    let pin = || memory.pin_range(&mut segments, pages_of(range), batch);
                    model.pinned(range, fault::failing(failing, pin));
                }
                Step::PinAgain {
                    user,
                    batch,
                    failing,
                } if !model.ranges.is_empty() => {
                    let range = model.ranges[user % model.ranges.len()];
                    let pin = || memory.pin_range(&mut segments, pages_of(range), batch);
                    model.pinned(range, fault::failing(failing, pin));
                }
                Step::Unpin { user, failing } if !model.ranges.is_empty() => {
                    let range = model.unpinned(user);
                    let gone = range.numbers().filter(|index| !model.held(*index)).count();
                    // Without memory it unpins the same pages but does not merge segments.
                    let put = || segments.put(pages_of(range)).0;
                    assert_eq!(fault::failing(failing, put).0, gone as u64);
                }
                Step::PinAgain { .. } | Step::Unpin { .. } => continue,
                Step::Cut { range, failing } => {
                    let cut = || segments.cut(pages_of(range));
                    let (result, failed) = fault::failing(failing, cut);
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                }
            }
            model.compare(&segments, &memory);
        }
        // Pages that are used until the end are unpinned when the segments are dropped.
        if unpin {
            for range in model.ranges {
                segments.put(pages_of(range));
            }
            assert!(segments.gaps(PageRange::ALL).eq([PageRange::ALL]));
            assert_eq!(ledger::total(), 0);
        }
        drop(segments);
        assert_eq!(ledger::total(), 0);
    });
}

/// Cuts at every place, with each allocation of the cut failing in turn.
#[test]
fn a_cut_that_fails_changes_nothing() {
    let layouts = [
        vec![(0, 100)],
        vec![(0, 100), (1, 200)],
        vec![(0, 100), (3, 200), (4, 300), (8, 400)],
        (0..10).map(|n| (n, 100 + n * 2)).collect(),
    ];
    for memory in layouts.map(Memory) {
        let whole = pages(0, 9);
        let expected: Vec<u64> = (0..10).map(|index| memory.pfn(index)).collect();
        for first in 0..10 {
            for last in first..10 {
                let mut nth = 0;
                loop {
                    let mut segments = fresh();
                    memory
                        .pin_range(&mut segments, whole, 10)
                        .expect("nothing fails");
                    let cut = || segments.cut(pages(first, last));
                    let (result, failed) = fault::failing(nth, cut);
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                    assert_eq!(physical(&segments, whole), expected);
                    assert_eq!((segments.pinned(), ledger::total()), (10, 10));
                    if !failed {
                        // A second cut at the same places allocates nothing.
                        assert_eq!(without_memory(|| segments.cut(pages(first, last))), Ok(()));
                        let inside = |found: &PageRange| pages(first, last).contains(found);
                        let inner = segments.lists().filter(|(found, _)| inside(found));
                        assert_eq!(
                            inner.map(|(found, _)| found.len()).sum::<u64>(),
                            last - first + 1
                        );
                        // A cut that no user needs is undone.
                        assert_eq!(segments.discard_unused(pages(first, last)), 0);
                    }
                    assert_eq!(segments.lists().count(), 1);
                    assert_eq!(segments.put(whole).0, 10);
                    assert_eq!((segments.pinned(), ledger::total()), (0, 0));
                    if !failed {
                        break;
                    }
                    nth += 1;
                }
                // A cut at the outer ends allocates nothing.
                assert_eq!(nth == 0, (first, last) == (0, 9));
            }
        }
    }
    assert_eq!(ledger::total(), 0);
}

#[test]
fn a_failed_pin_unpins_what_it_pinned() {
    let memory = Memory((0..20).map(|n| (n, 100 + n * 2)).collect());
    let mut nth = 0;
    loop {
        let mut segments = fresh();
        // The pages in the middle are pinned before and must stay pinned.
        memory
            .pin_range(&mut segments, pages(8, 11), 20)
            .expect("nothing fails");
        let pin = || memory.pin_range(&mut segments, pages(2, 17), 20);
        let (result, failed) = fault::failing(nth, pin);
        let expected = if failed { 8..=11 } else { 2..=17 };
        assert_eq!(result.is_err(), failed);
        for index in 0..20 {
            let pinned = expected.contains(&index);
            assert_eq!(
                ledger::pins(memory.pfn(index)),
                u64::from(pinned),
                "page {index}"
            );
            let mut extents = segments.extents_in(pages(index, index));
            assert_eq!(extents.next().is_some(), pinned, "page {index}");
        }
        if !failed {
            break;
        }
        nth += 1;
    }
    // Two gaps of 6 pages: a list and a node.
    assert_eq!(nth, 4);
}

#[test]
fn pins_of_overlapping_ranges_end_one_by_one() {
    let memory = Memory(vec![(0, 100)]);
    let mut segments = fresh();
    for (first, last) in [(0, 9), (5, 14), (5, 9), (0, 9)] {
        memory
            .pin_range(&mut segments, pages(first, last), 20)
            .expect("nothing fails");
    }
    assert_eq!(ledger::total(), 15);
    let table = [((5, 9), 0), ((0, 9), 0), ((5, 14), 5), ((0, 9), 10)];
    let mut left = 15;
    for ((first, last), unpinned) in table {
        assert_eq!(
            segments.put(pages(first, last)).0,
            unpinned,
            "{first} to {last}"
        );
        left -= unpinned;
        assert_eq!(ledger::total(), left);
    }
}

/// The example with numbers in Documentation/architecture.rst.
#[test]
fn the_example_of_the_documentation_holds() {
    let memory = Memory(vec![(0, 0x5000), (6, 0x9100)]);
    let (a, b) = (pages(0, 9), pages(4, 7));
    let pinned = || {
        let mut segments = fresh();
        for range in [a, b] {
            memory
                .pin_range(&mut segments, range, 10)
                .expect("nothing fails");
        }
        assert_eq!(kept(&segments), (3, 4));
        segments
    };

    let mut segments = pinned();
    assert_eq!(segments.put(a).0, 6);
    assert_eq!(kept(&segments), (1, 2));
    assert_eq!(segments.put(b).0, 4);

    let mut segments = pinned();
    assert_eq!(segments.put(b).0, 0);
    assert_eq!(kept(&segments), (1, 2));
    assert_eq!(segments.put(a).0, 10);
}

#[test]
fn unused_pages_alone_are_discarded() {
    let memory = Memory(vec![(0, 100)]);
    let mut segments = fresh();
    memory
        .pin_range(&mut segments, pages(4, 5), 20)
        .expect("nothing fails");
    for gap in [pages(0, 3), pages(6, 9)] {
        memory
            .pin(&mut Builder::new(0), &mut segments, gap, 20)
            .expect("nothing fails");
    }
    assert_eq!(ledger::total(), 10);
    // A segment that extends past the range is kept.
    assert_eq!(without_memory(|| segments.discard_unused(pages(0, 8))), 4);
    assert_eq!(without_memory(|| segments.discard_unused(pages(0, 9))), 4);
    assert_eq!(without_memory(|| segments.discard_unused(pages(0, 9))), 0);
    assert_eq!((ledger::pins(104), ledger::total()), (1, 2));
}

#[test]
fn extents_end_at_the_first_page_that_is_not_pinned() {
    let memory = Memory(vec![(0, 100), (5, 200)]);
    let mut segments = fresh();
    for (first, last) in [(2, 3), (4, 6), (8, 9)] {
        memory
            .pin_range(&mut segments, pages(first, last), 20)
            .expect("nothing fails");
    }
    let table: [(u64, u64, &[u64]); 7] = [
        (2, 9, &[102, 103, 104, 200, 201]),
        (3, 5, &[103, 104, 200]),
        (6, 9, &[201]),
        (7, 9, &[]),
        (0, 9, &[]),
        (9, u64::MAX, &[204]),
        (10, u64::MAX, &[]),
    ];
    for (first, last, expected) in table {
        assert_eq!(
            physical(&segments, pages(first, last)),
            expected,
            "{first} to {last}"
        );
    }
}

#[test]
#[should_panic(expected = "a warning")]
fn a_range_that_is_pinned_already_is_a_bug() {
    let mut segments = fresh();
    let memory = Memory(vec![(0, 100)]);
    let mut builder = Builder::new(0);
    memory
        .pin(&mut builder, &mut segments, pages(4, 7), 20)
        .expect("nothing fails");
    let again = memory.pin(&mut builder, &mut segments, pages(5, 6), 20);
    assert_eq!(again, Err(EINVAL));
}

#[test]
fn cuts_at_both_ends_of_64_bits() {
    let mut segments = fresh();
    let memory = Memory(vec![(0, 100)]);
    memory
        .pin_range(&mut segments, pages(0, 3), 20)
        .expect("nothing fails");
    let table = [
        (0, u64::MAX),
        (0, 0),
        (u64::MAX, u64::MAX),
        (2, u64::MAX),
        (3, 3),
    ];
    for (first, last) in table {
        assert_eq!(segments.cut(pages(first, last)), Ok(()));
        assert_eq!(physical(&segments, PageRange::ALL), [100, 101, 102, 103]);
    }
    assert_eq!(segments.put(pages(0, 3)).0, 4);
    assert!(segments.gaps(PageRange::ALL).eq([PageRange::ALL]));
}
