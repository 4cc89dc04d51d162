// SPDX-License-Identifier: GPL-2.0-only

//! Compares the addresses chosen for new mappings of random address spaces with two models: Linux's choice, and
//! a search that tries every page.

use std::fmt::{
    self,
    Debug,
    Formatter, //
};

use kernel::prelude::*;
use proptest::{
    collection::vec,
    option,
    prelude::{
        any,
        Strategy, //
    },
    prop_oneof,
    sample::select, //
};

use crate::{
    kapi::units::PAGE_SIZE,
    tests::{
        iova_alloc::{
            linux_alignment,
            Pair,
            Space,
            HUGE,
            MAX, //
        },
        random::{
            ends,
            for_all,
            Ends, //
        }, //
    }, //
};

/// The bases of a small address space: at both ends of 64 bits, across a huge page's start, and
/// just below the last huge page, where rounding up must not wrap.
const BASES: [u64; 6] = [
    0,
    HUGE - 8 * PAGE_SIZE,
    (1 << 63) - 8 * PAGE_SIZE,
    MAX - 24 * PAGE_SIZE + 1,
    MAX - HUGE + 1 - 8 * PAGE_SIZE,
    MAX - HUGE + 1,
];
const PAGES: u64 = 24;

/// Reserves everything but `PAGES` pages from `base`.
fn close_others(space: &mut Space, base: u64) {
    if base != 0 {
        space.reserved.push((0, base - 1));
    }
    if let Some(end) = base.checked_add(PAGES * PAGE_SIZE) {
        space.reserved.push((end, MAX));
    }
}

/// Disjoint ranges between some of the first `count` points. A range ends one below a point, at which the
/// next range may begin: ranges can be adjacent.
fn disjoint(count: u64, most: usize) -> impl Strategy<Value = Vec<Ends>> {
    (vec(0..count, 0..=2 * most), proptest::bool::weighted(0.3)).prop_map(
        |(mut points, adjacent)| {
            points.sort_unstable();
            points.dedup();
            let pair = |ends: &[u64]| Ends {
                first: ends[0],
                last: ends[1],
            };
            if adjacent {
                points.windows(2).map(pair).collect()
            } else {
                points.chunks_exact(2).map(pair).collect()
            }
        },
    )
}

/// The ranges between points.
fn between(list: Vec<Ends>, points: &[u64]) -> Vec<Pair> {
    let pair = |ends: Ends| (points[ends.first as usize], points[ends.last as usize] - 1);
    list.into_iter().map(pair).collect()
}

/// A mapping that is to be placed.
struct Wanted {
    addr: u64,
    length: u64,
    /// The first address of a small address space.
    base: u64,
    space: Space,
}

impl Debug for Wanted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            addr,
            length,
            space,
            ..
        } = self;
        write!(f, "{length:#x} bytes at {addr:#x} in {space:#x?}")
    }
}

fn whole_pages() -> impl Strategy<Value = Wanted> {
    const MEMORY: [u64; 6] = [0, HUGE, HUGE / 2, 3 * PAGE_SIZE, 8 * PAGE_SIZE, MAX - 0xfff];
    const OFFSETS: [u64; 7] = [0, 0, 1, 0x555, 0x800, 0xc00, PAGE_SIZE - 1];
    let addr = (select(&MEMORY[..]), select(&OFFSETS[..]));
    // With a shorter length the alignment could be smaller than the offset.
    let length = (1..=8u64, 0..=1u64).prop_map(|(pages, less)| pages * PAGE_SIZE - less);
    let space = (
        select(&BASES[..]),
        select(&[1, PAGE_SIZE][..]),
        disjoint(PAGES, 3),
        disjoint(PAGES, 2),
        option::of(disjoint(PAGES, 3)),
    );
    (space, addr, length).prop_map(|(space, (memory, offset), length)| {
        let (base, alignment, areas, reserved, allowed) = space;
        let points: Vec<_> = (0..PAGES).map(|page| base + page * PAGE_SIZE).collect();
        let mut space = Space {
            areas: between(areas, &points),
            reserved: between(reserved, &points),
            allowed: between(allowed.unwrap_or_default(), &points),
            alignment,
        };
        close_others(&mut space, base);
        Wanted {
            addr: memory | offset,
            length,
            base,
            space,
        }
    })
}

