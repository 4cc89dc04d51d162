// SPDX-License-Identifier: GPL-2.0-only

//! Compares the addresses chosen for new mappings with Linux's choice.

use kernel::prelude::*;

use crate::{
    ioas::{
        allowed::Allowed,
        interval::{
            IntervalMap,
            Vacancy, //
        },
        iova_alloc::{
            check,
            choose,
            ideal_alignment,
            Search, //
        },
        reserved::Reserved, //
    },
    kapi::{
        sync::range_tree::searches,
        units::{
            IovaRange,
            IovaUnit,
            PAGE_SIZE, //
        }, //
    }, //
};

pub(super) const MAX: u64 = u64::MAX;
/// The largest page size that Linux aligns to, with transparent huge pages.
pub(super) const HUGE: u64 = 2 << 20;
/// The lowest address that may be chosen.
const LOWEST: u64 = PAGE_SIZE;
const HIGHEST: u64 = MAX - PAGE_SIZE;

pub(super) type Pair = (u64, u64);

fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(start, last).expect("in order")
}

/// An address space as pairs of first and last (inclusive) address.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    pub(super) areas: Vec<Pair>,
    pub(super) reserved: Vec<Pair>,
    pub(super) allowed: Vec<Pair>,
    /// The IOVA alignment of the IOAS, in bytes.
    pub(super) alignment: u64,
}

impl Space {
    fn new() -> Self {
        Self {
            alignment: 1,
            ..Self::default()
        }
    }

    /// Chooses by one step, and asserts that many steps come to the same.
    pub(super) fn choose(&self, addr: u64, length: u64) -> Result<u64> {
        let (found, steps) = self.choose_in_steps(addr, length, usize::MAX);
        assert_eq!(steps, 1);
        for looks in [1, 2, 70] {
            let (other, _) = self.choose_in_steps(addr, length, looks);
            assert_eq!(found, other, "{looks} at once in {self:#x?}");
        }
        found
    }

    /// Chooses by steps of about `looks` looks. Returns also how many steps there were.
    fn choose_in_steps(&self, addr: u64, length: u64, looks: usize) -> (Result<u64>, usize) {
        let mut reserved = reserved(&self.reserved);
        let mut allowed = Allowed::new();
        for (start, last) in &self.allowed {
            let vacancy = Vacancy::new().expect("nothing fails");
            let disjoint = allowed.add(vacancy, range(*start, *last));
            assert!(disjoint.is_ok(), "not disjoint: {self:#x?}");
        }
        let mut areas = areas(&self.areas);
        let reserved = reserved.room();
        let areas = areas.room(|gap| reserved.largest_gap(gap));
        let mut search = Search::new();
        for steps in 1.. {
            let found = choose(
                areas,
                reserved,
                &allowed,
                addr,
                length,
                self.alignment,
                search.step(looks),
            );
            if let Some(found) = found.transpose() {
                return (found, steps);
            }
        }
        unreachable!()
    }

    /// Returns the runs of addresses that are neither mapped nor reserved, as inclusive pairs.
    fn holes(&self, within: Pair) -> Vec<Pair> {
        let mut taken = [&self.areas[..], &self.reserved[..]].concat();
        taken.sort_unstable();
        let mut holes = Vec::new();
        let mut start = Some(within.0);
        for (first, last) in taken {
            match start {
                Some(from) if first > from => holes.push((from, within.1.min(first - 1))),
                _ => {}
            }
            start = start.and_then(|from| last.checked_add(1).map(|end| end.max(from)));
        }
        holes.extend(start.map(|from| (from, within.1)));
        holes.retain(|(first, last)| first <= last && *first <= within.1);
        holes
    }

