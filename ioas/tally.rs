// SPDX-License-Identifier: GPL-2.0-only

//! Numbers of things that all go before their owner does.
//!
//! Pure logic. A count that is wrong is a bug of this module: pages that stay pinned, or a charge
//! that somebody else pays for. It is found where the count would go below zero, and at the latest
//! when the owner is dropped.

use crate::kapi::bug::warn_on_once;

/// A number of things. Warns if more are taken off than were added, and if it is not 0 when it is
/// dropped.
#[derive(Default)]
pub(crate) struct Tally(u64);

impl Tally {
    /// Returns a tally of nothing.
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Returns the number.
    pub(crate) fn get(&self) -> u64 {
        self.0
    }

    /// Counts `more` things more. The sum must fit in 64 bits.
    pub(crate) fn add(&mut self, more: u64) {
        self.0 += more;
    }

    /// Counts `fewer` things fewer. If there are not so many, warns once and counts none.
    pub(crate) fn sub(&mut self, fewer: u64) {
        let left = self.0.checked_sub(fewer);
        warn_on_once!(left.is_none());
        self.0 = left.unwrap_or(0);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        warn_on_once!(self.0 != 0);
    }
}
