// SPDX-License-Identifier: GPL-2.0-only

//! A model of IOMMUs and devices with caches, and of the tables of a guest. It checks the effect of
//! a guest's invalidations.
//!
//! The model caches all that it may and drops only what the specification says it must: leaf
//! entries, entries of the directories above them, and what device TLBs were given. A request that
//! is complete leaves no translation behind that the guest's tables have no more. No descriptor
//! names a domain, PASID or device that is not the guest's.

use std::{
    cell::Cell,
    collections::BTreeMap, //
};

use super::batch::{
    Asked,
    Driver,
    Memory, //
};
use crate::{
    drivers::vtd::{
        batch,
        descriptor::{
            Cache,
            Descriptor, //
        },
        hardware::Hardware,
        range::LEAF, //
    },
    tests::{
        random::{
            cases,
            Random, //
        },
        vtd::FULL, //
    }, //
};

const STEPS: usize = 100_000;
const CASES: u64 = 50;
/// Pages that the guest uses: some neighbours, at a few places.
const PLACES: [u64; 4] = [0, 0x1fe, 0x7_ffff, (1 << 36) - 4];
const NEIGHBOURS: u64 = 12;

/// A guest's tables: what a leaf entry, and the entry of the directory above it, last had.
#[derive(Default)]
struct Tables {
    leaves: BTreeMap<u64, u64>,
    directories: BTreeMap<u64, u64>,
    writes: u64,
}

/// A translation: the directory entry and the leaf that it came from.
type Translation = (u64, u64);

#[derive(Default)]
struct CacheState {
    leaves: BTreeMap<u64, Translation>,
    directories: BTreeMap<u64, u64>,
}

impl Tables {
    fn walk(&self, page: u64) -> Translation {
        let directory = self.directories.get(&(page >> 9));
        let leaf = self.leaves.get(&page);
        (directory.copied().unwrap_or(0), leaf.copied().unwrap_or(0))
    }
}

impl CacheState {
    /// A device's access. Fills what is not cached.
    fn access(&mut self, page: u64, tables: &Tables, has_directories: bool) -> Translation {
        if let Some(cached) = self.leaves.get(&page) {
            return *cached;
        }
        let (directory, leaf) = tables.walk(page);
        let directory = if has_directories {
            *self.directories.entry(page >> 9).or_insert(directory)
        } else {
            directory
        };
        self.leaves.insert(page, (directory, leaf));
        (directory, leaf)
    }

    fn drop_pages(&mut self, first: u64, count: u128, leaf_only: bool) {
        let within = |page: u64| {
            u128::from(page) >= u128::from(first) && u128::from(page) < u128::from(first) + count
        };
        self.leaves.retain(|page, _| !within(*page));
        if !leaf_only {
            // Of a directory, what covers any of the pages.
            self.directories.retain(|number, _| {
                let start = u128::from(*number) << 9;
                start + 512 <= u128::from(first) || start >= u128::from(first) + count
            });
        }
    }
}

/// Carries out a descriptor on the cache that it names. Panics if it is not a legal one.
fn obey(descriptor: Descriptor, caches: &mut [(Cache, CacheState)], hardware: &Hardware) {
    let [head, address, zero, zero_too] = descriptor;
    assert_eq!((zero, zero_too), (0, 0));
    let (named, first, count, leaf_only) = match head & 0xf {
        6 => {
            assert_eq!(head & !(0xf | 3 << 4 | 0xffff << 16 | 0xfffff << 32), 0);
            let named = Cache::Iotlb {
                did: (head >> 16) as u16,
                pasid: (head >> 32) as u32,
            };
            match head >> 4 & 3 {
                2 => {
                    assert_eq!(address, 0);
                    (named, 0, 1 << 52, false)
                }
                3 => {
                    let mask = address as u32 & 0x3f;
                    assert!(hardware.max_mask.is_some_and(|max| mask <= max));
                    assert_eq!(address & 0xf80, 0);
                    let first = address >> 12;
                    assert_eq!(first & ((1 << mask) - 1), 0);
                    (named, first, 1u128 << mask, address & 1 << 6 != 0)
                }
                other => panic!("granularity {other}"),
            }
        }
        kind @ (3 | 8) => {
            let size = if kind == 3 { 1 } else { 1 << 11 };
            assert_eq!(address & 0xfff & !size, 0);
            let ones = (address >> 12).trailing_ones();
            let (first, count) = if address & size == 0 {
                (address >> 12, 1)
            } else {
                // The lowest clear bit is cleared already, those below it are not the address's.
                let first = (address >> 12) & !((1 << ones) - 1);
                (if ones == 51 { 0 } else { first }, 2u128 << ones)
            };
            let pfsid = (head >> 12 & 0xf) as u16 | (head >> 52 << 4) as u16;
            let named = if kind == 3 {
                Cache::Device {
                    pasid: 0,
                    sid: (head >> 32) as u16,
                    pfsid,
                    qdep: (head >> 16) as u8 & 0x1f,
                }
            } else {
                Cache::Device {
                    pasid: (head >> 32) as u32 & 0xfffff,
                    sid: (head >> 16) as u16,
                    pfsid,
                    qdep: (head >> 4) as u8 & 0x1f,
                }
            };
            (named, first, count, false)
        }
        other => panic!("type {other}"),
    };
    let mut found = false;
    for (cache, state) in caches.iter_mut() {
        if *cache == named {
            found = true;
            state.drop_pages(first, count, leaf_only);
        }
    }
    assert!(found, "{named:?} is not the guest's");
}