#[test]
fn the_choice_is_the_lowest_page_that_fits() {
    for_all(4000, whole_pages(), |wanted| {
        let Wanted {
            addr,
            length,
            base,
            space,
        } = wanted;
        let found = space.choose(addr, length);
        assert_eq!(found, space.linux_chooses(addr, length));
        let alignment = linux_alignment(addr, length).expect("a small length");
        if alignment < space.alignment {
            assert_eq!(found, Err(EINVAL));
            return;
        }
        let fits = |at: &u64| at & (alignment - 1) == 0 && space.is_free(*at, length);
        let page = |n: u64| base + n * PAGE_SIZE;
        let lowest = (0..PAGES).map(|n| page(n) | addr % PAGE_SIZE).find(fits);
        assert_eq!(found, lowest.ok_or(ENOSPC));
    });
}

/// Some bytes around some pages' starts and middles.
fn points(base: u64) -> Vec<u64> {
    let mut points = Vec::new();
    for page in [0, 1, 2, 3, 7, 8, 9, PAGES - 2, PAGES - 1] {
        for byte in [
            0, 1, 2, 3, 8, 0x7ff, 0x800, 0x801, 0xbff, 0xc00, 0xffd, 0xffe, 0xfff,
        ] {
            points.push(base + page * PAGE_SIZE + byte);
        }
    }
    points
}

fn any_bytes() -> impl Strategy<Value = Wanted> {
    const MASKS: [u64; 7] = [0, 0x3, 0xf, 0x803, 0xc00, 0xffe, 0x1fff];
    const LENGTHS: [u64; 6] = [0x7fe, 0x7ff, 0x800, 0x801, 0xffe, 0xfff];
    let addr = (any::<u64>(), select(&MASKS[..])).prop_map(|(addr, mask)| addr & mask);
    let length = prop_oneof![
        1 => 1..=4u64,
        1 => select(&LENGTHS[..]),
        2 => 1..=3 * PAGE_SIZE,
    ];
    let count = points(0).len() as u64;
    let space = (
        select(&BASES[..]),
        disjoint(count - 1, 8),
        vec(ends(count), 0..=3),
        option::of(disjoint(count - 1, 5)),
    );
    (space, addr, length).prop_map(|(space, addr, length)| {
        let (base, areas, reserved, allowed) = space;
        let points = points(base);
        // These may intersect.
        let reserved = reserved
            .into_iter()
            .map(|ends| (points[ends.first as usize], points[ends.last as usize]));
        let mut space = Space {
            areas: between(areas, &points),
            // Long ranges leave few addresses to choose from.
            reserved: reserved
                .filter(|(first, last)| last - first < 4 * PAGE_SIZE)
                .collect(),
            allowed: between(allowed.unwrap_or_default(), &points),
            alignment: 1,
        };
        close_others(&mut space, base);
        Wanted {
            addr,
            length,
            base,
            space,
        }
    })
}

#[test]
fn the_choice_is_linuxs_where_nothing_is_aligned() {
    for_all(20000, any_bytes(), |wanted| {
        let Wanted {
            addr,
            length,
            space,
            ..
        } = wanted;
        let found = space.choose(addr, length);
        assert_eq!(found, space.linux_chooses(addr, length));
        if let Ok(at) = found {
            let offset = addr % PAGE_SIZE;
            assert!(space.is_free(at, length), "{at:#x}");
            assert_eq!(
                at % linux_alignment(addr, length).expect("a small length"),
                0
            );
            assert_eq!(at & offset, offset);
        }
    });
}
