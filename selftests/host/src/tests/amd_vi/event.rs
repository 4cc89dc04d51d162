// SPDX-License-Identifier: GPL-2.0-only

//! Events. Bits are counted over the whole entry.

use proptest::{
    prelude::{
        any,
        Strategy, //
    },
    sample::select, //
};

use crate::{
    drivers::amd_vi::{
        dte::GuestDte,
        event::for_guest, //
    },
    tests::{
        amd_vi::{
            bits,
            with,
            FULL, //
        },
        random::{
            for_all,
            Hex, //
        }, //
    }, //
};

const DEVICE: u16 = 0x0108;
const DOMAIN: u16 = 0x0007;

/// A guest's entry with these bits and its domain ID.
fn entry(set: &[u32]) -> GuestDte {
    let dte = set.iter().fold([0; 4], |dte, bit| with(dte, *bit, *bit, 1));
    GuestDte::new(with(dte, 79, 64, DOMAIN.into()), &FULL).expect("valid")
}

/// V, TV, GV, IR, IW, and a bit of the address of the GCR3 table.
fn nested() -> GuestDte {
    entry(&[0, 1, 55, 61, 62, 58])
}

/// The flags that are not reserved, of the codes that are delivered.
fn flags(code: u64) -> &'static [u32] {
    match code {
        // GN, I, RW, RZ, TR
        1 => &[48, 51, 53, 55, 56],
        // GN, NX, US, I, PR, RW, PE, RZ, TR
        2 => &[48, 49, 50, 51, 52, 53, 54, 55, 56],
        // GN, US, TR, type
        8 => &[48, 49, 56, 57, 58, 59],
        _ => &[],
    }
}

#[test]
fn codes() {
    for code in 0..16 {
        let event = for_guest(with([0; 2], 63, 60, code), DEVICE, &nested());
        assert_eq!(event.is_some(), [1, 2, 8].contains(&code), "code {code}");
    }
}

#[test]
fn ids_are_the_guests_and_nothing_else_passes() {
    let words = any::<[u64; 2]>().prop_map(Hex);
    let inputs = (select(&[1_u64, 2, 8][..]), words);
    for_all(2_000, inputs, |(code, Hex(words))| {
        let event = with(words, 63, 60, code);
        let told = for_guest(event, DEVICE, &nested()).expect("it is delivered");
        assert_eq!(told[1], event[1]);
        assert_eq!(bits(&told, 63, 60), code);
        assert_eq!(bits(&told, 15, 0), u64::from(DEVICE));
        let (high, low) = match (bits(&event, 48, 48), code) {
            (1, _) => (bits(&event, 19, 16), bits(&event, 47, 32)),
            (_, 2) => (0, u64::from(DOMAIN)),
            _ => (0, 0),
        };
        assert_eq!((bits(&told, 19, 16), bits(&told, 47, 32)), (high, low));
        assert_eq!(bits(&told, 31, 20), 0);
        for bit in 48..60 {
            let expected = if flags(code).contains(&bit) {
                bits(&event, bit, bit)
            } else {
                0
            };
            assert_eq!(bits(&told, bit, bit), expected, "bit {bit} of code {code}");
        }
    });
}

/// What the host has set up is not told: without a stage of the guest a page fault is about a permission that the guest
/// refuses, or it is the host's; and an IOMMU reports nothing about an entry that is not valid.
#[test]
fn what_the_host_has_set_up() {
    // I, PR, RW, TR, as their bits are in the entry.
    let (i, pr, rw, tr) = (1u64 << 51, 1u64 << 52, 1u64 << 53, 1u64 << 56);
    let told = |entry: &GuestDte, code: u64, flags: u64| {
        for_guest([code << 60 | flags, 0], DEVICE, entry).is_some()
    };
    let of = |entry: &GuestDte| {
        let faults = [told(entry, 2, pr), told(entry, 2, pr | rw)];
        assert_eq!(told(entry, 1, 0), told(entry, 8, 0));
        // Without a valid RW a fault may be of either kind.
        for flags in [0, i, tr, i | tr, pr | i, pr | tr, pr | i | tr] {
            for flags in [flags, flags | rw] {
                assert_eq!(told(entry, 2, flags), faults[0] || faults[1], "{flags:x}");
            }
        }
        (told(entry, 1, 0), faults)
    };
    // Not valid, whatever else is set.
    assert_eq!(of(&entry(&[])), (false, [false; 2]));
    assert_eq!(of(&entry(&[1, 55, 58])), (false, [false; 2]));
    // TV = 0: no DMA passes.
    assert_eq!(of(&entry(&[0])), (true, [true; 2]));
    assert_eq!(of(&entry(&[0, 61, 62])), (true, [true; 2]));
    // GV = 0: what IR and IW refuse.
    assert_eq!(of(&entry(&[0, 1, 61, 62])), (true, [false; 2]));
    assert_eq!(of(&entry(&[0, 1, 61])), (true, [false, true]));
    assert_eq!(of(&entry(&[0, 1, 62])), (true, [true, false]));
    assert_eq!(of(&entry(&[0, 1])), (true, [true; 2]));
    assert_eq!(of(&nested()), (true, [true; 2]));
}
