// SPDX-License-Identifier: GPL-2.0-only

//! Tests of merging two commands into one.

use crate::{
    drivers::smmu_v3::{
        command::{
            Physical,
            Rules,
            Words, //
        },
        features::Features,
        merge::merged, //
    },
    tests::{
        random::cases,
        smmu_v3::{
            guest::{
                self,
                FULL, //
            },
            scope::{
                bits,
                with, //
            }, //
        }, //
    }, //
};

const VMID: u16 = 0x1234;

fn physical(words: Words, features: &Features) -> Physical {
    Rules::new(*features)
        .check(words)
        .expect("it is valid")
        .on_vmid(VMID)
        .expect("it has a VMID")
}

/// CMD_TLBI_NH_VA of one entry.
fn one(tg: u64, ttl: u64, asid: u64, address: u64) -> Words {
    let command = with([0x12, 0], 75, 74, tg);
    let command = with(command, 73, 72, ttl);
    let command = with(command, 63, 48, asid);
    with(command, 127, 76, address >> 12)
}

fn merge(one: Words, other: Words) -> Option<Words> {
    let merged = merged(physical(one, &FULL), physical(other, &FULL), &FULL);
    merged.map(|merged| merged.words())
}

/// Address and length of a range in bytes.
fn span(command: Words) -> (u64, u64) {
    let granule = [0, 12, 14, 16][bits(command, 75, 74) as usize];
    let length = (bits(command, 16, 12) + 1) << bits(command, 25, 20) << granule;
    (bits(command, 127, 76) << 12, length)
}

#[test]
fn what_takes_the_place_of_two_invalidates_what_they_do() {
    let merges = std::cell::Cell::new(0);
    cases(60_000, |random| {
        let features = guest::features(random);
        let words = [
            guest::tlbi(random, &features),
            guest::tlbi(random, &features),
        ];
        let [first, second] = words.map(|words| physical(words, &features));
        let Some(merged) = merged(first, second, &features) else {
            return;
        };
        merges.set(merges.get() + 1);
        let merged = merged.words();
        assert!(!features.repeat_erratum);
        // It is a valid command itself, of the same VMID.
        assert!(Rules::new(features).check(merged).is_ok());
        assert_eq!(bits(merged, 47, 32), u64::from(VMID));
        for _ in 0..40 {
            let entry = guest::entry(random, VMID);
            let asked = [first, second]
                .iter()
                .any(|command| entry.must_go(command.words(), features.ds));
            assert!(
                !asked || entry.must_go(merged, features.ds),
                "{entry:x?} is left by {merged:x?} in place of {first:x?} {second:x?}"
            );
        }
    });
    // Checks that enough merges were tested.
    assert!(merges.get() > 1000, "{} merges", merges.get());
}

#[test]
fn pages_in_a_row_become_a_range() {
    for (tg, shift) in [(1, 12), (2, 14), (3, 16)] {
        let mut whole = one(tg, 3, 5, 0);
        for page in 1..512 {
            whole = merge(whole, one(tg, 3, 5, page << shift)).expect("pages in a row merge");
            let (start, length) = span(whole);
            let needed = (page + 1) << shift;
            assert_eq!(start, 0);
            // The range is at most one sixteenth longer than needed.
            assert!(length >= needed && length <= needed + needed / 16);
        }
        assert_eq!(span(whole), (0, 512 << shift));
    }
}

#[test]
fn backwards_too() {
    let mut whole = one(1, 3, 5, 0x10_0000);
    for page in 1..=16 {
        whole = merge(whole, one(1, 3, 5, 0x10_0000 - (page << 12))).expect("they merge");
    }
    let (start, length) = span(whole);
    assert_eq!(start, 0xf_0000);
    assert!(length >= 17 << 12);
}

#[test]
fn blocks_in_a_row_become_a_range() {
    let whole = merge(one(1, 2, 5, 0), one(1, 2, 5, 0x20_0000)).expect("they merge");
    assert_eq!(span(whole), (0, 0x40_0000));
    assert_eq!(bits(whole, 73, 72), 2);
}

#[test]
fn without_a_granule_nothing_becomes_a_range() {
    assert_eq!(merge(one(0, 0, 5, 0), one(0, 0, 5, 0x1000)), None);
    // A command with a granule does not change that.
    assert_eq!(merge(one(0, 0, 5, 0), one(1, 3, 5, 0x1000)), None);
}

#[test]
fn what_differs_stays_apart() {
    let page = one(1, 3, 5, 0);
    let next = one(1, 3, 5, 0x1000);
    assert!(merge(page, next).is_some());
    for other in [
        // Another ASID, level, granule.
        with(next, 63, 48, 6),
        with(next, 73, 72, 2),
        with(next, 75, 74, 2),
        // All levels, and all ASIDs.
        with(next, 64, 64, 1),
        with(with(next, 7, 0, 0x13), 63, 48, 0),
        // Not adjacent.
        one(1, 3, 5, 0x2000),
        // An address that is not aligned for level 2.
        one(1, 2, 5, 0x1000),
    ] {
        assert_eq!(merge(page, other), None, "{other:x?}");
    }
}

#[test]
fn what_is_unpredictable_stays_apart() {
    // If an address is not aligned for its level, what is invalidated is UNPREDICTABLE.
    assert_eq!(merge(one(1, 2, 5, 0x1000), one(1, 2, 5, 0x20_0000)), None);
    assert_eq!(merge(one(1, 2, 5, 0x20_0000), one(1, 2, 5, 0x1000)), None);
    // A scale that software must not use.
    let wide = with(one(1, 3, 5, 0), 25, 20, 40);
    assert_eq!(merge(wide, one(1, 3, 5, 0x1000)), None);
    assert_eq!(merge(one(1, 3, 5, 0x1000), wide), None);
    assert!(merge(with(wide, 25, 20, 39), one(1, 3, 5, 0x1000)).is_some());
}

#[test]
fn halves_of_an_address_space_stay_apart() {
    let last = one(1, 3, 5, 0x7fff_ffff_ffff_f000);
    let first = one(1, 3, 5, 0x8000_0000_0000_0000);
    assert_eq!(merge(last, first), None);
    // The exclusive end of a range at the top of the address space overflows.
    let top = one(1, 3, 5, 0xffff_ffff_ffff_f000);
    assert_eq!(merge(one(1, 3, 5, 0xffff_ffff_ffff_e000), top), None);
}

#[test]
fn all_takes_the_place_of_everything_and_an_asid_of_nothing() {
    let (all, asid) = ([0x10, 0], with([0x11, 0], 63, 48, 5));
    let page = one(0, 0, 5, 0x1000);
    let made = with(all, 47, 32, u64::from(VMID));
    assert_eq!(merge(all, page), Some(made));
    assert_eq!(merge(page, all), Some(made));
    assert_eq!(merge(asid, all), Some(made));
    assert_eq!(merge([0x30, 0], page), Some(made));
    // Invalidating by ASID would keep global entries at the address.
    assert_eq!(merge(asid, page), None);
    assert_eq!(merge(page, asid), None);
}

#[test]
fn what_must_be_repeated_is_repeated() {
    let features = Features {
        repeat_erratum: true,
        ..FULL
    };
    let page = physical(one(1, 3, 5, 0), &features);
    assert_eq!(merged(page, page, &features), None);
    let all = physical([0x10, 0], &features);
    assert_eq!(merged(all, all, &features), None);
    assert_eq!(merged(page, all, &features), None);
}
