// SPDX-License-Identifier: GPL-2.0-only

//! Tests of merging commands.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Rules,
            Target,
            Tlbi,
            Words, //
        },
        features::Features,
        merge::{
            Merger,
            Sink, //
        }, //
    },
    tests::{
        random::{
            for_all,
            with_list,
            Hex,
            Random, //
        },
        smmu_v3::{
            guest::{
                self,
                FULL, //
            },
            scope::{
                bits,
                with,
                TlbEntry, //
            }, //
        }, //
    }, //
};

const VMID: u16 = 0x1234;

fn tlbi(words: Words, features: &Features) -> Tlbi {
    let command = Rules::new(*features).check(words).expect("it is valid");
    let Target::AddressSpaces(command) = command.target() else {
        panic!("it is about a device");
    };
    command
}

fn on_vmid(command: Tlbi) -> Words {
    command.on_vmid(VMID).into()
}

/// Commands that are to be issued.
#[derive(Default)]
struct Made(Vec<Tlbi>);

impl Sink for Made {
    fn push(&mut self, command: Tlbi) -> Result {
        self.0.push(command);
        Ok(())
    }

    fn extend(&mut self, commands: impl Iterator<Item = Tlbi>) -> Result {
        self.0.extend(commands);
        Ok(())
    }
}

/// Returns the commands that take the place of commands. By `short_cuts`, those that are plain or
/// differ in the address alone are not added one by one, as in a batch.
fn sequence(commands: &[Words], features: &Features, short_cuts: bool) -> Vec<Words> {
    let rules = Rules::new(*features);
    let mut merger = Merger::new(features);
    let mut made = Made::default();
    let mut rest = commands;
    while let [words, later @ ..] = rest {
        let plain = rules.plain(*words).filter(|_| short_cuts);
        if let Some(plain) = plain {
            let taken = merger.add_plain(plain, rest, &rules, &mut made);
            let taken = taken.expect("the sink does not fail");
            assert_ne!(taken, 0);
            rest = &rest[taken..];
        } else if short_cuts && merger.knows(*words) {
            let taken = merger.add_known(rest, &mut made);
            rest = &rest[taken.expect("the sink does not fail")..];
        } else {
            let command = tlbi(*words, features);
            let added = merger.add(command, &mut made);
            added.expect("the sink does not fail");
            rest = later;
        }
    }
    merger.close(&mut made).expect("the sink does not fail");
    let len = made.0.len();
    merger.close(&mut made).expect("the sink does not fail");
    assert_eq!(made.0.len(), len, "something was left");
    made.0.into_iter().map(on_vmid).collect()
}

/// CMD_TLBI_NH_VA of one entry.
fn one(tg: u64, ttl: u64, asid: u64, address: u64) -> Words {
    let command = with([0x12, 0], 75, 74, tg);
    let command = with(command, 73, 72, ttl);
    let command = with(command, 63, 48, asid);
    with(command, 127, 76, address >> 12)
}

/// Returns the command in place of two, if there is one.
fn merge(one: Words, other: Words) -> Option<Words> {
    let made = sequence(&[one, other], &FULL, true);
    assert_eq!(made, sequence(&[one, other], &FULL, false));
    match made[..] {
        [whole] => Some(whole),
        _ => None,
    }
}

/// Address and length of a range in bytes.
fn span(command: Words) -> (u64, u64) {
    let granule = [0, 12, 14, 16][bits(command, 75, 74) as usize];
    let length = (bits(command, 16, 12) + 1) << bits(command, 25, 20) << granule;
    (bits(command, 127, 76) << 12, length)
}

/// Returns features, a number, and commands that often can be merged: those of up to three rows, in any
/// order.
fn commands(random: &mut Random) -> ((Features, u64), Vec<Words>) {
    let features = guest::features(random);
    let rows = random.within(1..=3);
    let mut rows: Vec<_> = (0..rows)
        .map(|_| row(random, &features).into_iter().peekable())
        .collect();
    let mut commands = Vec::new();
    while rows.iter_mut().any(|row| row.peek().is_some()) {
        let place = random.within(0..=rows.len() as u64 - 1) as usize;
        commands.extend(rows[place].next());
    }
    ((features, random.number()), commands)
}

