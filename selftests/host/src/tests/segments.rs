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

use crate::{
    ioas::{
        builder::Builder,
        segments::Segments, //
    },
    kapi::{
        ledger,
        mm::pin::{
            pin_pages,
            Extent, //
        },
        units::{
            PageRange,
            PAGE_SHIFT, //
        }, //
    },
    tests::random::{
        cases,
        Random, //
    }, //
};

/// The physical memory by page index: the first index of each contiguous run and its PFN.
#[derive(Clone, Debug)]
pub(super) struct Memory(pub(super) Vec<(u64, u64)>);

/// The maximum number of pages pinned by one call.
pub(super) type Batch = u64;

impl Memory {
    pub(super) fn pfn(&self, index: u64) -> u64 {
        let run = self.0.iter().rev().find(|(first, _)| *first <= index);
        let (first, pfn) = run.expect("the first run begins at 0");
        pfn + (index - first)
    }

    /// Returns the last index of the run that contains `index`, or `last` if that is lower.
    fn end_of_run(&self, index: u64, last: u64) -> u64 {
        let mut end = index;
        while end < last && self.pfn(end + 1) == self.pfn(end) + 1 {
            end += 1;
        }
        end
    }

    /// Pins a range, `batch` pages at a time, as `kapi/mm/pin.rs` does: within a batch each extent
    /// is as long as possible.
    pub(super) fn batches(
        &self,
        range: PageRange,
        batch: Batch,
    ) -> impl Iterator<Item = Vec<Result<Extent>>> + '_ {
        let mut index = range.start();
        core::iter::from_fn(move || {
            let end = range.last().min(index.saturating_add(batch - 1)) + 1;
            let mut extents = Vec::new();
            while index < end {
                let last = self.end_of_run(index, end - 1);
                extents.push(Ok(pin_pages(self.pfn(index), last - index + 1)));
                index = last + 1;
            }
            (!extents.is_empty()).then_some(extents)
        })
    }

    /// Pins a range and stores it in segments through a builder, as `PendingPin::pin` does.
    fn pin(
        &self,
        builder: &mut Builder,
        to: &mut Segments,
        gap: PageRange,
        batch: Batch,
    ) -> Result {
        *builder = Builder::new(gap.start());
        let mut told = Vec::new();
        let mut complete = |extents: &[Extent]| {
            told.extend(extents.iter().flat_map(pfns));
            Ok(())
        };
        for extents in self.batches(gap, batch) {
            builder.push(&mut extents.into_iter())?;
        }
        builder.finish(to, &mut complete)?;
        assert!(told
            .into_iter()
            .eq((gap.start()..=gap.last()).map(|index| self.pfn(index))));
        Ok(())
    }

    /// Pins the pages of a range that are not pinned and adds a user of the range, as `Pages::pin`
    /// does. Changes nothing on failure.
    pub(super) fn pin_range(
        &self,
        segments: &mut Segments,
        range: PageRange,
        batch: Batch,
    ) -> Result {
        // The most that `Pages::pin_present` is asked for.
        let few = range.len() <= batch.min(8);
        if few && segments.gaps(range).next() == Some(range) {
            return self.pin_present(segments, range);
        }
        segments.cut(range)?;
        let before = segments.pinned();
        let mut builder = Builder::new(range.start());
        let result = (|| loop {
            let gap = segments.gaps(range).next();
            let Some(gap) = gap else { return Ok(()) };
            self.pin(&mut builder, segments, gap, batch)?;
        })();
        drop(builder);
        match result {
            Ok(()) => segments.get(range),
            Err(_) => {
                let stored = segments.pinned() - before;
                // Without memory it unpins the same pages but does not merge segments.
                let discard = || segments.discard_unused(range);
                assert_eq!(fault::failing(0, discard).0, stored);
            }
        }
        result
    }
}

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

/// The pages of an extent.
pub(super) fn pfns(extent: &Extent) -> impl Iterator<Item = u64> {
    extent.pfn()..extent.pfn() + extent.npages()
}

