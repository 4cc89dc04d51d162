// SPDX-License-Identifier: GPL-2.0-only

//! Tests of guests' stream table entries.

use kernel::prelude::*;
use proptest::prelude::{
    any,
    Strategy, //
};

use crate::{
    drivers::smmu_v3::{
        features::Features,
        ste::{
            Ste,
            Vste, //
        }, //
    },
    tests::{
        random::{
            for_all,
            made,
            Hex, //
        },
        smmu_v3::{
            guest::{
                features,
                BARE,
                FULL, //
            },
            scope::{
                bits,
                with, //
            }, //
        }, //
    }, //
};

const ABORT: u64 = 0b000;
const BYPASS: u64 = 0b100;
const TRANSLATE: u64 = 0b101;

/// Returns a valid entry with this value of Config and all other fields 0.
fn with_config(config: u64) -> [u64; 2] {
    with([1, 0], 3, 1, config)
}

/// Returns the entry that the driver makes for the second stage of a device, with every field set
/// that the driver may set.
fn stage_2(ats: bool) -> Ste {
    let word1 = (1 << 25) | (1 << 44) | (u64::from(ats) << 28);
    [
        0b1101,
        word1,
        0x0408_0123_4567_1234,
        0x000f_1234_5678_9ab0,
        0,
        0,
        0,
        0,
    ]
}

/// Fields that a guest may set, as pairs of highest and lowest bit of 128.
const ALLOWED: [(u32, u32); 12] = [
    (0, 0),
    (3, 1),
    (5, 4),
    (51, 6),
    (63, 59),
    (65, 64),
    (67, 66),
    (69, 68),
    (71, 70),
    (91, 91),
    (93, 92),
    (93, 92),
];

fn is_allowed(bit: u32) -> bool {
    ALLOWED
        .iter()
        .any(|(high, low)| (*low..=*high).contains(&bit))
}

#[test]
fn every_bit_that_is_not_the_guests_is_refused() {
    for config in [ABORT, BYPASS, TRANSLATE] {
        for bit in (0..128).filter(|bit| !is_allowed(*bit)) {
            let vste = with(with_config(config), bit, bit, 1);
            assert_eq!(Vste::from_guest(vste, &FULL), Err(EIO), "bit {bit}");
        }
    }
}

#[test]
fn every_bit_of_a_first_stage_is_taken_over() {
    let bits_of = ALLOWED.iter().flat_map(|(high, low)| *low..=*high);
    // The host sets V and Config; EATS is the state of ATS.
    for bit in bits_of.filter(|bit| !matches!(bit, 0..=3 | 92 | 93)) {
        let vste = with(with_config(TRANSLATE), bit, bit, 1);
        // The highest bit alone is an S1CDMax of 16, which `FULL` has room for.
        let valid = Vste::from_guest(vste, &FULL).expect("it is valid");
        let ste = valid.on_smmu(&FULL).encode(&stage_2(false));
        assert_eq!(bits([ste[0], ste[1]], bit, bit), 1, "bit {bit}");
    }
}

#[test]
fn without_v_nothing_else_counts() {
    for_all(200, any::<[u64; 2]>().prop_map(Hex), |Hex(words)| {
        let words = with(words, 0, 0, 0);
        assert_eq!(Vste::from_guest(words, &BARE), Ok(Vste::Invalid));
    });
}

#[test]
fn configs() {
    for (config, valid) in [
        (ABORT, true),
        (1, false),
        (2, false),
        (3, false),
        (BYPASS, true),
        (TRANSLATE, true),
        (6, false),
        (7, false),
    ] {
        let result = Vste::from_guest(with_config(config), &FULL);
        assert_eq!(result.is_ok(), valid, "Config {config:#b}");
    }
    assert_eq!(Vste::from_guest(with_config(ABORT), &FULL), Ok(Vste::Abort));
    assert_eq!(
        Vste::from_guest(with_config(BYPASS), &FULL),
        Ok(Vste::Bypass)
    );
}

#[test]
fn ats() {
    let vste = |eats| Vste::from_guest(with(with_config(TRANSLATE), 93, 92, eats), &FULL);
    assert!(!vste(0).expect("no ATS").enables_ats());
    assert!(vste(1).expect("full ATS").enables_ats());
    assert_eq!(vste(2), Err(EIO));
    assert_eq!(vste(3), Err(EIO));
    for config in [ABORT, BYPASS] {
        for (eats, valid) in [(0, true), (1, true), (2, false), (3, false)] {
            let vste = Vste::from_guest(with(with_config(config), 93, 92, eats), &FULL);
            assert_eq!(vste.is_ok(), valid);
            // The host invalidates what a device caches of the second stage alone.
            assert!(vste.map_or(true, |vste| !vste.enables_ats()));
        }
    }
}

#[test]
fn number_of_context_descriptors() {
    for ssid_bits in [0, 1, 5, 20] {
        let features = Features { ssid_bits, ..FULL };
        for cd_max in 0..32 {
            let vste = with(with_config(TRANSLATE), 63, 59, cd_max);
            let legal = ssid_bits == 0 || cd_max <= u64::from(ssid_bits);
            let result = Vste::from_guest(vste, &features);
            assert_eq!(result.is_ok(), legal, "S1CDMax {cd_max} of {ssid_bits}");
            // The field is ignored without a first stage.
            let vste = with(with_config(BYPASS), 63, 59, cd_max);
            assert_eq!(Vste::from_guest(vste, &features), Ok(Vste::Bypass));
        }
    }
}