/// Returns commands, of which several are alike but for the address.
fn row(random: &mut Random, features: &Features) -> Vec<Words> {
    let mut commands = Vec::new();
    for _ in 0..random.within(1..=3) {
        let like = guest::tlbi(random, features);
        commands.push(like);
        let step = 1 << *random.pick(&[0, 0, 2, 4, 9]);
        for _ in 0..random.within(0..=5) {
            if !matches!(bits(like, 7, 0), 0x12 | 0x13) {
                break;
            }
            let address = bits(commands[commands.len() - 1], 127, 76);
            let address = match random.within(0..=7) {
                0 => address,
                1 => address.wrapping_sub(step),
                2 => bits(guest::tlbi(random, features), 127, 76),
                _ => address.wrapping_add(step),
            };
            commands.push(with(like, 127, 76, address));
        }
    }
    commands
}

#[test]
fn what_takes_the_place_of_others_invalidates_what_they_do() {
    let merges = std::cell::Cell::new(0);
    for_all(60_000, with_list(commands), |input| {
        let ((features, seed), Hex(asked)) = input;
        let made = sequence(&asked, &features, true);
        // The short cuts lead to the same.
        assert_eq!(made, sequence(&asked, &features, false));
        assert!(made.len() <= asked.len());
        merges.set(merges.get() + asked.len() - made.len());
        if features.repeat_erratum {
            assert_eq!(made.len(), asked.len());
        }
        for command in &made {
            // It is a valid command itself, of our VMID.
            assert!(Rules::new(features).check(*command).is_ok());
            assert_eq!(bits(*command, 47, 32), u64::from(VMID));
        }
        let asked: Vec<_> = asked
            .iter()
            .map(|words| on_vmid(tlbi(*words, &features)))
            .collect();
        let mut random = Random::from(seed);
        for _ in 0..40 {
            let entry = guest::entry(&mut random, VMID);
            let must_go = |command: &Words| entry.must_go(*command, features.ds);
            assert!(
                !asked.iter().any(must_go) || made.iter().any(must_go),
                "{entry:x?} is left by {made:x?} in place of {asked:x?}"
            );
        }
    });
    // Checks that enough merges were tested.
    assert!(merges.get() > 10_000, "{} merges", merges.get());
}

#[test]
fn pages_in_a_row_become_a_range() {
    for (tg, shift) in [(1, 12), (2, 14), (3, 16)] {
        for count in 2..=512u64 {
            let pages: Vec<_> = (0..count)
                .map(|page| one(tg, 3, 5, page << shift))
                .collect();
            let [whole] = sequence(&pages, &FULL, true)[..] else {
                panic!("{count} pages do not merge");
            };
            let (start, length) = span(whole);
            let needed = count << shift;
            assert_eq!(start, 0);
            // The range is at most one sixteenth longer than needed.
            assert!(length >= needed && length <= needed + needed / 16);
        }
    }
}

#[test]
fn two_address_spaces_may_alternate() {
    let page = |asid, page: u64| one(1, 3, asid, page << 12);
    let both: Vec<_> = (0..40).map(|n| page(5 + n % 2, n / 2)).collect();
    let made = sequence(&both, &FULL, true);
    assert_eq!(made, sequence(&both, &FULL, false));
    let mut spans: Vec<_> = made
        .iter()
        .map(|command| (bits(*command, 63, 48), span(*command)))
        .collect();
    spans.sort();
    assert_eq!(spans, [(5, (0, 20 << 12)), (6, (0, 20 << 12))]);
    // Other commands between them change nothing, and a third address space ends the range that
    // was not added to for longest.
    let asid = with([0x11, 0], 63, 48, 7);
    let commands = [
        page(5, 0),
        asid,
        page(6, 0),
        page(5, 1),
        page(7, 0),
        page(5, 2),
    ];
    let made = sequence(&commands, &FULL, true);
    let asids: Vec<_> = made.iter().map(|command| bits(*command, 63, 48)).collect();
    assert_eq!(asids, [7, 6, 5, 7]);
}

#[test]
fn what_is_invalid_is_not_known() {
    // Neither at the beginning nor behind any commands.
    for_all(20_000, with_list(commands), |input| {
        let ((features, seed), Hex(commands)) = input;
        let mut random = Random::from(seed);
        let mut merger = Merger::new(&features);
        for words in commands {
            let command = tlbi(words, &features);
            let mut made = Made::default();
            merger
                .add(command, &mut made)
                .expect("the sink does not fail");
            if random.one_in(8) {
                merger.close(&mut made).expect("the sink does not fail");
            }
            let noise = [random.number(), random.number()];
            let bit = random.within(0..=127) as u32;
            let flipped = with(words, bit, bit, 1 ^ bits(words, bit, bit));
            for other in [[0, 0], [0, u64::MAX], [u64::MAX; 2], noise, flipped] {
                let is_valid = Rules::new(features).check(other).is_ok();
                assert!(!merger.knows(other) || is_valid, "{other:x?}");
            }
        }
    });
}

