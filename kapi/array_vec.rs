// SPDX-License-Identifier: GPL-2.0-only

//! A vector within a fixed array: values on the stack that are not initialized before they are
//! needed.

use core::mem::MaybeUninit;

/// At most `N` values.
///
/// # Invariants
///
/// `len` is at most `N`, and the first `len` of `values` are initialized.
pub(crate) struct ArrayVec<T: Copy, const N: usize> {
    values: [MaybeUninit<T>; N],
    len: usize,
}

#[allow(dead_code, reason = "no vendor's backends need all of it")]
impl<T: Copy, const N: usize> ArrayVec<T, N> {
    /// Returns a vector without values.
    #[inline]
    pub(crate) const fn new() -> Self {
        // INVARIANT: No value is initialized.
        Self {
            // rustc 1.85 fills `[const { MaybeUninit::uninit() }; N]` with zeroes.
            // SAFETY: An array of `MaybeUninit` needs no initialization.
            values: unsafe { MaybeUninit::<[MaybeUninit<T>; N]>::uninit().assume_init() },
            len: 0,
        }
    }

    /// Adds a value at the end. Returns false, and adds nothing, if there is no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: T) -> bool {
        let Some(place) = self.values.get_mut(self.len) else {
            return false;
        };
        place.write(value);
        // INVARIANT: `len` was less than `N`, and the value at that place has just been written.
        self.len += 1;
        true
    }

    /// Removes the last value and returns it.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let &last = self.as_slice().last()?;
        // INVARIANT: There was a value, and the others remain.
        self.len -= 1;
        Some(last)
    }

    /// Adds values at the end until there is no room. Further ones remain in the iterator.
    #[inline(always)]
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = T>) {
        let room = self.values.get_mut(self.len..).unwrap_or_default();
        let mut added = 0;
        for (place, value) in room.iter_mut().zip(values) {
            place.write(value);
            added += 1;
        }
        // INVARIANT: There was room for so many, and they have been written.
        self.len += added;
    }

    /// Returns whether there are no values.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether there is no room for another value.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.len == N
    }

    /// Removes all values.
    #[inline]
    pub(crate) fn clear(&mut self) {
        // INVARIANT: No value needs to be initialized.
        self.len = 0;
    }

    /// Returns the values.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: By the type's invariants so many values are initialized.
        unsafe { core::slice::from_raw_parts(self.values.as_ptr().cast(), self.len) }
    }

    /// Returns the values.
    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: By the type's invariants so many values are initialized.
        unsafe { core::slice::from_raw_parts_mut(self.values.as_mut_ptr().cast(), self.len) }
    }

    /// Removes all values, and returns the memory of the first `len` places, or of all if there are
    /// fewer. [`ArrayVec::set_len`] makes values of what is written there.
    #[inline]
    pub(in crate::kapi) fn room(&mut self, len: usize) -> &mut [MaybeUninit<T>] {
        self.clear();
        let len = len.min(N);
        // PANIC: It is at most `N`.
        &mut self.values[..len]
    }

    /// Sets the number of values.
    ///
    /// # Safety
    ///
    /// `len` is at most `N`, and so many values are initialized.
    #[inline]
    pub(in crate::kapi) unsafe fn set_len(&mut self, len: usize) {
        // INVARIANT: As the caller promises.
        self.len = len;
    }
}