#[test]
fn two_levels_of_context_descriptors() {
    for (two_level_cds, cd_max, format, legal) in [
        (false, 0, 2, true),
        (false, 1, 0, true),
        (false, 1, 1, false),
        (false, 1, 2, false),
        (false, 1, 3, false),
        (true, 1, 1, true),
        (true, 1, 2, true),
        (true, 1, 3, true),
    ] {
        let features = Features {
            two_level_cds,
            ..FULL
        };
        let vste = with(with_config(TRANSLATE), 63, 59, cd_max);
        let vste = with(vste, 5, 4, format);
        assert_eq!(Vste::from_guest(vste, &features).is_ok(), legal);
    }
}

#[test]
fn stalls() {
    for stall_configurable in [false, true] {
        let features = Features {
            stall_configurable,
            ..FULL
        };
        let vste = with(with_config(TRANSLATE), 91, 91, 1);
        assert_eq!(
            Vste::from_guest(vste, &features).is_ok(),
            stall_configurable
        );
        let vste = with(with_config(BYPASS), 91, 91, 1);
        assert!(Vste::from_guest(vste, &features).is_ok());
    }
}

#[test]
fn only_devices_that_may_stall_do() {
    // The guest's entry was validated for all SMMUs of a vIOMMU; the entry is one SMMU's.
    let guests = [0, 1].map(|stalld| with(with_config(TRANSLATE), 91, 91, stalld));
    let guests = guests.map(|words| Vste::from_guest(words, &FULL).expect("it is valid"));
    // S1STALLD for a guest's 0 and 1. On an SMMU where stalls cannot be chosen only 0 is valid.
    for (stall_configurable, s2s, expected) in [
        (true, 0, [1, 1]),
        (true, 1, [0, 1]),
        (false, 0, [0, 1]),
        (false, 1, [0, 1]),
    ] {
        let features = Features {
            stall_configurable,
            ..FULL
        };
        let mut second = stage_2(false);
        second[2] |= s2s << 57;
        let made = guests.map(|vste| vste.on_smmu(&features).encode(&second)[1] >> 27 & 1);
        assert_eq!(made, expected, "{stall_configurable}, S2S {s2s}");
        let bypass = Vste::Bypass.on_smmu(&features).encode(&second);
        assert_eq!(bypass, second);
    }
}

#[test]
fn what_the_driver_decides_by() {
    for (words, seen) in [
        ([0b1010, 0], 0),
        (with_config(ABORT), 0b0001),
        (with_config(BYPASS), 0b1001),
        (with(with_config(TRANSLATE), 51, 6, 0x1234), 0b1011),
    ] {
        let vste = Vste::from_guest(words, &FULL).expect("it is valid");
        assert_eq!(vste.config_word(), seen);
    }
}

#[test]
fn no_stage_and_one_stage() {
    for ats in [false, true] {
        for vste in [Vste::Invalid, Vste::Abort] {
            let ste = vste.on_smmu(&FULL).encode(&stage_2(ats));
            assert_eq!(ste, [1, 0, 0, 0, 0, 0, 0, 0]);
        }
        let ste = Vste::Bypass.on_smmu(&FULL).encode(&stage_2(ats));
        assert_eq!(ste, stage_2(ats));
    }
}

#[test]
fn both_stages() {
    let words = || any::<[u64; 2]>().prop_map(Hex);
    let inputs = (made(features), words(), any::<bool>(), words());
    for_all(2000, inputs, |(features, Hex(noise), ats, Hex(before))| {
        let mut words = with_config(TRANSLATE);
        for (high, low) in ALLOWED.into_iter().filter(|(_, low)| *low > 3) {
            words = with(words, high, low, bits(noise, high, low));
        }
        let Ok(vste) = Vste::from_guest(words, &features) else {
            return;
        };
        // The driver enables ATS only if the guest's entry does not disable it, and the device has
        // it.
        let ats = vste.enables_ats() && ats;
        let mut second = stage_2(ats);
        // Whatever the fields of a first stage have been.
        second[1] |= before[0] & (0xff | 1 << 27);
        // S2S
        second[2] |= before[1] & 1 << 57;
        let ste = vste.on_smmu(&features).encode(&second);
        // These words come from the host: VMID, table, walk parameters.
        assert_eq!(ste[2..], second[2..]);
        let (guest, made, host) = (words, [ste[0], ste[1]], [second[0], second[1]]);
        assert_eq!(bits(made, 0, 0), 1);
        assert_eq!(bits(made, 3, 1), 0b111);
        for (high, low) in [(5, 4), (51, 6), (63, 59), (71, 64)] {
            assert_eq!(bits(made, high, low), bits(guest, high, low));
        }
        // S1STALLD is the guest's where the device may stall.
        let must_not_stall = features.stall_configurable && second[2] >> 57 & 1 == 0;
        let stalld = bits(guest, 91, 91) | u64::from(must_not_stall);
        assert_eq!(bits(made, 91, 91), stalld);
        assert_eq!(bits(made, 58, 52), 0);
        // EATS, S2FWB, SHCFG and STRW come from the host.
        for (high, low) in [(93, 92), (89, 89), (109, 108), (95, 94)] {
            assert_eq!(bits(made, high, low), bits(host, high, low));
        }
        // MEV is always set.
        assert_eq!(bits(made, 83, 83), 1);
        // No other field is set.
        let known = [(71, 64), (83, 83), (89, 89), (91, 91), (93, 92), (109, 108)];
        let rest = known
            .into_iter()
            .fold(made, |made, (high, low)| with(made, high, low, 0));
        assert_eq!(rest[1], 0);
    });
}
