// SPDX-License-Identifier: GPL-2.0-only

//! The last refusal of a file. The lock (rank 62) is held for a few instructions, on failure only.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::SpinLock, //
};

use super::Refusal;

/// A call that was refused.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    /// The name of the ioctl, or of what a driver or user space has asked for otherwise.
    pub(crate) command: &'static CStr,
    pub(crate) refusal: Refusal,
}

/// The last refusal, and the number of refusals.
#[pin_data]
pub(crate) struct LastRefusal {
    #[pin]
    state: SpinLock<(u64, Option<Refused>)>,
}

impl LastRefusal {
    /// Initialises it without a refusal.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_spinlock!((0, None), "LastRefusal::state"),
        })
    }

    /// Records a refusal in place of the last one.
    #[cold]
    pub(crate) fn record(&self, refused: Refused) {
        let mut state = self.state.lock();
        *state = (state.0.wrapping_add(1), Some(refused));
    }

    /// Returns the number of refusals and the last one.
    pub(crate) fn get(&self) -> (u64, Option<Refused>) {
        *self.state.lock()
    }
}
