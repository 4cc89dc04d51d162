// SPDX-License-Identifier: GPL-2.0-only

//! The interface of the module's `kapi/array_vec.rs` as far as pure logic uses it, without `unsafe`.

/// At most `N` values.
pub(crate) struct ArrayVec<T: Copy, const N: usize>(Vec<T>);

impl<T: Copy, const N: usize> ArrayVec<T, N> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, value: T) -> bool {
        let has_room = self.0.len() < N;
        if has_room {
            self.0.push(value);
        }
        has_room
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    pub(crate) fn extend(&mut self, values: impl Iterator<Item = T>) {
        for value in values.take(N - self.0.len()) {
            self.0.push(value);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() == N
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }
}
