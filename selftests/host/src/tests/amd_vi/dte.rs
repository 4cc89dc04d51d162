// SPDX-License-Identifier: GPL-2.0-only

//! Device table entries. Bits are counted over the whole entry, as the specification does.

use kernel::prelude::*;
use proptest::{
    collection::vec,
    prelude::{
        any,
        Strategy, //
    }, //
};

use crate::{
    drivers::amd_vi::{
        dte::{
            Dte,
            GuestDte, //
        },
        hardware::Hardware, //
    },
    tests::{
        amd_vi::{
            bits,
            with,
            BARE,
            FULL, //
        },
        random::{
            for_all,
            Hex, //
        }, //
    }, //
};

/// Bits of an entry.
const V: u32 = 0;
const TV: u32 = 1;
const PPR: u32 = 52;
const GPRP: u32 = 53;
const GIOV: u32 = 54;
const GV: u32 = 55;
const IR: u32 = 61;
const IW: u32 = 62;
const I: u32 = 96;
const SE: u32 = 97;
const SA: u32 = 98;

/// What a guest must not set: high and low bit.
const REFUSED: [(u32, u32); 14] = [
    // Reserved.
    (6, 2),
    // HAD
    (8, 7),
    // Reserved.
    (63, 63),
    // IoCtl
    (100, 99),
    // SD
    (102, 102),
    // EX
    (103, 103),
    // SysMgt
    (105, 104),
    // SATS
    (106, 106),
    // Reserved.
    (181, 180),
    // HPTMode
    (187, 187),
    // Reserved, and fields for virtual IOMMUs in hardware.
    (245, 192),
    // AttrV
    (246, 246),
    // Mode0FC
    (247, 247),
    // SnoopAttribute
    (255, 248),
];

fn set(dte: Dte, bit: u32) -> Dte {
    with(dte, bit, bit, 1)
}

fn clear(dte: Dte, bit: u32) -> Dte {
    with(dte, bit, bit, 0)
}

fn is_set(dte: &Dte, bit: u32) -> bool {
    bits(dte, bit, bit) == 1
}

fn with_table(dte: Dte, address: u64) -> Dte {
    let dte = with(dte, 60, 58, address >> 12);
    let dte = with(dte, 95, 80, address >> 15);
    with(dte, 127, 107, address >> 31)
}

fn table(dte: &Dte) -> u64 {
    bits(dte, 60, 58) << 12 | bits(dte, 95, 80) << 15 | bits(dte, 127, 107) << 31
}

/// A guest's entry with a table and all permissions.
fn nested() -> Dte {
    let dte = [V, TV, GV, IR, IW].into_iter().fold([0; 4], set);
    with(with_table(dte, 0x1234_5000), 79, 64, 0x77)
}

/// An entry of the host for its stage alone.
fn host() -> Dte {
    let dte = [V, TV, IR, IW, I].into_iter().fold([0; 4], set);
    let dte = with(with(dte, 11, 9, 4), 51, 12, 0xabcde);
    with(with(dte, 79, 64, 0x4321), 191, 128, 0x1234_5678)
}

fn made(guest: Dte) -> Dte {
    let guest = GuestDte::new(guest, &FULL).expect("valid");
    let mut dte = host();
    guest.fill(&mut dte);
    dte
}

fn refusal(guest: Dte, hardware: &Hardware) -> Option<Error> {
    GuestDte::new(guest, hardware).err()
}

#[test]
fn every_bit() {
    for bit in 0..256 {
        let refused = REFUSED
            .iter()
            .any(|(high, low)| (*low..=*high).contains(&bit));
        let second_stage = (9..=11).contains(&bit) || (12..=51).contains(&bit);
        let reserved_mode = bit == 183;
        let expected = (refused || second_stage || reserved_mode).then_some(EINVAL);
        assert_eq!(refusal(set(nested(), bit), &FULL), expected, "bit {bit}");
        // Without a table, its fields are ignored.
        let untranslated = set(clear(nested(), GV), bit);
        let expected = (refused || second_stage).then_some(EINVAL);
        if bit != GV {
            assert_eq!(refusal(untranslated, &FULL), expected, "bit {bit}");
        }
        // Without TV, those of the second stage too.
        if bit != TV {
            let blocked = set(clear(nested(), TV), bit);
            assert_eq!(
                refusal(blocked, &FULL),
                refused.then_some(EINVAL),
                "bit {bit}"
            );
        }
        // Without V, all.
        if bit != V {
            assert_eq!(
                refusal(set(clear(nested(), V), bit), &FULL),
                None,
                "bit {bit}"
            );
        }
    }
}

