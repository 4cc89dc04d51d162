// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for AMD-Vi.
//!
//! What the tests expect is stated by bit numbers of the specification, apart from the fields that
//! the policy names.

mod batch;
mod command;
mod dte;
mod event;
mod guest;
mod meanwhile;
mod merge;
mod model;
mod world;

use crate::drivers::amd_vi::hardware::Hardware;

/// IOMMUs with all that the policy asks for.
pub(super) const FULL: Hardware = Hardware {
    page_requests: true,
    enhanced_page_requests: true,
    guest_translation: true,
    guest_io: true,
    five_levels: true,
    max_glx: 2,
    pasid_bits: 20,
};

/// IOMMUs with no optional feature.
pub(super) const BARE: Hardware = Hardware {
    page_requests: false,
    enhanced_page_requests: false,
    guest_translation: false,
    guest_io: false,
    five_levels: false,
    max_glx: 0,
    pasid_bits: 1,
};

/// Returns bits `high` to `low` of a structure of 64-bit words, counted over all words. A field does
/// not cross a word.
pub(super) fn bits(words: &[u64], high: u32, low: u32) -> u64 {
    let word = words[(low / 64) as usize];
    word >> (low % 64) & (u64::MAX >> (63 - (high - low)))
}

/// Returns the words with these bits set to `value`.
pub(super) fn with<const N: usize>(
    mut words: [u64; N],
    high: u32,
    low: u32,
    value: u64,
) -> [u64; N] {
    let word = &mut words[(low / 64) as usize];
    let mask = (u64::MAX >> (63 - (high - low))) << (low % 64);
    *word = *word & !mask | value << (low % 64) & mask;
    words
}

#[test]
fn features_of_the_register() {
    assert_eq!(Hardware::new(0), BARE);
    let efr = 1 << 1 | 1 << 4 | 1 << 12 | 2 << 14 | 19 << 32 | 1 << 48 | 1 << 50;
    assert_eq!(Hardware::new(efr), FULL);
    for (bit, changed) in [
        (
            1,
            Hardware {
                page_requests: true,
                ..BARE
            },
        ),
        (
            4,
            Hardware {
                guest_translation: true,
                ..BARE
            },
        ),
        (
            12,
            Hardware {
                five_levels: true,
                ..BARE
            },
        ),
        (14, Hardware { max_glx: 1, ..BARE }),
        (15, Hardware { max_glx: 2, ..BARE }),
        (
            32,
            Hardware {
                pasid_bits: 2,
                ..BARE
            },
        ),
        (
            36,
            Hardware {
                pasid_bits: 17,
                ..BARE
            },
        ),
        (
            48,
            Hardware {
                guest_io: true,
                ..BARE
            },
        ),
        (
            50,
            Hardware {
                enhanced_page_requests: true,
                ..BARE
            },
        ),
        // Reserved.
        (13, BARE),
    ] {
        assert_eq!(Hardware::new(1 << bit), changed, "bit {bit}");
    }
    // Reserved values.
    assert_eq!(Hardware::new(3 << 14).max_glx, 2);
    assert_eq!(Hardware::new(31 << 32).pasid_bits, 20);
    assert!(!Hardware::new(3 << 12).five_levels);
}
