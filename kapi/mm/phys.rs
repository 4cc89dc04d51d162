// SPDX-License-Identifier: GPL-2.0-only

//! Physical memory that hardware may be given.
//!
//! Safe code can make any number, so a number is not accepted where memory is mapped into page
//! tables or given to a device. [`PhysPiece`] is accepted: it can only be made from what keeps the
//! memory in place. A caller that maps memory has a value of a type that implements [`RangeOwner`],
//! which guarantees that the memory stays in place until it is unmapped.
//!
//! [`RangeOwner`]: crate::kapi::iommu::domain::RangeOwner

use core::marker::PhantomData;

use crate::kapi::units::PAGE_SIZE;

/// A piece of physical memory that hardware may be given.
///
/// # Invariants
///
/// During `'a` the memory is pinned, or it is memory of a device that the device's owner has lent.
/// It was pinned for writing, or lent for writing, if `writable`. `start + len - 1` does not
/// overflow, and `len` is not 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhysPiece<'a> {
    start: u64,
    len: u64,
    writable: bool,
    _memory: PhantomData<&'a ()>,
}

impl<'a> PhysPiece<'a> {
    /// Creates a piece of `len` bytes from the physical address `start`.
    ///
    /// # Safety
    ///
    /// The caller must ensure the type's invariants.
    pub(in crate::kapi) unsafe fn new(start: u64, len: u64, writable: bool) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            start,
            len,
            writable,
            _memory: PhantomData,
        }
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the length in bytes. It is not 0.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether hardware may write to the memory.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Returns what follows the first `bytes` bytes, or `None` if nothing does.
    pub(crate) fn skip(self, bytes: u64) -> Option<Self> {
        let len = self.len.checked_sub(bytes).filter(|len| *len != 0)?;
        // INVARIANT: It is a part of the memory of `self`.
        Some(Self {
            start: self.start + bytes,
            len,
            ..self
        })
    }

    /// Returns the pieces of [`PAGE_SIZE`] bytes of which it consists. The last one may be shorter.
    pub(crate) fn pages(self) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        core::iter::from_fn(move || {
            let piece = rest?;
            // INVARIANT: It is a part of the memory of `piece`.
            let page = Self {
                len: piece.len.min(PAGE_SIZE),
                ..piece
            };
            rest = piece.skip(page.len);
            Some(page)
        })
    }
}
