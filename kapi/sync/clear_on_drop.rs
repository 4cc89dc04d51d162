// SPDX-License-Identifier: GPL-2.0-only

//! Containers that are cleared before they are dropped.
//!
//! A value that is dropped with its owner may need the owner to go. If it was taken out of a
//! container of the owner's before that is dropped itself, the owner is still there, with all that
//! comes after the container.

use core::ops::Deref;

use kernel::prelude::*;

/// A container that can be cleared.
pub(crate) trait Clear {
    /// Drops all that is in it.
    fn clear(&self);
}

/// A container that is cleared before it is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct ClearOnDrop<T: Clear> {
    #[pin]
    container: T,
}

impl<T: Clear> ClearOnDrop<T> {
    /// One that `init` makes.
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
