// SPDX-License-Identifier: GPL-2.0-only

//! References to values that count theirs.

use core::ops::Deref;

/// A reference. A clone of such a value is one more reference to the same.
#[derive(Clone)]
pub struct ARef<T>(T);

impl<T: Clone> From<&T> for ARef<T> {
    fn from(value: &T) -> Self {
        Self(value.clone())
    }
}

impl<T> Deref for ARef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
