// SPDX-License-Identifier: GPL-2.0-only

//! Vectors whose growth may fail.

use core::{
    fmt,
    ops::{
        Deref,
        DerefMut, //
    }, //
};

use crate::{
    alloc::{
        fault,
        AllocError,
        Flags, //
    },
    error::{
        code::EINVAL,
        Error, //
    }, //
};

/// A vector. Its capacity grows by the same steps as the kernel's, so that it allocates as often.
pub struct KVec<T> {
    list: Vec<T>,
    /// The capacity that the kernel would have allocated; the standard library may round up.
    capacity: usize,
}

/// A vector that may be large. The stand-in does not distinguish it from [`KVec`].
pub type KVVec<T> = KVec<T>;
/// A vector in virtually contiguous memory. The stand-in does not distinguish it from [`KVec`].
pub type VVec<T> = KVec<T>;

impl<T> KVec<T> {
    /// An empty vector, without memory.
    pub const fn new() -> Self {
        Self {
            list: Vec::new(),
            capacity: 0,
        }
    }

    /// An empty vector with room for `capacity` elements.
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut vec = Self::new();
        vec.reserve(capacity, flags)?;
        Ok(vec)
    }

    /// Returns a vector of `n` copies of `value`.
    pub fn from_elem(value: T, n: usize, flags: Flags) -> Result<Self, AllocError>
    where
        T: Clone,
    {
        let mut vec = Self::with_capacity(n, flags)?;
        vec.list.resize(n, value);
        Ok(vec)
    }

    /// Returns the capacity, in elements.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the elements.
    pub fn as_slice(&self) -> &[T] {
        &self.list
    }

    /// Reserves capacity for `additional` more elements.
    pub fn reserve(&mut self, additional: usize, _flags: Flags) -> Result<(), AllocError> {
        if self.capacity - self.list.len() >= additional {
            return Ok(());
        }
        let wanted = self.list.len().checked_add(additional).ok_or(AllocError)?;
        fault::allocate()?;
        self.capacity = wanted.max(self.capacity * 2);
        self.list.reserve_exact(self.capacity - self.list.len());
        Ok(())
    }

    /// Appends an element. Drops the element if the allocation fails.
    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.list.push(value);
        Ok(())
    }

    /// Appends an element without allocating. Returns the element if the vector is full.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.list.len() == self.capacity {
            return Err(PushError(value));
        }
        self.list.push(value);
        Ok(())
    }

    /// Inserts an element at `index` without allocating. Returns the element on failure.
    pub fn insert_within_capacity(&mut self, index: usize, value: T) -> Result<(), InsertError<T>> {
        if index > self.list.len() {
            return Err(InsertError::IndexOutOfBounds(value));
        }
        if self.list.len() == self.capacity {
            return Err(InsertError::OutOfCapacity(value));
        }
        self.list.insert(index, value);
        Ok(())
    }

    /// Appends copies of elements.
    pub fn extend_from_slice(&mut self, other: &[T], flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        self.reserve(other.len(), flags)?;
        self.list.extend_from_slice(other);
        Ok(())
    }

    /// Removes and returns the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.list.pop()
    }

    /// Removes and returns the element at `index`.
    pub fn remove(&mut self, index: usize) -> Result<T, RemoveError> {
        if index < self.list.len() {
            Ok(self.list.remove(index))
        } else {
            Err(RemoveError)
        }
    }

    /// Drops the elements from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    /// Drops all elements.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Drops the elements for which `keep` returns false.
    pub fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        self.list.retain_mut(keep);
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.list
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.list
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for KVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt(f)
    }
}

/// The error of appending to a full vector.
pub struct PushError<T>(pub T);

/// The error of an index that is out of bounds.
pub struct RemoveError;

/// Why an element could not be inserted.
pub enum InsertError<T> {
    /// The index is past the end.
    IndexOutOfBounds(T),
    /// The vector is full.
    OutOfCapacity(T),
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Not enough capacity")
    }
}

impl<T> From<PushError<T>> for Error {
    fn from(_: PushError<T>) -> Self {
        EINVAL
    }
}

impl From<RemoveError> for Error {
    fn from(_: RemoveError) -> Self {
        EINVAL
    }
}

impl<T> From<InsertError<T>> for Error {
    fn from(_: InsertError<T>) -> Self {
        EINVAL
    }
}
