// SPDX-License-Identifier: GPL-2.0-only

//! Lists of any length, for lists whose length user space chooses.
//!
//! A `KVec` of more than 4 MiB cannot be allocated, and long before that it takes memory that is
//! physically contiguous. Here the elements are in chunks of at most 2 KiB.

use kernel::prelude::*;

/// A list. The first element needs no allocation.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::chunks::Chunks;
///
/// let mut squares = Chunks::new();
/// for n in 0..10_000_u64 {
///     squares.push(n * n)?;
/// }
/// assert_eq!(squares.iter().nth(99), Some(&9801));
/// # Ok::<(), Error>(())
/// ```
pub(crate) struct Chunks<T> {
    first: Option<T>,
    /// All but the last are full. None is empty. `None` rather than an empty list: dropping that calls
    /// the allocator.
    more: Option<KVVec<KVec<T>>>,
}

impl<T> Chunks<T> {
    const PER_CHUNK: usize = {
        let count = 2048 / size_of::<T>();
        if count == 0 {
            1
        } else {
            count
        }
    };

    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            more: None,
        }
    }

    /// Adds an element behind the others. Returns `ENOMEM` if there is no memory; the element is
    /// dropped then.
    pub(crate) fn push(&mut self, value: T) -> Result {
        if self.first.is_none() {
            self.first = Some(value);
            return Ok(());
        }
        let more = self.more.get_or_insert_with(KVVec::new);
        if let Some(chunk) = more.last_mut() {
            if chunk.len() < Self::PER_CHUNK {
                return Ok(chunk.push(value, GFP_KERNEL_ACCOUNT)?);
            }
        }
        // The first chunk grows, since most lists are short.
        let room = if more.is_empty() { 1 } else { Self::PER_CHUNK };
        let mut chunk = KVec::with_capacity(room, GFP_KERNEL_ACCOUNT)?;
        chunk.push(value, GFP_KERNEL_ACCOUNT)?;
        Ok(more.push(chunk, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns true if there are more elements than `count`, which is not 0.
    pub(crate) fn is_longer_than(&self, count: usize) -> bool {
        self.more.is_some() && self.iter().nth(count).is_some()
    }

    /// The elements in order.
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            chunk: self.first.as_slice().iter(),
            more: self.more.as_deref().unwrap_or_default().iter(),
        }
    }

    /// The first element, and the others if there are any, in order, for changing them.
    pub(crate) fn split_first_mut(
        &mut self,
    ) -> Option<(&mut T, Option<impl Iterator<Item = &mut T>>)> {
        let more = self.more.as_deref_mut().map(|more| more.iter_mut());
        let others = more.map(|more| more.flat_map(|chunk| chunk.iter_mut()));
        Some((self.first.as_mut()?, others))
    }

    /// The elements in order, for changing them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let more = self.more.as_deref_mut().unwrap_or_default();
        let more = more.iter_mut().flat_map(|chunk| chunk.iter_mut());
        Iterator::chain(self.first.iter_mut(), more)
    }
}

/// See [`Chunks::iter`].
pub(crate) struct Iter<'a, T> {
    /// What is left of the chunk, which at first is the element without one.
    chunk: core::slice::Iter<'a, T>,
    more: core::slice::Iter<'a, KVec<T>>,
}

// Deriving it would ask the same of `T`.
impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            chunk: self.chunk.clone(),
            more: self.more.clone(),
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if let Some(element) = self.chunk.next() {
            return Some(element);
        }
        // No chunk is empty.
        self.chunk = self.more.next()?.iter();
        self.chunk.next()
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for Chunks<T> {
    /// A list of one element.
    fn from(value: T) -> Self {
        Self {
            first: Some(value),
            more: None,
        }
    }
}

impl<T> IntoIterator for Chunks<T> {
    type Item = T;
    type IntoIter = core::iter::Chain<
        core::option::IntoIter<T>,
        core::iter::Flatten<core::iter::Flatten<core::option::IntoIter<KVVec<KVec<T>>>>>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        let more = self.more.into_iter().flatten().flatten();
        Iterator::chain(self.first.into_iter(), more)
    }
}
