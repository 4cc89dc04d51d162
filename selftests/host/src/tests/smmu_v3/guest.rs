// SPDX-License-Identifier: GPL-2.0-only

//! Generates random commands of a guest and features of SMMUs.

use crate::{
    drivers::smmu_v3::{
        command::Words,
        features::Features, //
    },
    tests::{
        random::{
            Hex,
            Random, //
        },
        smmu_v3::scope::{
            entry_shift,
            with,
            TlbEntry, //
        }, //
    }, //
};

/// An SMMU with all features.
pub(super) const FULL: Features = Features {
    ats: true,
    two_level_cds: true,
    stall_configurable: true,
    range_invalidation: true,
    ds: true,
    asid_bits: 16,
    ssid_bits: 20,
    repeat_erratum: false,
};

/// An SMMU with no optional feature.
pub(super) const BARE: Features = Features {
    ats: false,
    two_level_cds: false,
    stall_configurable: false,
    range_invalidation: false,
    ds: false,
    asid_bits: 8,
    ssid_bits: 0,
    repeat_erratum: false,
};

/// Returns random features.
pub(super) fn features(random: &mut Random) -> Features {
    Features {
        ats: random.one_in(2),
        two_level_cds: random.one_in(2),
        stall_configurable: random.one_in(2),
        range_invalidation: !random.one_in(4),
        ds: random.one_in(2),
        asid_bits: *random.pick(&[8, 16]),
        ssid_bits: *random.pick(&[0, 1, 8, 20]),
        repeat_erratum: random.one_in(8),
    }
}

/// The StreamIDs of all devices of the guest.
pub(super) const VSIDS: [u32; 3] = [0, 8, 0xffff_ffff];

fn asid(random: &mut Random) -> u64 {
    *random.pick(&[0, 1, 0xff])
}

/// Returns an address near one of a few places, so that commands and entries often match.
fn address(random: &mut Random, shift: u32) -> u64 {
    let base = *random.pick(&[0, 0x4000_0000, 0xf_ffff_ffff_0000, 0xffff_ffff_0000_0000]);
    let base: u64 = base;
    base.wrapping_add(random.within(0..=40) << shift) & !((1 << shift) - 1)
}

/// Sets the fields of range invalidation to values that are not reserved.
fn range(random: &mut Random, command: Words, features: &Features) -> Words {
    let tg = random.within(0..=3);
    if tg == 0 || !features.range_invalidation {
        return with(command, 127, 76, address(random, 12) >> 12);
    }
    let levels: &[u64] = if tg == 2 && !features.ds {
        &[0, 2, 3]
    } else {
        &[0, 1, 2, 3]
    };
    let ttl = *random.pick(levels);
    let num = random.within(0..=31);
    let mut scale = *random.pick(&[0, 0, 0, 1, 2, 9]);
    if features.ds && random.one_in(50) {
        scale = random.within(30..=63);
    }
    let num = if ttl != 0 && random.one_in(2) { 0 } else { num };
    // TG without the other fields is reserved.
    let num = if num == 0 && scale == 0 && ttl == 0 {
        1
    } else {
        num
    };
    let mut shift = entry_shift(tg, if ttl == 0 { 3 } else { ttl });
    if random.one_in(10) {
        shift = 12;
    }
    let command = with(command, 16, 12, num);
    let command = with(command, 25, 20, scale);
    let command = with(command, 75, 74, tg);
    let command = with(command, 73, 72, ttl);
    with(command, 127, 76, address(random, shift) >> 12)
}

/// Returns a valid command that invalidates translations of an address space.
pub(super) fn tlbi(random: &mut Random, features: &Features) -> Words {
    let opcode = *random.pick(&[0x10, 0x11, 0x12, 0x12, 0x12, 0x13, 0x30]);
    let command = [opcode, 0];
    if opcode == 0x30 {
        return command;
    }
    // Any VMID: the host must replace it by its own.
    let command = with(command, 47, 32, random.within(0..=0xffff));
    let command = match opcode {
        0x11 | 0x12 => with(command, 63, 48, asid(random)),
        _ => command,
    };
    if matches!(opcode, 0x12 | 0x13) {
        let command = with(command, 64, 64, random.within(0..=1));
        return range(random, command, features);
    }
    command
}

/// Returns a valid command.
pub(super) fn command(random: &mut Random, features: &Features) -> Words {
    let vsid = u64::from(*random.pick(&VSIDS));
    let ssid = |random: &mut Random| {
        if features.ssid_bits == 0 {
            0
        } else {
            *random.pick(&[0, 1, 0xf_ffff])
        }
    };
    match random.within(0..=9) {
        0 => {
            let command = with([0x05, 0], 63, 32, vsid);
            let command = with(command, 31, 12, ssid(random));
            with(command, 64, 64, random.within(0..=1))
        }
        1 => with([0x06, 0], 63, 32, vsid),
        2 | 3 if features.ats => {
            let command = with([0x40, 0], 63, 32, vsid);
            let command = with(command, 69, 64, *random.pick(&[0, 1, 9, 52]));
            let command = with(command, 127, 76, address(random, 12) >> 12);
            match ssid(random) {
                0 => command,
                ssid => {
                    // SSV, and G in some
                    let command = with(with(command, 11, 11, 1), 31, 12, ssid);
                    with(command, 9, 9, u64::from(random.one_in(4)))
                }
            }
        }
        _ => tlbi(random, features),
    }
}

/// Returns features and a valid command.
pub(super) fn features_and_command(random: &mut Random) -> (Features, Hex<Words>) {
    let features = features(random);
    (features, Hex(command(random, &features)))
}

/// Returns up to so many valid commands.
pub(super) fn commands(random: &mut Random, features: &Features, most: u64) -> Vec<Words> {
    (0..random.within(1..=most))
        .map(|_| command(random, features))
        .collect()
}

/// Returns a TLB entry that a guest's commands may match.
pub(super) fn entry(random: &mut Random, vmid: u16) -> TlbEntry {
    let granule = random.within(1..=3);
    let level = random.within(1..=3);
    let shift = entry_shift(granule, level);
    TlbEntry {
        vmid,
        asid: random.one_in(4).then_some(asid(random) as u16),
        granule,
        level,
        leaf: level == 3 || random.one_in(2),
        start: address(random, 12) >> shift << shift,
    }
}
