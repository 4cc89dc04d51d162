// SPDX-License-Identifier: GPL-2.0-only

//! Commands: validation, and what becomes of them. Bits are counted over the whole command.

use kernel::prelude::*;
use proptest::prelude::any;

use crate::{
    drivers::amd_vi::{
        command::{
            Command,
            Device,
            Physical,
            Words, //
        },
        hardware::Hardware, //
    },
    tests::{
        amd_vi::{
            bits,
            with,
            FULL, //
        },
        random::for_all, //
    }, //
};

/// The fields of each command, by opcode.
pub(super) fn fields(opcode: u64) -> &'static [(u32, u32)] {
    match opcode {
        // S, I, F; store address; store data.
        1 => &[(2, 0), (51, 3), (127, 64)],
        // DeviceID
        2 => &[(15, 0)],
        // PASID, DomainID; S, PDE, GN; address.
        3 => &[(19, 0), (47, 32), (66, 64), (127, 76)],
        // DeviceID, PASID[15:8], MaxPend, QueueID, PASID[7:0], PASID[19:16]; S; GN; address.
        4 => &[(59, 0), (64, 64), (66, 66), (127, 76)],
        8 => &[],
        _ => &[],
    }
}

pub(super) const OPCODES: [u64; 5] = [1, 2, 3, 4, 8];

pub(super) const DEVICE: Device = Device {
    device_id: 0x1234,
    queue_depth: 32,
    ats: true,
};

fn command(opcode: u64) -> Words {
    with([0; 2], 63, 60, opcode)
}

fn refusal(words: Words, hardware: &Hardware) -> Option<Error> {
    Command::new(words, hardware).err()
}

#[test]
fn opcodes() {
    for opcode in 0..16 {
        let expected = (!OPCODES.contains(&opcode)).then_some(EIO);
        assert_eq!(refusal(command(opcode), &FULL), expected, "opcode {opcode}");
    }
}

#[test]
fn every_bit() {
    for opcode in OPCODES {
        for bit in (0..60).chain(64..128) {
            let known = fields(opcode)
                .iter()
                .any(|(high, low)| (*low..=*high).contains(&bit));
            let refused = refusal(with(command(opcode), bit, bit, 1), &FULL);
            assert_eq!(
                refused,
                (!known).then_some(EIO),
                "opcode {opcode}, bit {bit}"
            );
        }
    }
}

#[test]
fn waits() {
    for flags in 0..8 {
        let words = with(command(1), 2, 0, flags);
        let flush = flags & 4 != 0;
        assert_eq!(Command::new(words, &FULL), Ok(Command::Wait { flush }));
    }
}

/// Sets the PASID of INVALIDATE_IOMMU_PAGES or INVALIDATE_IOTLB_PAGES.
pub(super) fn with_pasid(words: Words, pasid: u64) -> Words {
    let words = with(words, 66, 66, 1);
    if bits(&words, 63, 60) == 3 {
        return with(words, 19, 0, pasid);
    }
    let words = with(words, 55, 48, pasid);
    with(with(words, 23, 16, pasid >> 8), 59, 56, pasid >> 16)
}

#[test]
fn pasids() {
    for opcode in [3, 4] {
        for pasid_bits in 1..=20 {
            let hardware = Hardware { pasid_bits, ..FULL };
            for bit in 0..20u64 {
                let words = with_pasid(command(opcode), 1 << bit);
                let expected = (bit >= pasid_bits).then_some(EIO);
                assert_eq!(refusal(words, &hardware), expected);
                // It is ignored without GN.
                assert_eq!(refusal(with(words, 66, 66, 0), &hardware), None);
            }
        }
        let without = Hardware {
            guest_translation: false,
            ..FULL
        };
        assert_eq!(refusal(with_pasid(command(opcode), 0), &without), Some(EIO));
    }
}

