// SPDX-License-Identifier: GPL-2.0-only

//! An address space of six pages, and memory of six pages, of which areas map parts and accesses hold parts: every
//! address space of at most three areas that there is, whatever parts of the memory they map, with the memory
//! scattered, contiguous, and in two kinds of pairs. In each, each area is cut at each place, and all is unmapped, the
//! first or the last area first. With at most two areas there are two cuts, or each part of an area is held, or two parts
//! are. An area that is held is neither cut nor unmapped before the access ends, as `ioas/unmap.rs` and `ioas/cut.rs`
//! see to.
//!
//! After each step areas do not overlap, they and the gaps between them are what they should be, an area cannot be added
//! where there is one, and a page of the memory is pinned once if something maps or holds it, and else not. The ledger
//! panics if a page is unpinned a second time.

use crate::{
    ioas::interval::{
        IntervalMap,
        Vacancy, //
    },
    kapi::{
        ledger,
        units::{
            IovaRange,
            IovaUnit,
            PAGE_SIZE, //
        }, //
    },
    tests::{
        memory::{
            pages,
            Memory, //
        },
        segments::{
            fresh,
            Fresh, //
        },
        small::{
            check,
            layout,
            ranges,
            Range,
            PAGES, //
        },
    }, //
};

/// An area: its pages in the address space, and the first page of memory that it maps.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    iova: Range,
    memory: u64,
}

impl Area {
    /// Returns the pages of memory that it maps.
    fn maps(&self) -> Range {
        (self.memory, self.memory + self.iova.1 - self.iova.0)
    }

    /// Returns the parts before and from a page of the address space, which is in it and not its first one.
    fn cut(&self, at: u64) -> [Self; 2] {
        let memory = self.memory + at - self.iova.0;
        [
            Self {
                iova: (self.iova.0, at - 1),
                memory: self.memory,
            },
            Self {
                iova: (at, self.iova.1),
                memory,
            },
        ]
    }
}

fn bytes((first, last): Range) -> IovaRange {
    IovaRange::new(first * PAGE_SIZE, (last + 1) * PAGE_SIZE - 1).expect("in order")
}

/// What is tested, and beside it what it should be.
struct Space<'a> {
    map: IntervalMap<IovaUnit, u64>,
    segments: Fresh,
    memory: &'a Memory,
    areas: Vec<Area>,
    holds: Vec<Range>,
}

impl<'a> Space<'a> {
    fn new(memory: &'a Memory, areas: &[Area]) -> Self {
        let mut space = Self {
            map: IntervalMap::new(),
            segments: fresh(),
            memory,
            areas: Vec::new(),
            holds: Vec::new(),
        };
        for area in areas {
            space.map(*area);
        }
        space
    }

    fn map(&mut self, area: Area) {
        let vacancy = Vacancy::new().expect("nothing fails");
        let added = self.map.insert(vacancy, bytes(area.iova), area.memory);
        assert_eq!(added, Ok(()));
        self.areas.push(area);
        self.pin(area.maps());
    }

    fn hold(&mut self, range: Range) {
        self.holds.push(range);
        self.pin(range);
    }

    fn pin(&mut self, (first, last): Range) {
        self.memory
            .pin_range(&mut self.segments, pages(first, last), PAGES)
            .expect("nothing fails");
        self.check();
    }

    /// Cuts an area as `ioas/cut.rs` does: first what is pinned.
    fn cut(&mut self, number: usize, at: u64) {
        let area = self.areas[number];
        let parts = area.cut(at);
        self.segments
            .divide(parts[1].memory)
            .expect("nothing fails");
        let vacancy = Vacancy::new().expect("nothing fails");
        let start = at * PAGE_SIZE;
        let cut = self
            .map
            .split(vacancy, bytes(area.iova), start, parts[1].memory);
        assert_eq!(cut, Ok(()));
        self.areas.splice(number..=number, parts);
        self.check();
    }

    fn unmap(&mut self, number: usize) {
        let area = self.areas.remove(number);
        assert_eq!(self.map.remove(bytes(area.iova)), Some(area.memory));
        self.put(area.maps());
    }

    fn release(&mut self, number: usize) {
        let range = self.holds.remove(number);
        self.put(range);
    }

    fn put(&mut self, (first, last): Range) {
        let before = ledger::total();
        let (unpinned, extents) = self.segments.put(pages(first, last));
        drop(extents);
        assert_eq!(before - ledger::total(), unpinned);
        self.check();
    }

    /// Unmaps all, the first or the last area first.
    fn unmap_all(&mut self, last_first: bool) {
        while let Some(last) = self.areas.len().checked_sub(1) {
            self.unmap(if last_first { last } else { 0 });
        }
    }

    fn check(&self) {
        let mut wanted = self.areas.clone();
        wanted.sort_by_key(|area| area.iova);
        let wanted_areas = wanted.iter().map(|area| (bytes(area.iova), area.memory));
        let areas = self.map.iter().map(|(range, memory)| (range, *memory));
        assert!(areas.eq(wanted_areas), "{wanted:?}");
        // The gaps are what no area has.
        let is_free = |page: &u64| {
            let has = |area: &Area| (area.iova.0..=area.iova.1).contains(page);
            !self.areas.iter().any(has)
        };
        let whole = bytes((0, PAGES - 1));
        let gaps = self
            .map
            .gaps_in(whole)
            .flat_map(|gap| (gap.start() / PAGE_SIZE)..=(gap.last() / PAGE_SIZE));
        assert!(gaps.eq((0..PAGES).filter(is_free)), "{wanted:?}");
        let users: Vec<Range> = wanted
            .iter()
            .map(Area::maps)
            .chain(self.holds.iter().copied())
            .collect();
        check(&self.segments, self.memory, &users);
    }
}