pub(super) fn pages(first: u64, last: u64) -> PageRange {
    PageRange::new(first, last).expect("in order")
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

pub(super) const INDEXES: u64 = 40;

/// Users by page index.
struct Model {
    users: [u64; INDEXES as usize],
}

impl Model {
    fn held(&self, index: u64) -> bool {
        self.users[index as usize] != 0
    }

    fn compare(&self, segments: &Segments, memory: &Memory, random: &mut Random) {
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
        for _ in 0..4 {
            let (first, last) = random.ends_within(0..=INDEXES - 1);
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
}

/// Returns memory with runs of random length: scattered pages, or a few long runs.
pub(super) fn memory(random: &mut Random) -> Memory {
    let longest = *random.pick(&[1, 4, INDEXES]);
    let mut runs = Vec::new();
    let mut index = 0;
    while index < INDEXES {
        // Runs may follow one another in memory, and share pages with others.
        let pfn = match runs.last() {
            Some((first, pfn)) if random.one_in(4) => pfn + (index - first),
            _ => 1000 + random.within(0..=60),
        };
        runs.push((index, pfn));
        index += random.within(1..=longest);
    }
    Memory(runs)
}

/// Returns the expected numbers of segments and extents for the pages that are pinned.
fn needed(memory: &Memory, users: &[(u64, u64)]) -> (usize, usize) {
    let (mut segments, mut extents) = (0, 0);
    for index in 0..INDEXES {
        let pinned = |at: u64| {
            users
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&at))
        };
        if !pinned(index) {
            continue;
        }
        let first = index == 0 || !pinned(index - 1);
        let edge = |(first, last): &(u64, u64)| *first == index || last + 1 == index;
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

/// Segments and extents depend on the present users only, not on earlier ones.
#[test]
fn nothing_is_left_of_users_that_are_gone() {
    cases(300, |random| {
        let memory = memory(random);
        let mut segments = fresh();
        let mut users: Vec<(u64, u64)> = vec![];
        for _ in 0..60 {
            let ends = random.ends_within(0..=INDEXES - 1);
            let at = random.within(0..=users.len().saturating_sub(1) as u64) as usize;
            if users.is_empty() || random.one_in(2) {
                let batch = *random.pick(&[1, 3, INDEXES]);
                memory
                    .pin_range(&mut segments, pages(ends.0, ends.1), batch)
                    .expect("nothing fails");
                users.push(ends);
            } else if random.one_in(3) {
                // Divides a user's range before a page, if it has more than one.
                let (first, last) = users[at];
                if first == last {
                    continue;
                }
                let page = random.within(first + 1..=last);
                let nth = random.within(0..=6);
                let (result, failed) = fault::failing(nth, || segments.divide(page));
                assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                if !failed {
                    users[at] = (first, page - 1);
                    users.push((page, last));
                }
            } else {
                let (first, last) = users.swap_remove(at);
                segments.put(pages(first, last));
            }
            assert_eq!(kept(&segments), needed(&memory, &users), "{users:?}");
        }
        for (first, last) in users {
            segments.put(pages(first, last));
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

#[test]
fn a_page_is_pinned_while_it_has_a_user() {
    cases(600, |random| {
        let memory = memory(random);
        let mut segments = fresh();
        let mut model = Model {
            users: [0; INDEXES as usize],
        };
        let mut pins: Vec<(u64, u64)> = Vec::new();

        for _ in 0..40 {
            let (first, last) = random.ends_within(0..=INDEXES - 1);
            match random.within(0..=9) {
                0..=4 => {
                    // Half of the new users take the range of an existing one.
                    let ends = match pins.as_slice() {
                        [] => (first, last),
                        _ if random.one_in(2) => (first, last),
                        some => *random.pick(some),
                    };
                    let batch = *random.pick(&[1, 3, INDEXES]);
                    let nth = random.within(0..=12);
                    let range = pages(ends.0, ends.1);
                    let (result, failed) =
                        fault::failing(nth, || memory.pin_range(&mut segments, range, batch));
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                    if result.is_ok() {
                        pins.push(ends);
                        (ends.0..=ends.1).for_each(|index| model.users[index as usize] += 1);
                    }
                }
                5..=8 if !pins.is_empty() => {
                    let at = random.within(0..=pins.len() as u64 - 1);
                    let (first, last) = pins.swap_remove(at as usize);
                    (first..=last).for_each(|index| model.users[index as usize] -= 1);
                    let gone = (first..=last).filter(|index| !model.held(*index)).count();
                    // Without memory it unpins the same pages but does not merge segments.
                    let nth = random.within(0..=3);
                    let put = || segments.put(pages(first, last)).0;
                    assert_eq!(fault::failing(nth, put).0, gone as u64);
                }
                _ => {
                    let nth = random.within(0..=6);
                    let (result, failed) = fault::failing(nth, || segments.cut(pages(first, last)));
                    assert_eq!(result, if failed { Err(ENOMEM) } else { Ok(()) });
                }
            }
            model.compare(&segments, &memory, random);
        }
        // Pages that are used until the end are unpinned when the segments are dropped.
        if random.one_in(2) {
            for (first, last) in pins {
                segments.put(pages(first, last));
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