fn any_page(random: &mut Random) -> u64 {
    let place = PLACES[random.within(0..=PLACES.len() as u64 - 1) as usize];
    place + random.within(0..=NEIGHBOURS - 1)
}

/// Changes the tables and returns the request that makes it known.
fn change(tables: &mut Tables, random: &mut Random) -> Asked {
    tables.writes += 1;
    let version = tables.writes;
    let page = any_page(random);
    match random.within(0..=9) {
        0 => {
            tables.directories.insert(page >> 9, version);
            ((page >> 9) << 9, 512, 0)
        }
        1 => {
            for place in PLACES {
                for page in place..place + NEIGHBOURS {
                    tables.leaves.insert(page, version);
                }
            }
            (
                0,
                u64::MAX,
                if random.within(0..=1) == 0 { LEAF } else { 0 },
            )
        }
        2..=4 => {
            let count = random.within(1..=9);
            for page in page..page + count {
                tables.leaves.insert(page, version);
            }
            (page, count, LEAF)
        }
        _ => {
            tables.leaves.insert(page, version);
            (page, 1, if random.within(0..=3) == 0 { 0 } else { LEAF })
        }
    }
}

#[test]
fn nothing_stale_nothing_foreign() {
    let seen_stale = Cell::new(0);
    cases(CASES, |random| {
        let mut caches = vec![
            (Cache::Iotlb { did: 7, pasid: 0 }, CacheState::default()),
            (Cache::Iotlb { did: 9, pasid: 77 }, CacheState::default()),
        ];
        for pasid in [0, 77] {
            let device = Cache::Device {
                pasid,
                sid: 0x0123,
                pfsid: 0x0120,
                qdep: 8,
            };
            caches.push((device, CacheState::default()));
        }
        let hardware = Hardware {
            max_mask: match random.within(0..=3) {
                0 => None,
                1 => Some(3),
                _ => Some(18),
            },
            ..FULL
        };
        let mut tables = Tables::default();
        for _ in 0..STEPS / CASES as usize {
            for _ in 0..random.within(1..=6) {
                let page = any_page(random);
                let place = random.within(0..=caches.len() as u64 - 1) as usize;
                let (cache, state) = &mut caches[place];
                state.access(page, &tables, matches!(cache, Cache::Iotlb { .. }));
            }
            let requests: Vec<Asked> = (0..random.within(1..=5))
                .map(|_| change(&mut tables, random))
                .collect();
            if stale(&caches, &tables).is_some() {
                seen_stale.set(seen_stale.get() + 1);
            }
            let driver = Driver::new(&caches.iter().map(|c| (c.0, 1)).collect::<Vec<_>>());
            let mut source = Memory {
                requests: &requests,
                next: 0,
                bad: None,
            };
            let count = requests.len() as u32;
            let answer = batch::carry_out(&driver, &hardware, &mut source, count);
            assert_eq!((answer.done, answer.result), (count, Ok(())));
            for descriptor in driver.log.borrow().concat() {
                obey(descriptor, &mut caches, &hardware);
            }
            let left = stale(&caches, &tables);
            assert!(left.is_none(), "{left:?} is stale after {requests:x?}");
        }
    });
    // The caches do hold what the guest has changed, or the test would find nothing.
    assert!(seen_stale.get() > STEPS / 10);
}

/// The first entry of a cache that is not the tables' any more.
fn stale(caches: &[(Cache, CacheState)], tables: &Tables) -> Option<(Cache, u64)> {
    for (cache, state) in caches {
        for (page, cached) in &state.leaves {
            if *cached != tables.walk(*page) {
                return Some((*cache, *page));
            }
        }
        for (number, cached) in &state.directories {
            if *cached != tables.directories.get(number).copied().unwrap_or(0) {
                return Some((*cache, number << 9));
            }
        }
    }
    None
}
