// SPDX-License-Identifier: GPL-2.0-only

//! Types for numbers that must not be mixed up.
//!
//! `last` is inclusive and `end` exclusive throughout. A [`Range`] is never empty. It stores its
//! last element rather than its length, so that a range that ends at `u64::MAX` can be represented.
//!
//! Private to this module.

use core::marker::PhantomData;

use kernel::prelude::*;

/// The number of bytes in a page of the CPU.
pub(crate) const PAGE_SIZE: u64 = kernel::page::PAGE_SIZE as u64;
/// The base-2 logarithm of [`PAGE_SIZE`].
pub(crate) const PAGE_SHIFT: u32 = PAGE_SIZE.trailing_zeros();

/// A range of `u64` that includes both its ends.
///
/// # Invariants
///
/// `start <= last`.
///
/// # Examples
///
/// ```
/// use crate::kapi::units::IovaRange;
///
/// let low = IovaRange::from_len(0x1000, 0x2000)?;
/// assert_eq!((low.last(), low.len()), (0x2fff, 0x2000));
///
/// let high = IovaRange::new(0x2000, u64::MAX).ok_or(EINVAL)?;
/// assert_eq!(low.intersection(&high), IovaRange::new(0x2000, 0x2fff));
///
/// assert_eq!(IovaRange::from_len(0, 0), Err(EINVAL));
/// assert_eq!(IovaRange::from_len(u64::MAX, 2), Err(EOVERFLOW));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range<U> {
    start: u64,
    last: u64,
    _unit: PhantomData<U>,
}

/// The unit of I/O virtual addresses: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IovaUnit {}
/// The unit of page indexes: CPU pages, counted from the first page of a memory source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageUnit {}

/// A range of I/O virtual addresses.
pub(crate) type IovaRange = Range<IovaUnit>;
/// A range of page indexes.
pub(crate) type PageRange = Range<PageUnit>;

impl<U> Range<U> {
    /// The range of all values.
    pub(crate) const ALL: Self = Self::new_const(0, u64::MAX);

    const fn new_const(start: u64, last: u64) -> Self {
        // INVARIANT: The callers have checked the order.
        Self {
            start,
            last,
            _unit: PhantomData,
        }
    }

    /// Returns the range from `start` to `last`, or `None` if it is empty.
    pub(crate) const fn new(start: u64, last: u64) -> Option<Self> {
        if start <= last {
            Some(Self::new_const(start, last))
        } else {
            None
        }
    }

    /// Returns the range from `start` to the element before `end`, or `None` if it is empty.
    pub(crate) const fn until(start: u64, end: u64) -> Option<Self> {
        match end.checked_sub(1) {
            Some(last) => Self::new(start, last),
            None => None,
        }
    }

    /// Returns the range of `len` elements from `start`. Returns `EINVAL` if `len` is 0, and
    /// `EOVERFLOW` if the last element does not fit in 64 bits.
    pub(crate) fn from_len(start: u64, len: u64) -> Result<Self> {
        let extra = len.checked_sub(1).ok_or(EINVAL)?;
        let last = start.checked_add(extra).ok_or(EOVERFLOW)?;
        Ok(Self::new_const(start, last))
    }

    /// Returns the range of one element.
    pub(crate) const fn at(element: u64) -> Self {
        Self::new_const(element, element)
    }

    /// Returns the first element.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the last element.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Returns the number of elements. For [`Range::ALL`], which has one element more, this is
    /// `u64::MAX`; no mapping is so long.
    pub(crate) const fn len(&self) -> u64 {
        (self.last - self.start).saturating_add(1)
    }

    /// Returns whether all elements of `other` are elements of `self`.
    pub(crate) const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Returns the elements that the two ranges have in common, or `None` if there are none.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.last.min(other.last))
    }

    /// Returns the parts, in order, into which the multiples of `unit` divide the range. `unit` must be a
    /// power of two.
    pub(crate) fn divided(self, unit: u64) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        core::iter::from_fn(move || {
            let Self { start, last, .. } = rest.take()?;
            let end = last.min(start | (unit - 1));
            rest = end.checked_add(1).and_then(|next| Self::new(next, last));
            Self::new(start, end)
        })
    }

    /// Returns both ranges as one if `next` begins with the element after the last one of `self`.
    pub(crate) fn join(&self, next: &Self) -> Option<Self> {
        if self.last.checked_add(1)? == next.start {
            Some(Self::new_const(self.start, next.last))
        } else {
            None
        }
    }
}

/// Returns `value` rounded up to a multiple of `alignment`, which must be a power of two, or `None`
/// if that does not fit in 64 bits.
pub(crate) const fn align_up(value: u64, alignment: u64) -> Option<u64> {
    let mask = alignment - 1;
    match value.checked_add(mask) {
        Some(v) => Some(v & !mask),
        None => None,
    }
}

/// Returns the offset of a byte in its page.
pub(crate) const fn page_offset(value: u64) -> u64 {
    value & (PAGE_SIZE - 1)
}

// This module supports kernels of 64 bits only: an `unsigned long` holds any address and any count.
const _: () = assert!(usize::BITS == u64::BITS);

/// Converts to the C type `unsigned long`, without loss.
pub(crate) const fn to_usize(value: u64) -> usize {
    // CAST: The widths are the same.
    value as usize
}

/// Converts to the C type `long`. The caller must ensure that `value` is at most `i64::MAX`.
pub(crate) const fn to_isize(value: u64) -> isize {
    // CAST: The widths are the same.
    value as isize
}

/// Converts from the C type `unsigned long`, without loss.
pub(crate) const fn to_u64(value: usize) -> u64 {
    // CAST: The widths are the same.
    value as u64
}
