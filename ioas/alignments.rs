// SPDX-License-Identifier: GPL-2.0-only

//! The alignments that the users of an address space need.
//!
//! Pure logic. The largest is found whatever the number of users. Protected by `Ioas::space` (rank 25).

use crate::kapi::{
    bug::warn_on_once,
    units::PAGE_SHIFT, //
};

/// How many users need each power of two, up to a page. A user is an object with an id of 32 bits, or one
/// for it.
pub(crate) struct Alignments([u32; PAGE_SHIFT as usize + 1]);

impl Alignments {
    /// Returns those of no users.
    pub(crate) const fn new() -> Self {
        Self([0; PAGE_SHIFT as usize + 1])
    }

    /// Counts a user that needs `alignment`: a power of two, at most a page.
    pub(crate) fn add(&mut self, alignment: u64) {
        match self.users(alignment) {
            Some(users) => *users += 1,
            None => {
                warn_on_once!(true);
            }
        }
    }

    /// Undoes [`Alignments::add`] of the same alignment.
    pub(crate) fn remove(&mut self, alignment: u64) {
        match self.users(alignment).filter(|users| **users != 0) {
            Some(users) => *users -= 1,
            None => {
                warn_on_once!(true);
            }
        }
    }

    fn users(&mut self, alignment: u64) -> Option<&mut u32> {
        self.0.get_mut(alignment.trailing_zeros() as usize)
    }

    /// Returns the largest alignment that a user needs, or 1 if there is none.
    pub(crate) fn largest(&self) -> u64 {
        let largest = self.0.iter().rposition(|users| *users != 0);
        1 << largest.unwrap_or(0)
    }
}
