// SPDX-License-Identifier: GPL-2.0-only

//! Numbers that must not be mixed up: each has a type, and ranges are never empty.
//!
//! `last` is inclusive and `end` exclusive throughout. A range holds its last element rather than
//! its length, so that one that ends at `u64::MAX` can be written down.

use kernel::prelude::*;

/// Bytes in a page of the CPU.
pub(crate) const PAGE_SIZE: u64 = kernel::page::PAGE_SIZE as u64;
/// log2 of [`PAGE_SIZE`].
pub(crate) const PAGE_SHIFT: u32 = PAGE_SIZE.trailing_zeros();

/// An inclusive, never empty range of `u64`: of I/O virtual addresses in bytes, or of page indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range<U> {
    start: u64,
    last: u64,
    _unit: core::marker::PhantomData<U>,
}

/// Bytes of I/O virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IovaUnit {}
/// CPU pages counted from the first page of a [`Pages`](crate::ioas::pages::Pages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageUnit {}

/// A range of I/O virtual addresses.
pub(crate) type IovaRange = Range<IovaUnit>;
/// A range of page indexes.
pub(crate) type PageRange = Range<PageUnit>;

impl<U> Range<U> {
    /// Every `u64`.
    pub(crate) const ALL: Self = Self::new_const(0, u64::MAX);

    const fn new_const(start: u64, last: u64) -> Self {
        Self {
            start,
            last,
            _unit: core::marker::PhantomData,
        }
    }

    /// The range from `start` to `last`, both included, or `None` if that is empty.
    pub(crate) const fn new(start: u64, last: u64) -> Option<Self> {
        if start <= last {
            Some(Self::new_const(start, last))
        } else {
            None
        }
    }

    /// The range of `len` elements from `start`. `EINVAL` if `len` is 0, `EOVERFLOW` if the range
    /// would leave 64 bits.
    pub(crate) fn from_len(start: u64, len: u64) -> Result<Self> {
        let extra = len.checked_sub(1).ok_or(EINVAL)?;
        let last = start.checked_add(extra).ok_or(EOVERFLOW)?;
        Ok(Self::new_const(start, last))
    }

    /// One element.
    pub(crate) const fn at(element: u64) -> Self {
        Self::new_const(element, element)
    }

    /// The first element.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// The last element, inclusive.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// How many elements; `u64::MAX` stands for the full range too, which no mapping can have.
    pub(crate) const fn len(&self) -> u64 {
        (self.last - self.start).saturating_add(1)
    }

    /// Whether the two have an element in common.
    pub(crate) const fn intersects(&self, other: &Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Whether every element of `other` is one of ours.
    pub(crate) const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// What the two have in common.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.last.min(other.last))
    }

    /// Whether both ends, seen as a half-open range, are multiples of `alignment`, a power of two.
    pub(crate) const fn is_aligned(&self, alignment: u64) -> bool {
        let mask = alignment - 1;
        self.start & mask == 0 && self.last.wrapping_add(1) & mask == 0
    }
}

/// `value` rounded up to a multiple of `alignment`, a power of two, or `None` past 64 bits.
pub(crate) const fn align_up(value: u64, alignment: u64) -> Option<u64> {
    let mask = alignment - 1;
    match value.checked_add(mask) {
        Some(v) => Some(v & !mask),
        None => None,
    }
}

/// The part of `value` below [`PAGE_SIZE`].
pub(crate) const fn page_offset(value: u64) -> u64 {
    value & (PAGE_SIZE - 1)
}

// The module is for 64-bit kernels: `unsigned long` holds any address and any count.
const _: () = assert!(usize::BITS == u64::BITS);

/// The same number as C's `unsigned long`.
pub(crate) const fn to_usize(value: u64) -> usize {
    // CAST: The widths are the same.
    value as usize
}

/// The same number as C's `long`. The caller must ensure that it is at most `i64::MAX`.
pub(crate) const fn to_isize(value: u64) -> isize {
    // CAST: The widths are the same.
    value as isize
}

/// The same number from C's `unsigned long`.
pub(crate) const fn to_u64(value: usize) -> u64 {
    // CAST: The widths are the same.
    value as u64
}