#[test]
fn bits_of_features() {
    for (bit, hardware) in [
        (
            PPR,
            Hardware {
                page_requests: false,
                ..FULL
            },
        ),
        (
            GPRP,
            Hardware {
                page_requests: false,
                ..FULL
            },
        ),
        (
            GPRP,
            Hardware {
                enhanced_page_requests: false,
                ..FULL
            },
        ),
        (
            GIOV,
            Hardware {
                guest_io: false,
                ..FULL
            },
        ),
        (
            GV,
            Hardware {
                guest_translation: false,
                ..FULL
            },
        ),
    ] {
        assert_eq!(
            refusal(set(nested(), bit), &hardware),
            Some(EINVAL),
            "bit {bit}"
        );
        assert_eq!(refusal(set(nested(), bit), &FULL), None, "bit {bit}");
    }
    assert_eq!(refusal(clear(nested(), GV), &BARE), None);
    let without_levels = Hardware {
        max_glx: 0,
        five_levels: false,
        ..FULL
    };
    assert_eq!(refusal(nested(), &without_levels), None);
}

#[test]
fn levels() {
    for max_glx in 0..=2 {
        for glx in 0..=3 {
            let hardware = Hardware { max_glx, ..FULL };
            let expected = match glx {
                3 => Some(EINVAL),
                glx if glx > max_glx => Some(EOPNOTSUPP),
                _ => None,
            };
            assert_eq!(refusal(with(nested(), 57, 56, glx), &hardware), expected);
        }
    }
    for five_levels in [false, true] {
        let hardware = Hardware {
            five_levels,
            ..FULL
        };
        for mode in 0..=3 {
            let expected = match mode {
                0 => None,
                1 => (!five_levels).then_some(EOPNOTSUPP),
                _ => Some(EINVAL),
            };
            assert_eq!(refusal(with(nested(), 183, 182, mode), &hardware), expected);
        }
    }
}

#[test]
fn the_table() {
    assert_eq!(refusal(with_table(nested(), 0), &FULL), Some(EINVAL));
    for bit in 12..=51 {
        let guest = with_table(nested(), 1 << bit);
        assert_eq!(table(&made(guest)), 1 << bit, "bit {bit}");
    }
    for glx in 0..=2 {
        for mode in 0..=1 {
            let guest = with(with(nested(), 57, 56, glx), 183, 182, mode);
            let dte = made(guest);
            assert_eq!((bits(&dte, 57, 56), bits(&dte, 183, 182)), (glx, mode));
        }
    }
    for giov in [0, 1] {
        let dte = made(with(nested(), GIOV, GIOV, giov));
        assert_eq!(bits(&dte, GIOV, GIOV), giov);
        assert!(is_set(&dte, GV));
    }
}

#[test]
fn without_v_the_second_stage_translates() {
    for_all(200, any::<Dte>().prop_map(Hex), |Hex(words)| {
        let guest = clear(words, V);
        assert_eq!(made(guest), host(), "{guest:x?}");
        assert_eq!(
            GuestDte::new(guest, &FULL).map(|dte| dte.domain_id()),
            Ok(0)
        );
    });
    assert_eq!(made([0; 4]), host());
}

#[test]
fn without_tv_nothing_passes() {
    let expected = [TV, IR, IW].into_iter().fold(host(), clear);
    assert_eq!(made(clear(nested(), TV)), expected);
    assert_eq!(made([1, 0, 0, 0]), expected);
}

#[test]
fn without_gv_the_second_stage_translates() {
    assert_eq!(made(clear(nested(), GV)), host());
}

