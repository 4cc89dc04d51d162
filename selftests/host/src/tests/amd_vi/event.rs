// SPDX-License-Identifier: GPL-2.0-only

//! Events. Bits are counted over the whole entry.

use crate::{
    drivers::amd_vi::event::for_guest,
    tests::{
        amd_vi::{
            bits,
            with, //
        },
        random::cases, //
    }, //
};

const DEVICE: u16 = 0x0108;
const DOMAIN: u16 = 0x0007;

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
        let event = for_guest(with([0; 2], 63, 60, code), DEVICE, DOMAIN);
        assert_eq!(event.is_some(), [1, 2, 8].contains(&code), "code {code}");
    }
}

#[test]
fn ids_are_the_guests_and_nothing_else_passes() {
    cases(2_000, |random| {
        let code = *random.pick(&[1, 2, 8]);
        let event = with([random.number(), random.number()], 63, 60, code);
        let told = for_guest(event, DEVICE, DOMAIN).expect("it is delivered");
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