    /// Returns the ranges that may be chosen from: the allowed ranges, with adjacent ones merged,
    /// without the outermost pages.
    fn windows(&self) -> Vec<Pair> {
        if self.allowed.is_empty() {
            return vec![(LOWEST, HIGHEST)];
        }
        let mut allowed = self.allowed.clone();
        allowed.sort_unstable();
        let mut windows: Vec<Pair> = Vec::new();
        for (first, last) in allowed {
            match windows.last_mut() {
                Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
                _ => windows.push((first, last)),
            }
        }
        let clipped = windows
            .iter()
            .map(|(a, b)| (*a.max(&LOWEST), *b.min(&HIGHEST)));
        clipped.filter(|(first, last)| first <= last).collect()
    }

    /// Returns the choice of Linux's `iopt_alloc_iova()`: the start of the first hole that fits,
    /// rounded up. Rounding sets the bits of the offset into a page, which is not monotonic if
    /// holes begin inside pages.
    pub(super) fn linux_chooses(&self, addr: u64, length: u64) -> Result<u64> {
        let alignment = linux_alignment(addr, length)?;
        if alignment < self.alignment {
            return Err(EINVAL);
        }
        let fit = |(first, last): Pair| {
            let at = u128::from(first).next_multiple_of(alignment.into());
            let at = u64::try_from(at).ok()? | (addr % PAGE_SIZE);
            (at < last && last - at >= length - 1).then_some(at)
        };
        let choice = self.windows().into_iter().find_map(|window| {
            let start = fit(window)?;
            self.holes((start, window.1)).into_iter().find_map(fit)
        });
        choice.ok_or(ENOSPC)
    }

    /// Returns whether a mapping may begin at `at`, ignoring alignment.
    pub(super) fn is_free(&self, at: u64, length: u64) -> bool {
        let Some(last) = at.checked_add(length - 1) else {
            return false;
        };
        let meets = |(first, end): &Pair| *first <= last && at <= *end;
        let inside = |(first, end): &Pair| *first <= at && last <= *end;
        self.windows().iter().any(inside)
            && !self.areas.iter().any(meets)
            && !self.reserved.iter().any(meets)
    }
}

pub(super) fn linux_alignment(addr: u64, length: u64) -> Result<u64> {
    if length == 0 || length >= MAX / 2 {
        return Err(EOVERFLOW);
    }
    let of_addr = if addr == 0 {
        1 << 63
    } else {
        addr & addr.wrapping_neg()
    };
    Ok(length.next_power_of_two().min(of_addr).min(HUGE))
}

fn reserved(pairs: &[Pair]) -> Reserved {
    let mut reserved = Reserved::new();
    for (start, last) in pairs {
        reserved.add(range(*start, *last)).expect("nothing fails");
    }
    reserved
}

fn areas(pairs: &[Pair]) -> IntervalMap<IovaUnit, ()> {
    let mut areas = IntervalMap::new();
    for (start, last) in pairs {
        let vacancy = Vacancy::new().expect("nothing fails");
        let disjoint = areas.insert(vacancy, range(*start, *last), ());
        assert!(disjoint.is_ok(), "not disjoint: {pairs:#x?}");
    }
    areas
}

#[test]
fn alignment_follows_length_and_memory() {
    let table = [
        (0, 0, Err(EOVERFLOW)),
        (0, 1, Ok(1)),
        (0, PAGE_SIZE - 1, Ok(PAGE_SIZE)),
        (0, PAGE_SIZE, Ok(PAGE_SIZE)),
        (0, PAGE_SIZE + 1, Ok(2 * PAGE_SIZE)),
        (0, HUGE - 1, Ok(HUGE)),
        (0, HUGE, Ok(HUGE)),
        (0, HUGE + 1, Ok(HUGE)),
        (0, MAX / 2 - 1, Ok(HUGE)),
        (0, MAX / 2, Err(EOVERFLOW)),
        (0, MAX, Err(EOVERFLOW)),
        (1, HUGE, Ok(1)),
        (PAGE_SIZE / 2, HUGE, Ok(PAGE_SIZE / 2)),
        (PAGE_SIZE, HUGE, Ok(PAGE_SIZE)),
        (HUGE / 2, HUGE, Ok(HUGE / 2)),
        (HUGE, HUGE, Ok(HUGE)),
        (2 * HUGE, 4 * HUGE, Ok(HUGE)),
        (1 << 63, HUGE / 2, Ok(HUGE / 2)),
        (MAX, HUGE, Ok(1)),
    ];
    for (addr, length, expected) in table {
        let found = ideal_alignment(addr, length);
        assert_eq!(found, expected, "{length:#x} bytes of memory at {addr:#x}");
        assert_eq!(found, linux_alignment(addr, length));
    }
}