#[test]
fn permissions() {
    for base in [nested(), clear(nested(), GV)] {
        for ir in [0, 1] {
            for iw in [0, 1] {
                let dte = made(with(with(base, IR, IR, ir), IW, IW, iw));
                assert_eq!((bits(&dte, IR, IR), bits(&dte, IW, IW)), (ir, iw));
                assert!(is_set(&dte, V) && is_set(&dte, TV));
            }
        }
    }
    // The host's are not widened.
    let mut dte = clear(host(), IW);
    GuestDte::new(nested(), &FULL)
        .expect("valid")
        .fill(&mut dte);
    assert!(is_set(&dte, IR) && !is_set(&dte, IW));
}

#[test]
fn ats_is_on_if_guest_and_host_want_it() {
    let fill = |guest, mut dte| {
        GuestDte::new(guest, &FULL).expect("valid").fill(&mut dte);
        is_set(&dte, I)
    };
    let with_ats = set(nested(), I);
    assert!(fill(with_ats, host()));
    assert!(!fill(with_ats, clear(host(), I)));
    assert!(!fill(nested(), host()));
    // The host invalidates what devices cache of its stage.
    assert!(fill(clear(nested(), GV), host()));
}

#[test]
fn events_are_suppressed() {
    for base in [nested(), clear(nested(), GV), clear(nested(), TV)] {
        for bit in [SE, SA] {
            let dte = made(set(base, bit));
            assert_eq!((is_set(&dte, SE), is_set(&dte, SA)), (bit == SE, bit == SA));
        }
    }
}

#[test]
fn domain_ids() {
    for id in [0, 1, 0x8000, 0xffff] {
        let dte = GuestDte::new(with(nested(), 79, 64, id.into()), &FULL);
        assert_eq!(dte.map(|dte| dte.domain_id()), Ok(id));
    }
}

/// Whatever a guest asks for, what is the host's stays the host's.
#[test]
fn the_rest_is_the_hosts() {
    // The guest's where both stages translate: GIOV, GV, GLX, table, paging mode.
    const TABLE: [(u32, u32); 6] = [
        (GIOV, GIOV),
        (57, 55),
        (60, 58),
        (95, 80),
        (127, 107),
        (183, 182),
    ];
    // What it can only take away.
    const SHARED: [u32; 4] = [TV, IR, IW, I];
    let words = || any::<Dte>().prop_map(Hex);
    // Few are refused, and most are valid.
    let refused = REFUSED.into_iter().chain([(51, 9), (183, 183)]);
    let refused: Vec<_> = refused.collect();
    let is_left = vec(proptest::bool::weighted(0.025), refused.len());
    let is_valid = proptest::bool::weighted(0.9);
    let inputs = (words(), is_left, is_valid, words());
    for_all(20_000, inputs, |input| {
        let (Hex(mut guest), is_left, is_valid, Hex(host)) = input;
        for ((high, low), is_left) in refused.iter().zip(is_left) {
            if !is_left {
                guest = with(guest, *high.min(&(low | 63)), *low, 0);
            }
        }
        if is_valid {
            guest = set(set(guest, V), TV);
        }
        let Ok(valid) = GuestDte::new(guest, &FULL) else {
            return;
        };
        let before = set(with(host, 60, 54, 0), V);
        let mut after = before;
        valid.fill(&mut after);
        let both = [V, TV, GV].into_iter().all(|bit| is_set(&guest, bit));
        for bit in 0..256 {
            let of_table = TABLE
                .iter()
                .any(|(high, low)| (*low..=*high).contains(&bit));
            if SHARED.contains(&bit) {
                assert!(is_set(&before, bit) || !is_set(&after, bit), "bit {bit}");
            } else if ![SE, SA].contains(&bit) {
                let from = if of_table && both { &guest } else { &before };
                assert_eq!(is_set(from, bit), is_set(&after, bit), "bit {bit}");
            }
        }
        // Filled again, as after a reset.
        let mut again = before;
        valid.fill(&mut again);
        assert_eq!(again, after);
    });
}