#[test]
fn backwards_too() {
    let pages: Vec<_> = (0..=16)
        .map(|page| one(1, 3, 5, 0x10_0000 - (page << 12)))
        .collect();
    let [whole] = sequence(&pages, &FULL, true)[..] else {
        panic!("they do not merge");
    };
    let (start, length) = span(whole);
    assert_eq!(start, 0xf_0000);
    assert!(length >= 17 << 12);
}

#[test]
fn a_range_can_be_encoded_however_long_it_is() {
    // 31 * 2^31 granules, or 2^39, a command; without and with SMMU_IDR5.DS.
    for (ds, num, scale) in [(false, 0, 31), (false, 30, 31), (true, 0, 39)] {
        let features = Features { ds, ..FULL };
        let command = with(with(one(1, 3, 5, 0), 16, 12, num), 25, 20, scale);
        let length = (num + 1) << scale << 12;
        let ranges: Vec<_> = (0..70)
            .map(|place| with(command, 127, 76, place * length >> 12))
            .collect();
        let made = sequence(&ranges, &features, true);
        assert_eq!(made, sequence(&ranges, &features, false));
        for place in 0..70 {
            for address in [place * length, (place + 1) * length - 0x1000] {
                let covered = made.iter().any(|command| {
                    let (start, length) = span(*command);
                    (start..start + length).contains(&address)
                });
                assert!(covered, "{address:#x} is left by {made:x?}");
            }
        }
    }
}

/// The rest of a section may be less than a range that can be encoded. What is invalidated below the end does not depend
/// on what lies beyond it.
#[test]
fn a_range_may_end_beyond_its_section() {
    for (first, count, beyond) in [
        (0xffff_ffff_fffd_e000, 33, 0),
        (0xffff_ffff_ffc1_7000, 1_000, 23),
        (0xffff_fffb_d000, 67, 1),
    ] {
        let first: u64 = first;
        let places = (0..count).map(|page| first + (page << 12));
        let pages: Vec<_> = places.clone().map(|place| one(1, 3, 5, place)).collect();
        let [whole] = sequence(&pages, &FULL, true)[..] else {
            panic!("{first:#x}: they do not merge");
        };
        let (start, length) = span(whole);
        assert_eq!(start, first);
        let section = (u128::from(first) | 0xffff_ffff_ffff) + 1;
        let end = u128::from(start) + u128::from(length);
        assert_eq!(end, section + (beyond << 12), "{first:#x}");
        for start in places {
            let entry = TlbEntry {
                vmid: VMID,
                asid: Some(5),
                granule: 1,
                level: 3,
                leaf: true,
                start,
            };
            assert!(entry.must_go(whole, true), "{start:#x} is left");
        }
    }
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
        assert_eq!(merge(other, page), None, "{other:x?}");
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
    // The merger computes with exclusive ends, of which that of the last page overflows.
    let top = one(1, 3, 5, 0xffff_ffff_ffff_f000);
    assert_eq!(merge(one(1, 3, 5, 0xffff_ffff_ffff_e000), top), None);
}

#[test]
fn all_takes_the_place_of_everything_and_an_asid_of_nothing() {
    let (all, asid) = ([0x10, 0], with([0x11, 0], 63, 48, 5));
    let page = one(0, 0, 5, 0x1000);
    let made = with(all, 47, 32, u64::from(VMID));
    assert_eq!(merge(all, page), Some(made));
    assert_eq!(merge(all, asid), Some(made));
    assert_eq!(merge(all, all), Some(made));
    assert_eq!(merge([0x30, 0], page), Some(made));
    assert_eq!(merge(one(1, 3, 5, 0x1000), all), Some(made));
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
    let (page, all) = (one(1, 3, 5, 0), [0x10, 0]);
    let next = one(1, 3, 5, 0x1000);
    for commands in [[page, page], [page, next], [all, all], [page, all]] {
        assert_eq!(sequence(&commands, &features, true).len(), 2);
    }
}
