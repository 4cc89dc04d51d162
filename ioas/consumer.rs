// SPDX-License-Identifier: GPL-2.0-only

//! What pinned memory is passed to.

use crate::kapi::{
    mm::pin::PinnedRun,
    reason::Result, //
};

/// A consumer of physical memory.
pub(super) trait Consumer {
    /// Takes runs of pinned pages, which follow those of the last call. They remain pinned until the
    /// [`PendingPin`](crate::ioas::pin::PendingPin) is dropped, or the user is removed. Called with
    /// `Pages::inner` held.
    fn take<'p>(&mut self, runs: impl Iterator<Item = PinnedRun<'p>>) -> Result;
}
