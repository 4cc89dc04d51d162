// SPDX-License-Identifier: GPL-2.0-only

//! Containers that are cleared before their owner is dropped.
//!
//! A value in a container may use the owner of the container while it is dropped. If the container
//! were dropped as a field, the values would be dropped with it, when C code that refers to the
//! container can no longer use it. [`ClearOnDrop`] drops the values first, while the container and
//! the fields behind it still exist.

use core::ops::Deref;

use kernel::prelude::*;

/// A container that can be cleared.
pub(crate) trait Clear {
    /// Drops all values in the container.
    fn clear(&self);
}

/// A container that is cleared before it is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct ClearOnDrop<T: Clear> {
    #[pin]
    container: T,
}

impl<T: Clear> ClearOnDrop<T> {
    /// Creates the container by `init`.
    pub(crate) fn new(init: impl PinInit<T>) -> impl PinInit<Self> {
        pin_init!(Self { container <- init })
    }
}

impl<T: Clear> Deref for ClearOnDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.container
    }
}

#[pinned_drop]
impl<T: Clear> PinnedDrop for ClearOnDrop<T> {
    fn drop(self: Pin<&mut Self>) {
        self.container.clear();
    }
}
