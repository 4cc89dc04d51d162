// SPDX-License-Identifier: GPL-2.0-only

//! Commands that take the place of others.

use std::{
    cell::Cell,
    collections::BTreeMap, //
};

use crate::{
    drivers::amd_vi::command::Words,
    tests::{
        amd_vi::{
            batch::{
                carry_out,
                Recorder, //
            },
            bits,
            command::{
                range,
                with_pasid, //
            },
            guest,
            with, //
        },
        random::{
            for_all,
            with_list,
            Hex,
            Random, //
        }, //
    }, //
};

/// Places for so many commands.
const LANE: usize = 65;

/// INVALIDATE_IOMMU_PAGES for `1 << order` pages.
fn pages(domain: u64, first: u64, order: u32) -> Words {
    let words = with(with([0; 2], 63, 60, 3), 47, 32, domain);
    match order {
        0 => with(words, 127, 76, first),
        _ => with(
            with(words, 64, 64, 1),
            127,
            76,
            first | ((1 << (order - 1)) - 1),
        ),
    }
}

/// All pages: bit 63 is 0.
fn all(domain: u64) -> Words {
    pages(domain, 0, 52)
}

/// Returns what an IOMMU is given for commands, with the guest's domain IDs.
fn made(commands: &[Words]) -> Vec<Words> {
    let recorder = Recorder::new(1);
    let outcome = carry_out::<LANE>(&recorder, 1, commands, None);
    assert_eq!(
        (outcome.done as usize, outcome.result),
        (commands.len(), Ok(()))
    );
    let given = recorder.submissions(0).concat();
    let guests = |words: &Words| {
        let host = bits(words, 47, 32);
        let mut known = recorder.domains[0].iter();
        let (id, _) = known.find(|(_, id)| u64::from(*id) == host).expect("ours");
        with(*words, 47, 32, (*id).into())
    };
    given.iter().map(guests).collect()
}

#[test]
fn neighbours_become_one() {
    for count in [2, 4, 64, 4096] {
        let commands: Vec<_> = (0..count).map(|page| pages(7, page, 0)).collect();
        assert_eq!(made(&commands), [pages(7, 0, count.ilog2())]);
        // In the other order as well.
        let commands: Vec<_> = (0..count).rev().map(|page| pages(7, page, 0)).collect();
        assert_eq!(made(&commands), [pages(7, 0, count.ilog2())]);
    }
    // Seven pages are three ranges.
    let commands: Vec<_> = (0..7).map(|page| pages(7, page, 0)).collect();
    let expected = [pages(7, 0, 2), pages(7, 4, 1), pages(7, 6, 0)];
    assert_eq!(made(&commands), expected);
}

#[test]
fn the_larger_stays() {
    for (first, second) in [
        (pages(7, 8, 3), pages(7, 9, 0)),
        (pages(7, 8, 3), pages(7, 12, 2)),
        (pages(7, 8, 3), pages(7, 8, 3)),
        (all(7), pages(7, 8, 3)),
        (all(7), all(7)),
    ] {
        assert_eq!(made(&[first, second]), [first]);
        assert_eq!(made(&[second, first]), [first]);
    }
}

#[test]
fn what_differs_stays_apart() {
    let page = with_pasid(pages(7, 0, 0), 5);
    let next = with_pasid(pages(7, 1, 0), 5);
    assert_eq!(made(&[page, next]).len(), 1);
    for other in [
        // Another domain, another PASID, none, and entries of directories.
        with(next, 47, 32, 1),
        with_pasid(next, 6),
        with(next, 66, 66, 0),
        with(next, 65, 65, 1),
        // Not the other half of a range, and of another size.
        with_pasid(pages(7, 2, 0), 5),
        with_pasid(pages(7, 2, 1), 5),
        with_pasid(pages(7, 1 << 40, 0), 5),
    ] {
        let expected = if bits(&other, 66, 66) == 0 {
            // A PASID counts with GN only.
            with(other, 19, 0, 0)
        } else {
            other
        };
        assert_eq!(made(&[page, other]), [page, expected], "{other:x?}");
    }
    // 1 and 2 are neighbours, but no range of two pages has both.
    assert_eq!(made(&[pages(7, 1, 0), pages(7, 2, 0)]).len(), 2);
    // Other commands are not merged.
    let entry = with(with([0; 2], 63, 60, 2), 15, 0, 0x10);
    let device = |page| with(with(pages(0, page, 0), 63, 60, 4), 15, 0, 0x18);
    for commands in [[entry, entry], [device(0), device(1)]] {
        let recorder = Recorder::new(1);
        carry_out::<LANE>(&recorder, 1, &commands, None);
        assert_eq!(recorder.submissions(0).concat().len(), 2);
    }
}

