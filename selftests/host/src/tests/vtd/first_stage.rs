// SPDX-License-Identifier: GPL-2.0-only

//! First stages: what is refused, and which bits of a PASID table entry are set.

use kernel::prelude::*;

use crate::{
    drivers::vtd::{
        first_stage::{
            FirstStage,
            EAFE,
            SRE,
            WPE, //
        },
        hardware::Hardware, //
    },
    tests::vtd::FULL, //
};

const POINTER: u64 = 0x1234_5678_9000;
/// All addresses can be translated.
const LAST: u64 = u64::MAX;

fn new(flags: u64, width: u32, hardware: &Hardware) -> Result<FirstStage> {
    FirstStage::new(flags, POINTER, width, 0, LAST, hardware)
}

/// The words of an entry, the other fields of which are all ones.
fn filled(stage: &FirstStage) -> [u64; 8] {
    let mut entry = [u64::MAX; 8];
    entry[2] = 0;
    stage.fill(&mut entry);
    entry
}

#[test]
fn registers() {
    assert_eq!(Hardware::new(1 << 60, 1 << 31 | 1 << 34), FULL);
    let without = Hardware::new(!(1 << 60), !(1 << 31 | 1 << 34));
    let expected = Hardware {
        five_levels: false,
        supervisor: false,
        extended_accessed: false,
    };
    assert_eq!(without, expected);
}

#[test]
fn every_unknown_flag() {
    for bit in 3..64 {
        assert_eq!(new(1 << bit, 48, &FULL), Err(EOPNOTSUPP), "bit {bit}");
    }
}

#[test]
fn every_reserved_bit() {
    for bit in 0..32 {
        let reserved = 1 << bit;
        let stage = FirstStage::new(0, POINTER, 48, reserved, LAST, &FULL);
        assert_eq!(stage, Err(EOPNOTSUPP), "bit {bit}");
    }
}

#[test]
fn every_bit_of_the_pointer() {
    for bit in 0..12 {
        let stage = FirstStage::new(0, POINTER | 1 << bit, 48, 0, LAST, &FULL);
        assert_eq!(stage, Err(EINVAL), "bit {bit}");
    }
    for bit in 12..64 {
        let stage = FirstStage::new(0, 1 << bit, 48, 0, LAST, &FULL).unwrap();
        assert_eq!(filled(&stage)[2], 1 << bit, "bit {bit}");
    }
}

/// Tables where the second stage has no page can be, and fault; those that it cannot reach cannot.
#[test]
fn tables_above_the_second_stage() {
    for bits in [39, 48, 57, 63] {
        let last = (1 << bits) - 1;
        for (pointer, reached) in [
            (0, true),
            (last & !0xfff, true),
            (last + 1, false),
            (u64::MAX & !0xfff, false),
        ] {
            let stage = FirstStage::new(0, pointer, 48, 0, last, &FULL);
            assert_eq!(stage.is_ok(), reached, "{pointer:x}, {bits} bits");
            assert!(reached || stage == Err(EINVAL));
        }
    }
}

#[test]
fn every_address_width() {
    let four = Hardware {
        five_levels: false,
        ..FULL
    };
    for width in 0..=128 {
        assert_eq!(new(0, width, &FULL).is_ok(), width == 48 || width == 57);
        assert_eq!(new(0, width, &four).is_ok(), width == 48);
    }
    assert_eq!(new(0, u32::MAX, &FULL), Err(EINVAL));
}

#[test]
fn flags_on_all_hardware() {
    for flags in 0..8 {
        for abilities in 0..4 {
            let hardware = Hardware {
                supervisor: abilities & 1 != 0,
                extended_accessed: abilities & 2 != 0,
                ..FULL
            };
            let lacks = (flags & SRE != 0 && !hardware.supervisor)
                || (flags & EAFE != 0 && !hardware.extended_accessed);
            let stage = new(flags, 57, &hardware);
            if lacks {
                assert_eq!(stage, Err(EINVAL), "flags {flags}, {hardware:?}");
                continue;
            }
            // Bits 128, 130, 132 and 135 of the entry (9.6).
            let mut word = POINTER | 1 << 2;
            if flags & SRE != 0 {
                word |= 1;
            }
            if flags & (SRE | WPE) == SRE | WPE {
                word |= 1 << 4;
            }
            if flags & EAFE != 0 {
                word |= 1 << 7;
            }
            let mut entry = [u64::MAX; 8];
            entry[2] = word;
            assert_eq!(filled(&stage.unwrap()), entry, "flags {flags}");
        }
    }
}

#[test]
fn attached_behind_another_iommu() {
    for flags in 0..8 {
        for width in [48, 57] {
            let stage = new(flags, width, &FULL).unwrap();
            for abilities in 0..8 {
                let other = Hardware {
                    five_levels: abilities & 1 != 0,
                    supervisor: abilities & 2 != 0,
                    extended_accessed: abilities & 4 != 0,
                    ..FULL
                };
                let made_there = new(flags, width, &other);
                let suits = stage.suits(&other);
                assert_eq!(
                    suits,
                    made_there.is_ok(),
                    "flags {flags}, width {width}, {other:?}"
                );
            }
        }
    }
}