/// Returns all address spaces of so many areas behind page `from`.
fn spaces(count: usize, from: u64) -> Vec<Vec<Area>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for iova in ranges().into_iter().filter(|(first, _)| *first >= from) {
        let rest = spaces(count - 1, iova.1 + 1);
        for memory in 0..PAGES - (iova.1 - iova.0) {
            for others in &rest {
                let mut areas = vec![Area { iova, memory }];
                areas.extend(others);
                all.push(areas);
            }
        }
    }
    all
}

/// Returns each area of a space with each place at which it can be cut.
fn cuts(areas: &[Area]) -> impl Iterator<Item = (usize, u64)> + '_ {
    let places = |(number, area): (usize, &Area)| {
        (area.iova.0 + 1..=area.iova.1).map(move |at| (number, at))
    };
    areas.iter().enumerate().flat_map(places)
}

/// Returns each area of a space with each part of it.
fn parts(areas: &[Area]) -> impl Iterator<Item = (usize, Range)> + '_ {
    areas.iter().enumerate().flat_map(|(number, area)| {
        let (first, last) = area.maps();
        let inside = move |part: &Range| first <= part.0 && part.1 <= last;
        ranges()
            .into_iter()
            .filter(inside)
            .map(move |part| (number, part))
    })
}

/// Memory that is scattered, contiguous, and in two kinds of pairs.
fn layouts() -> [Memory; 4] {
    [0, 0b11111, 0b10101, 0b01010].map(layout)
}

#[test]
fn areas_and_cuts_over_six_pages() {
    for memory in layouts() {
        for areas in (0..=3).flat_map(|count| spaces(count, 0)) {
            for last_first in [false, true] {
                Space::new(&memory, &areas).unmap_all(last_first);
                for (number, at) in cuts(&areas) {
                    let mut space = Space::new(&memory, &areas);
                    space.cut(number, at);
                    space.unmap_all(last_first);
                }
            }
        }
    }
}

#[test]
fn two_cuts_over_six_pages() {
    for memory in layouts() {
        for areas in (1..=2).flat_map(|count| spaces(count, 0)) {
            for (number, at) in cuts(&areas) {
                let mut space = Space::new(&memory, &areas);
                space.cut(number, at);
                let halves = space.areas.clone();
                // The ledger counts the pins of one at a time.
                space.unmap_all(false);
                for (again, place) in cuts(&halves) {
                    for last_first in [false, true] {
                        let mut space = Space::new(&memory, &areas);
                        space.cut(number, at);
                        space.cut(again, place);
                        space.unmap_all(last_first);
                    }
                }
            }
        }
    }
}

/// An access holds a part of an area. Other areas are cut and unmapped meanwhile.
#[test]
fn areas_cuts_and_a_hold_over_six_pages() {
    for memory in layouts() {
        for areas in (1..=2).flat_map(|count| spaces(count, 0)) {
            for (held, part) in parts(&areas) {
                let others = cuts(&areas).filter(|(number, _)| *number != held);
                for cut in others.map(Some).chain([None]) {
                    let mut space = Space::new(&memory, &areas);
                    space.hold(part);
                    if let Some((number, at)) = cut {
                        space.cut(number, at);
                    }
                    let area = areas[held];
                    while let Some(other) = space.areas.iter().position(|each| *each != area) {
                        space.unmap(other);
                    }
                    space.release(0);
                    // No access is left that keeps it.
                    for at in area.iova.0 + 1..=area.iova.1 {
                        space.cut(space.areas.len() - 1, at);
                    }
                    space.unmap_all(true);
                }
            }
        }
    }
}

/// Two accesses hold parts of one area, or of two, and go in either order.
#[test]
fn areas_and_two_holds_over_six_pages() {
    for memory in layouts() {
        for areas in (1..=2).flat_map(|count| spaces(count, 0)) {
            let holds: Vec<Range> = parts(&areas).map(|(_, part)| part).collect();
            for &first in &holds {
                for &second in &holds {
                    let mut space = Space::new(&memory, &areas);
                    space.hold(first);
                    space.hold(second);
                    space.release(usize::from(first < second));
                    space.release(0);
                    space.unmap_all(first < second);
                }
            }
        }
    }
}

/// Nothing is added where there is an area, nor does that change anything.
#[test]
fn areas_that_overlap_over_six_pages() {
    let memory = layout(0b10101);
    for areas in (1..=3).flat_map(|count| spaces(count, 0)) {
        let mut space = Space::new(&memory, &areas);
        for iova in ranges() {
            let is_free = areas
                .iter()
                .all(|area| area.iova.1 < iova.0 || iova.1 < area.iova.0);
            if is_free {
                continue;
            }
            let vacancy = Vacancy::new().expect("nothing fails");
            assert_eq!(space.map.insert(vacancy, bytes(iova), 7), Err(7));
            space.check();
        }
        space.unmap_all(false);
    }
}
