// SPDX-License-Identifier: GPL-2.0-only

//! A completion that is completed when its owner is dropped.
//!
//! C header: `include/linux/completion.h`.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Completion, //
    }, //
};

/// Completes a [`Completion`] when dropped. As the last field of a struct it says that the other
/// fields have been dropped.
pub(crate) struct CompleteOnDrop(Arc<Completion>);

impl CompleteOnDrop {
    /// Allocates the completion. Returns `ENOMEM` if that fails.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::pin_init(Completion::new(), GFP_KERNEL_ACCOUNT)?))
    }

    /// Returns a reference to the completion, for a task that waits for the drop.
    pub(crate) fn completion(&self) -> Arc<Completion> {
        self.0.clone()
    }
}

impl Drop for CompleteOnDrop {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}
