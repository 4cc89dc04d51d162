// SPDX-License-Identifier: GPL-2.0-only

//! Containers that are emptied while they are whole.
//!
//! A value that is dropped with its owner may need the owner to go. If it was taken out of a container of
//! the owner's before that is dropped itself, the owner is still there, with all that comes after the
//! container.

use core::ops::Deref;
use kernel::prelude::*;

/// What can be emptied.
pub(crate) trait Empty {
    /// Drops all that is in it.
    fn empty(&self);
}

/// A container that is emptied before it is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct Emptied<T: Empty> {
    #[pin]
    container: T,
}

impl<T: Empty> Emptied<T> {
    /// One that `init` makes.
    pub(crate) fn new(init: impl PinInit<T>) -> impl PinInit<Self> {
        pin_init!(Self { container <- init })
    }
}

impl<T: Empty> Deref for Emptied<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.container
    }
}

#[pinned_drop]
impl<T: Empty> PinnedDrop for Emptied<T> {
    fn drop(self: Pin<&mut Self>) {
        self.container.empty();
    }
}
