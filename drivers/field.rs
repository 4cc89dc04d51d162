// SPDX-License-Identifier: GPL-2.0-only

//! Fields of the 64-bit words that an IOMMU's structures and commands consist of.
//!
//! The module is compiled on the host too, where the kernel crate's `bitfield!` is not available.

/// A field of a 64-bit word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    low: u32,
    mask: u64,
}

impl Field {
    /// The field from bit `high` down to bit `low`, both inclusive. Bits are numbered within the
    /// word.
    pub(crate) const fn new(high: u32, low: u32) -> Self {
        assert!(low <= high && high < u64::BITS);
        Self {
            low,
            mask: (u64::MAX >> (u64::BITS - 1 - (high - low))) << low,
        }
    }

    /// The single bit `place`.
    pub(crate) const fn bit(place: u32) -> Self {
        Self::new(place, place)
    }

    /// The bits of the field in the word, set.
    pub(crate) const fn mask(self) -> u64 {
        self.mask
    }

    /// The value of the field in `word`.
    pub(crate) const fn of(self, word: u64) -> u64 {
        (word & self.mask) >> self.low
    }

    /// `word` with the field set to `value`. Bits of `value` that the field has no room for are
    /// lost.
    pub(crate) const fn put(self, word: u64, value: u64) -> u64 {
        (word & !self.mask) | ((value << self.low) & self.mask)
    }

    /// Whether any bit of the field is set in `word`.
    pub(crate) const fn is_set(self, word: u64) -> bool {
        word & self.mask != 0
    }
}
