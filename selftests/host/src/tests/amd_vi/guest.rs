// SPDX-License-Identifier: GPL-2.0-only

//! Random commands of a guest, and what may be in a command for an IOMMU.

use crate::{
    drivers::amd_vi::command::Words,
    tests::{
        amd_vi::{
            bits,
            command::{
                fields,
                OPCODES, //
            },
            with, //
        },
        random::Random, //
    }, //
};

/// Returns a command that is valid more often than not.
pub(super) fn any_command(random: &mut Random) -> Words {
    let opcode = if random.one_in(40) {
        random.within(0..=15)
    } else {
        *random.pick(&OPCODES)
    };
    let mut words = with([0; 2], 63, 60, opcode);
    for (high, low) in fields(opcode) {
        words = with(words, *high, *low, random.number());
    }
    match opcode {
        2 | 4 => {
            let device = *random.pick(&[0x10, 0x18, 0x110, 0x118, 0x210, 0x19]);
            words = with(words, 15, 0, device);
        }
        3 => words = with(words, 47, 32, *random.pick(&[0, 1, 7, 0xfff, 0x1007, 8])),
        _ => {}
    }
    if random.one_in(40) {
        let bit = random.within(0..=127) as u32;
        words = with(words, bit, bit, 1);
    }
    words
}

/// Panics if an IOMMU would not know the command, or might understand it in another way.
pub(super) fn check_physical(words: &Words) {
    let opcode = bits(words, 63, 60);
    assert!([2, 3, 4].contains(&opcode), "{words:x?}");
    for bit in (0..60).chain(64..128) {
        let known = fields(opcode)
            .iter()
            .any(|(high, low)| (*low..=*high).contains(&bit));
        assert!(known || bits(words, bit, bit) == 0, "{words:x?}, bit {bit}");
    }
    if opcode != 2 && bits(words, 64, 64) == 1 {
        let page = bits(words, 127, 76);
        let size = 13 + page.trailing_ones();
        assert!(size <= 52 || page == (1 << 51) - 1, "{words:x?}");
    }
}