fn domain_pages(words: Words, host: u16) -> (u16, Words) {
    match Command::new(words, &FULL) {
        Ok(Command::DomainPages { domain, pages }) => (domain, pages.on_domain(host).into()),
        other => panic!("{other:?}"),
    }
}

fn device_pages(words: Words, device: &Device) -> (u16, Option<Words>) {
    match Command::new(words, &FULL) {
        Ok(Command::DevicePages { device: id, pages }) => {
            (id, pages.on_device(device).map(Into::into))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_replaced_and_the_rest_stays() {
    let ids = (any::<u16>(), any::<u16>(), 0..=0xf_ffff_u64);
    let ignored = (any::<u64>(), any::<u64>());
    let inputs = (
        any::<u64>(),
        ids,
        0..=7u64,
        proptest::bool::weighted(0.3),
        ignored,
        1..=32u8,
    );
    for_all(2_000, inputs, |input| {
        let (address, ids, flags, without, ignored, queue_depth) = input;
        let address = address >> 12 & !(1 << 39);
        let (guest, host, pasid) = ids;
        let words = with(with_pasid(command(3), pasid), 47, 32, guest.into());
        let words = with(with(words, 66, 64, flags), 127, 76, address);
        let (domain, made) = domain_pages(words, host);
        assert_eq!(domain, guest);
        let mut expected = with(words, 47, 32, host.into());
        if flags & 4 == 0 {
            expected = with(expected, 19, 0, 0);
        }
        assert_eq!(made, expected);

        let pasid = if without { 0 } else { pasid };
        let words = with(with_pasid(command(4), pasid), 15, 0, guest.into());
        let words = with(with(words, 47, 32, ignored.0), 31, 24, ignored.1);
        let words = with(with(words, 127, 76, address), 64, 64, flags & 1);
        let words = with(words, 66, 66, flags >> 2);
        let device = Device {
            device_id: host,
            queue_depth,
            ats: true,
        };
        let (id, made) = device_pages(words, &device);
        assert_eq!(id, guest);
        let mut expected = with(with(words, 15, 0, host.into()), 47, 32, host.into());
        expected = with(expected, 31, 24, device.queue_depth.into());
        expected = with(with(with(expected, 23, 16, 0), 55, 48, 0), 59, 56, 0);
        // By a PASID devices have nothing, and without GN it is ignored.
        let has_pasid = flags & 4 != 0 && pasid != 0;
        assert_eq!(made, (!has_pasid).then_some(expected));
        let without_ats = Device {
            ats: false,
            ..device
        };
        assert_eq!(device_pages(words, &without_ats).1, None);
    });
}

/// Returns the first address and the number of pages that S and an address stand for.
pub(super) fn range(words: Words) -> (u64, u64) {
    let address = bits(&words, 127, 76);
    if bits(&words, 64, 64) == 0 {
        return (address, 1);
    }
    if address == (1 << 51) - 1 {
        return (0, 1 << 52);
    }
    let ones = address.trailing_ones();
    (address >> (ones + 1) << (ones + 1), 2 << ones)
}

#[test]
fn sizes() {
    for ones in 0..=52 {
        for above in [0, 0x5555_5555_5555_5555] {
            let address = if ones >= 51 { 0 } else { above << (ones + 1) };
            let address = (address | ((1 << ones) - 1)) & ((1 << 52) - 1);
            let words = with(with(command(3), 64, 64, 1), 127, 76, address);
            let (first, count) = range(domain_pages(words, 1).1);
            if ones < 40 {
                assert_eq!((first, count), range(words), "{ones} ones");
            } else {
                assert_eq!((first, count), (0, 1 << 52), "{ones} ones");
            }
        }
    }
}

#[test]
fn commands_of_the_host() {
    let all: Words = Physical::all_of_domain(0x4321).into();
    assert_eq!(all, [0x3000_4321_0000_0000, 0x7fff_ffff_ffff_f003]);
    let entry: Words = Physical::device_entry(0x1234).into();
    assert_eq!(entry, [0x2000_0000_0000_1234, 0]);
}