#[test]
fn an_empty_address_space_has_all_but_its_outermost_pages() {
    let space = Space::new();
    assert_eq!(space.choose(0, 1), Ok(LOWEST));
    assert_eq!(space.choose(PAGE_SIZE - 1, 1), Ok(2 * PAGE_SIZE - 1));
    assert_eq!(space.choose(0, PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(space.choose(0, HUGE), Ok(HUGE));
    assert_eq!(space.choose(0x1234, HUGE), Ok(PAGE_SIZE | 0x234));
    assert_eq!(space.choose(PAGE_SIZE, MAX / 2 - 1), Ok(PAGE_SIZE));
    assert_eq!(space.choose(PAGE_SIZE, MAX / 2), Err(EOVERFLOW));
    assert_eq!(space.choose(PAGE_SIZE, 0), Err(EOVERFLOW));
}

#[test]
fn memory_aligned_worse_than_demanded_is_refused() {
    let table = [
        (0, PAGE_SIZE, PAGE_SIZE, Ok(PAGE_SIZE)),
        (0, PAGE_SIZE / 2, PAGE_SIZE, Err(EINVAL)),
        (0, PAGE_SIZE / 2 + 1, PAGE_SIZE, Ok(PAGE_SIZE)),
        (PAGE_SIZE / 2, PAGE_SIZE, PAGE_SIZE, Err(EINVAL)),
        (
            PAGE_SIZE / 2,
            PAGE_SIZE,
            PAGE_SIZE / 2,
            Ok(PAGE_SIZE + PAGE_SIZE / 2),
        ),
        (PAGE_SIZE - 1, PAGE_SIZE, 2, Err(EINVAL)),
        (PAGE_SIZE - 1, PAGE_SIZE, 1, Ok(2 * PAGE_SIZE - 1)),
        (PAGE_SIZE / 2, MAX / 2, PAGE_SIZE, Err(EOVERFLOW)),
    ];
    for (addr, length, alignment, expected) in table {
        let space = Space {
            alignment,
            ..Space::new()
        };
        assert_eq!(
            space.choose(addr, length),
            expected,
            "{length:#x} bytes at {addr:#x}"
        );
    }
}

/// CVE-2025-38688: rounding the start of the last free range up wrapped, and the mapping went to a
/// low address that was neither free nor allowed.
#[test]
fn rounding_up_at_the_top_finds_no_space() {
    for start in [
        MAX - HUGE + 2,
        MAX - HUGE + 1 + PAGE_SIZE,
        HIGHEST - PAGE_SIZE + 1,
    ] {
        for length in [PAGE_SIZE, HUGE] {
            let allowed = Space {
                allowed: vec![(start, MAX)],
                ..Space::new()
            };
            let reserved = Space {
                reserved: vec![(0, start - 1)],
                ..Space::new()
            };
            let mapped = Space {
                areas: vec![(0, start - 1)],
                ..Space::new()
            };
            for space in [allowed, reserved, mapped] {
                // Memory whose alignment asks for rounding, and memory that does not.
                assert_eq!(space.choose(0, HUGE), Err(ENOSPC), "{space:#x?}");
                let page = space.choose(0x1000, length);
                assert_eq!(page, space.linux_chooses(0x1000, length), "{space:#x?}");
            }
        }
    }
    // The highest huge page that may be chosen is the last but one.
    for (start, expected) in [
        (MAX - 2 * HUGE, Ok(MAX - 2 * HUGE + 1)),
        (MAX - 2 * HUGE + 1, Ok(MAX - 2 * HUGE + 1)),
        (MAX - 2 * HUGE + 2, Err(ENOSPC)),
    ] {
        let space = Space {
            allowed: vec![(start, MAX)],
            ..Space::new()
        };
        assert_eq!(space.choose(0, HUGE), expected, "from {start:#x}");
    }
}

#[test]
fn a_hole_takes_what_is_just_as_long() {
    let (start, pages) = (16 * PAGE_SIZE, 3 * PAGE_SIZE);
    let around: Vec<Pair> = vec![(0, start - 1), (start + pages, MAX)];
    let spaces = [
        Space {
            areas: around.clone(),
            ..Space::new()
        },
        Space {
            reserved: around,
            ..Space::new()
        },
        Space {
            allowed: vec![(start, start + pages - 1)],
            ..Space::new()
        },
        // Adjacent allowed ranges count as one range.
        Space {
            allowed: vec![(start, start + 9), (start + 10, start + pages - 1)],
            ..Space::new()
        },
    ];
    for space in spaces {
        assert_eq!(space.choose(0x1000, pages - 1), Ok(start), "{space:#x?}");
        assert_eq!(space.choose(0x1000, pages), Ok(start), "{space:#x?}");
        assert_eq!(space.choose(0x1000, pages + 1), Err(ENOSPC), "{space:#x?}");
        assert_eq!(
            space.choose(0x1001, pages - 1),
            Ok(start + 1),
            "{space:#x?}"
        );
        assert_eq!(space.choose(0x1001, pages), Err(ENOSPC), "{space:#x?}");
    }
}

/// A page is mapped at each multiple of a huge page, so that more than half of one fits between two of them
/// but for its alignment.
#[test]
fn a_hole_that_fits_is_found_behind_many_that_do_not() {
    const COUNT: u64 = 2000;
    const LENGTH: u64 = HUGE / 2 + PAGE_SIZE;
    let at = |n: u64| (n * HUGE, n * HUGE + PAGE_SIZE - 1);
    let open = Space {
        areas: (0..COUNT).map(at).collect(),
        ..Space::new()
    };
    let searched = |space: &Space| {
        let before = searches();
        let (found, _) = space.choose_in_steps(0, LENGTH, usize::MAX);
        let count = searches() - before;
        assert_eq!(space.choose(0, LENGTH), found);
        (found, count)
    };
    // Behind all areas.
    let (found, count) = searched(&open);
    assert_eq!(found, Ok(COUNT * HUGE));
    assert_eq!(found, open.linux_chooses(0, LENGTH));
    assert!(count < 300, "{count} searches");

    // Where an area is missing.
    let mut closed = open.clone();
    closed.reserved.push(((COUNT - 1) * HUGE + PAGE_SIZE, MAX));
    let mut gap = closed.clone();
    gap.areas.remove(1500);
    let (found, count) = searched(&gap);
    assert_eq!(found, Ok(1500 * HUGE));
    assert_eq!(found, gap.linux_chooses(0, LENGTH));
    assert!(count < 300, "{count} searches");

    // Where one begins earlier, so that the hole behind it is aligned, but no longer than others.
    closed.areas[1500] = (1500 * HUGE - PAGE_SIZE, 1500 * HUGE - 1);
    assert_eq!(searched(&closed).0, Ok(1500 * HUGE));
    // It is not found if there are longer holes behind it.
    closed.reserved.clear();
    let (found, count) = searched(&closed);
    assert_eq!(found, Ok(COUNT * HUGE));
    assert!(count < 300, "{count} searches");

    // There is none.
    closed.reserved.push(((COUNT - 1) * HUGE + PAGE_SIZE, MAX));
    closed.areas[1500] = at(1500);
    assert_eq!(searched(&closed).0, Err(ENOSPC));

    // No step is long: it looks at 64 holes that do not fit, and at as many more as it may.
    let before = searches();
    let (found, steps) = closed.choose_in_steps(0, LENGTH, 100);
    assert_eq!(found, Err(ENOSPC));
    assert!(
        (COUNT / 102..=COUNT / 99).contains(&(steps as u64)),
        "{steps} steps"
    );
    let count = (searches() - before) / steps as u64;
    assert!(count < 500, "{count} searches in a step");
}

/// Each allowed range has an aligned address, at which a page is mapped.
#[test]
fn many_allowed_ranges_are_searched_in_steps() {
    const COUNT: u64 = 500;
    let range = |n: u64| (n * HUGE, n * HUGE + HUGE / 2 + 2 * PAGE_SIZE - 1);
    let page = |n: u64| (n * HUGE, n * HUGE + PAGE_SIZE - 1);
    let mut space = Space {
        areas: (1..=COUNT).map(page).collect(),
        allowed: (1..=COUNT).map(range).collect(),
        ..Space::new()
    };
    let (found, steps) = space.choose_in_steps(0, HUGE / 2 + PAGE_SIZE, 10);
    assert_eq!(found, Err(ENOSPC));
    assert!(steps > 50, "{steps} steps");
    space.areas.remove(300);
    assert_eq!(space.choose(0, HUGE / 2 + PAGE_SIZE), Ok(301 * HUGE));
}

/// As long as there are few that do not fit, the lowest is chosen.
#[test]
fn few_holes_that_do_not_fit_change_nothing() {
    for misfits in [1, 62, 63, 64] {
        let mut space = Space::new();
        space.areas = (0..=misfits)
            .map(|n| (n * HUGE, n * HUGE + PAGE_SIZE - 1))
            .collect();
        let aligned = misfits + 1;
        space
            .areas
            .push((aligned * HUGE - PAGE_SIZE, aligned * HUGE - 1));
        space
            .areas
            .push(((aligned + 1) * HUGE, (aligned + 1) * HUGE + PAGE_SIZE - 1));
        let found = space.choose(0, HUGE / 2 + PAGE_SIZE);
        let linux = space.linux_chooses(0, HUGE / 2 + PAGE_SIZE);
        assert_eq!(linux, Ok(aligned * HUGE));
        // The hole before the first area that is left, and one between each two of the others.
        assert_eq!(found == linux, misfits < 64, "{misfits}");
    }
}

#[test]
fn reserved_addresses_are_refused_before_taken_ones() {
    let reserved = reserved(&[(40, 49), (25, 60), (MAX - 9, MAX - 3)]);
    let mut areas = areas(&[(0, 9), (20, 29), (MAX - 4, MAX)]);
    let table = [
        (0, 0, Err(EEXIST)),
        (9, 9, Err(EEXIST)),
        (9, 10, Err(EEXIST)),
        (10, 10, Ok(())),
        (10, 19, Ok(())),
        (10, 20, Err(EEXIST)),
        (24, 24, Err(EEXIST)),
        (24, 25, Err(EINVAL)),
        (60, 60, Err(EINVAL)),
        (61, 61, Ok(())),
        (61, MAX - 10, Ok(())),
        (61, MAX - 9, Err(EINVAL)),
        (MAX - 3, MAX - 3, Err(EINVAL)),
        (MAX - 2, MAX, Err(EEXIST)),
        (MAX, MAX, Err(EEXIST)),
        (0, MAX, Err(EINVAL)),
    ];
    for (start, last, expected) in table {
        let found = check(&mut areas, &reserved, range(start, last));
        assert_eq!(found, expected, "{start:#x} to {last:#x}");
    }
}
