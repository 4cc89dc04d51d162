// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the validation of guests' invalidation commands.

use kernel::prelude::*;
use proptest::prelude::{
    any,
    Strategy, //
};

use crate::{
    drivers::smmu_v3::{
        command::{
            Class,
            Command,
            Rules,
            Target,
            Words, //
        },
        features::Features, //
    },
    tests::{
        random::{
            for_all,
            made,
            Hex, //
        },
        smmu_v3::{
            guest::{
                self,
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

/// For each opcode: its class, and the fields beside the opcode that may be set with all features
/// and with none. The fields of range invalidation have their own test.
type Row = (u64, Class, &'static [(u32, u32)], &'static [(u32, u32)]);

const TABLE: [Row; 8] = [
    (
        0x05,
        Class::Configuration,
        &[(63, 32), (31, 12), (64, 64)],
        &[(63, 32), (64, 64)],
    ),
    (0x06, Class::Configuration, &[(63, 32)], &[(63, 32)]),
    (0x10, Class::Translation, &[(47, 32)], &[(47, 32)]),
    (
        0x11,
        Class::Translation,
        &[(47, 32), (63, 48)],
        &[(47, 32), (55, 48)],
    ),
    (
        0x12,
        Class::Translation,
        &[(47, 32), (63, 48), (64, 64), (127, 76)],
        &[(47, 32), (55, 48), (64, 64), (127, 76)],
    ),
    (
        0x13,
        Class::Translation,
        &[(47, 32), (64, 64), (127, 76)],
        &[(47, 32), (64, 64), (127, 76)],
    ),
    (0x30, Class::Translation, &[], &[]),
    (
        0x40,
        Class::DeviceCache,
        &[(63, 32), (31, 12), (11, 11), (9, 9), (69, 64), (127, 76)],
        &[],
    ),
];

/// The fields of range invalidation: NUM, SCALE, TTL, TG.
const RANGE: [(u32, u32); 4] = [(16, 12), (25, 20), (73, 72), (75, 74)];

fn is_in(fields: &[(u32, u32)], bit: u32) -> bool {
    fields
        .iter()
        .any(|(high, low)| (*low..=*high).contains(&bit))
}

fn parse(words: Words, features: &Features) -> Result<Command> {
    Rules::new(*features).check(words)
}

#[test]
fn opcodes() {
    for opcode in 0..256 {
        let row = TABLE.iter().find(|row| row.0 == opcode);
        let class = parse([opcode, 0], &FULL).map(|command| command.class());
        assert_eq!(class.ok(), row.map(|row| row.1));
    }
    // An SMMU without ATS stops at the command.
    assert_eq!(parse([0x40, 0], &BARE).err(), Some(EIO));
}

#[test]
fn every_bit_of_every_command() {
    for (opcode, _, full, bare) in TABLE {
        for (features, fields) in [(&FULL, full), (&BARE, bare)] {
            if opcode == 0x40 && !features.ats {
                continue;
            }
            let by_address = matches!(opcode, 0x12 | 0x13) && features.range_invalidation;
            for bit in 8..128 {
                if by_address && is_in(&RANGE, bit) {
                    continue;
                }
                let valid = parse(with([opcode, 0], bit, bit, 1), features).is_ok();
                assert_eq!(valid, is_in(fields, bit), "opcode {opcode:#x}, bit {bit}");
            }
        }
    }
}

#[test]
fn size_of_device_cache_invalidations() {
    for size in 0..64 {
        let command = with([0x40, 0], 69, 64, size);
        assert_eq!(parse(command, &FULL).is_ok(), size <= 52, "Size {size}");
    }
}

#[test]
fn ranges() {
    for opcode in [0x12, 0x13] {
        for (range_invalidation, ds) in [(false, false), (true, false), (true, true)] {
            let features = Features {
                range_invalidation,
                ds,
                ..FULL
            };
            for tg in 0..4 {
                for ttl in 0..4 {
                    for num in 0..32 {
                        for scale in 0..64 {
                            let command = with([opcode, 0], 75, 74, tg);
                            let command = with(command, 73, 72, ttl);
                            let command = with(command, 16, 12, num);
                            let command = with(command, 25, 20, scale);
                            let plain = [tg, ttl, num, scale] == [0; 4];
                            let ranged = tg != 0
                                && range_invalidation
                                && (ttl != 0 || num != 0 || scale != 0)
                                && (ds || scale < 32)
                                && (ds || (tg, ttl) != (2, 1));
                            assert_eq!(
                                parse(command, &features).is_ok(),
                                plain || ranged,
                                "TG {tg} TTL {ttl} NUM {num} SCALE {scale} DS {ds}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Checks that a command is plain if it is valid, and names an ASID alone or an address without a
/// granule, and returns whether it is.
fn check_plain(words: Words, features: &Features) -> bool {
    let rules = Rules::new(*features);
    let by_address = matches!(bits(words, 7, 0), 0x12 | 0x13);
    let is_plain = bits(words, 7, 0) == 0x11 || by_address && bits(words, 75, 74) == 0;
    let expected = rules.check(words).ok().filter(|_| is_plain);
    let expected = expected.map(|command| command.target());
    let plain = rules.plain(words).and_then(|plain| plain.command(words));
    let plain = plain.map(Target::AddressSpaces);
    assert_eq!(plain, expected, "{words:x?} {features:?}");
    plain.is_some()
}

#[test]
fn plain_commands_are_valid() {
    for opcode in 0..256 {
        for features in [&FULL, &BARE] {
            let plain = check_plain([opcode, 0], features);
            assert_eq!(plain, matches!(opcode, 0x11..=0x13));
            for bit in 8..128 {
                check_plain(with([opcode, 0], bit, bit, 1), features);
            }
        }
    }
    let inputs = (
        made(guest::features_and_command),
        0..128u32,
        any::<[u64; 2]>().prop_map(Hex),
    );
    for_all(20_000, inputs, |input| {
        let ((features, Hex(words)), bit, Hex(noise)) = input;
        check_plain(words, &features);
        let flipped = with(words, bit, bit, bits(words, bit, bit) ^ 1);
        check_plain(flipped, &features);
        check_plain(noise, &features);
    });
}

#[test]
fn vmid_and_stream_are_ours() {
    let ids = (any::<u16>(), any::<u32>());
    let inputs = (made(guest::features_and_command), ids);
    for_all(5000, inputs, |((features, Hex(words)), (vmid, sid))| {
        let command = parse(words, &features).expect("it is valid");
        match command.target() {
            Target::AddressSpaces(tlbi) => {
                let made: Words = tlbi.on_vmid(vmid).into();
                assert_eq!(bits(made, 47, 32), u64::from(vmid));
                let mut rest = words;
                if rest[0] == 0x30 {
                    rest[0] = 0x10;
                }
                assert_eq!(with(made, 47, 32, 0), with(rest, 47, 32, 0));
            }
            Target::Device(command) => {
                assert_eq!(u64::from(command.vsid()), bits(words, 63, 32));
                let made: Words = command.on_stream(sid).into();
                assert_eq!(bits(made, 63, 32), u64::from(sid));
                assert_eq!(with(made, 63, 32, 0), with(words, 63, 32, 0));
            }
        }
    });
}

#[test]
fn no_noise_gets_through() {
    let inputs = (made(guest::features_and_command), 0..128u32);
    for_all(20_000, inputs, |((features, Hex(words)), bit)| {
        let words = with(words, bit, bit, bits(words, bit, bit) ^ 1);
        let Ok(command) = parse(words, &features) else {
            return;
        };
        let made = match command.target() {
            Target::AddressSpaces(tlbi) => tlbi.on_vmid(7),
            Target::Device(command) => command.on_stream(7),
        };
        let opcode = bits(made.into(), 7, 0);
        assert!([0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x40].contains(&opcode));
    });
}