/// The largest ranges: 2^40 pages, and all.
#[test]
fn the_largest_stay_apart() {
    let halves = [pages(7, 0, 39), pages(7, 1 << 39, 39)];
    assert_eq!(made(&halves), [pages(7, 0, 40)]);
    let halves = [pages(7, 0, 40), pages(7, 1 << 40, 40)];
    assert_eq!(made(&halves), halves);
}

/// A COMPLETION_WAIT that holds back what is behind it does so.
#[test]
fn nothing_is_merged_with_what_is_complete() {
    let wait = |flush| with(with([0; 2], 63, 60, 1), 2, 2, flush);
    let commands = |flush| [pages(7, 0, 0), wait(flush), pages(7, 1, 0)];
    assert_eq!(made(&commands(1)).len(), 2);
    assert_eq!(made(&commands(0)).len(), 1);
}

#[test]
fn a_full_lane_has_room_for_what_is_merged() {
    let mut commands: Vec<_> = (0..63).map(|page| pages(7, page * 2, 0)).collect();
    commands.push(pages(7, 0x1000, 8));
    // All of these are in the last range.
    commands.extend((0x1000..0x1100).map(|page| pages(7, page, 0)));
    let recorder = Recorder::new(1);
    let outcome = carry_out::<LANE>(&recorder, 1, &commands, None);
    assert_eq!((outcome.done, outcome.submissions), (64 + 256, 1));
}

/// Commands and submissions for the batches of `bench-amd`, which Documentation/performance.rst has.
#[test]
fn batches_that_are_measured() {
    let entry = with(with([0; 2], 63, 60, 2), 15, 0, 0x10);
    let kinds: [&dyn Fn(u64) -> Words; 3] = [&|n| pages(7, n, 0), &|n| pages(7, n * 2, 0), &|n| {
        if n % 16 == 0 {
            entry
        } else {
            pages(7, n, 0)
        }
    }];
    for (count, expected) in [
        (1, [(1, 1), (1, 1), (1, 1)]),
        (16, [(1, 1), (16, 1), (5, 1)]),
        (256, [(1, 1), (256, 4), (81, 2)]),
        (4096, [(1, 1), (4096, 64), (1293, 21)]),
    ] {
        let counts = kinds.map(|nth| {
            let commands: Vec<_> = (0..count).map(nth).collect();
            let recorder = Recorder::new(1);
            let outcome = carry_out::<LANE>(&recorder, 1, &commands, None);
            assert_eq!(outcome.result, Ok(()));
            (recorder.submissions(0).concat().len(), outcome.submissions)
        });
        assert_eq!(counts, expected, "{count} commands");
    }
}

/// Commands of a few kinds for pages that are near each other.
fn near(random: &mut Random) -> Words {
    let order = *random.pick(&[0, 0, 0, 0, 1, 2, 5]);
    let first = random.within(0..=63) >> order << order;
    let domain = *random.pick(&[1, 7]);
    if random.one_in(100) {
        return all(domain);
    }
    let words = pages(domain, first, order);
    match random.within(0..=5) {
        0 => with_pasid(words, 5),
        1 => with(words, 65, 65, 1),
        _ => words,
    }
}

/// Returns, for each kind and each of the pages that are used, whether it is invalidated. Beyond
/// these there is page 1000, which only commands for all pages name.
fn invalidated(commands: &[Words]) -> BTreeMap<(u64, u64, u64), bool> {
    let mut pages = BTreeMap::new();
    for words in commands {
        let (first, count) = range(*words);
        for page in (0..64).chain([1000]) {
            let kind = (words[0], bits(words, 66, 65), page);
            let is_in = page >= first && page - first < count;
            *pages.entry(kind).or_insert(false) |= is_in;
        }
    }
    pages
}

#[test]
fn the_same_is_invalidated() {
    let saved = Cell::new(0);
    let inputs = with_list(|random| {
        let commands = (0..random.within(1..=60)).map(|_| near(random));
        ((), commands.collect())
    });
    for_all(20_000, inputs, |((), Hex(commands))| {
        let given = made(&commands);
        given.iter().for_each(guest::check_physical);
        assert_eq!(invalidated(&given), invalidated(&commands), "{commands:x?}");
        saved.set(saved.get() + commands.len() - given.len());
    });
    // Checks that enough merges were tested.
    assert!(saved.get() > 20_000, "{} merges", saved.get());
}
