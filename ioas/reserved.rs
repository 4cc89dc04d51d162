// SPDX-License-Identifier: GPL-2.0-only

//! The addresses that devices and domains cannot use.
//!
//! Pure logic. Any number of users reserve ranges, which may be the same or intersect. What is
//! reserved is kept as *pieces*: disjoint ranges, each with the number of its users. Pieces are cut
//! at both ends of every reserved range, so a user has a piece from end to end or not at all, and
//! giving a range back needs no memory. A piece also counts the ranges that begin and that end with
//! it; two neighbours are joined if no range begins or ends between them. So a range costs one
//! piece however many devices reserve it.

use kernel::prelude::*;

use crate::{
    ioas::{
        interval::{
            IntervalMap,
            Vacancy, //
        },
        room::Room, //
    },
    kapi::{
        bug::warn_on_once,
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// A range that the same users have reserved.
pub(crate) struct Piece {
    users: u64,
    /// The number of reserved ranges that begin with the first address.
    begins: u64,
    /// The number of reserved ranges that end with the last address.
    ends: u64,
}

/// See the module.
pub(crate) struct Reserved {
    pieces: IntervalMap<IovaUnit, Piece>,
}

impl Reserved {
    /// Creates a set in which nothing is reserved.
    pub(crate) const fn new() -> Self {
        Self {
            pieces: IntervalMap::new(),
        }
    }

    /// Returns true if nothing is reserved.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Reserves a range once more. Returns `ENOMEM` and changes nothing if there is no memory.
    pub(crate) fn add(&mut self, range: IovaRange) -> Result {
        let result = self.cover(range);
        if result.is_err() {
            self.discard_unused(range);
            return result;
        }
        let mut next = Some(range);
        while let Some((found, piece)) = next.and_then(|rest| self.pieces.first_in_mut(rest)) {
            piece.users += 1;
            piece.begins += u64::from(found.start() == range.start());
            piece.ends += u64::from(found.last() == range.last());
            next = behind(found, range);
        }
        Ok(())
    }

    /// Undoes one [`Reserved::add`] of exactly this range. Needs no memory.
    pub(crate) fn remove(&mut self, range: IovaRange) {
        let mut next = Some(range);
        while let Some((found, piece)) = next.and_then(|rest| self.pieces.first_in_mut(rest)) {
            let begins = u64::from(found.start() == range.start());
            let ends = u64::from(found.last() == range.last());
            let known = piece.users != 0 && piece.begins >= begins && piece.ends >= ends;
            warn_on_once!(!known || !range.contains(&found));
            piece.users = piece.users.saturating_sub(1);
            piece.begins = piece.begins.saturating_sub(begins);
            piece.ends = piece.ends.saturating_sub(ends);
            next = behind(found, range);
        }
        self.discard_unused(range);
    }

    /// Returns the first piece that intersects `within`.
    pub(crate) fn conflict(&self, within: IovaRange) -> Option<IovaRange> {
        self.pieces.first_in(within).map(|(range, _)| range)
    }

    /// Returns the parts of `within` that are not reserved, in order.
    pub(crate) fn gaps(&self, within: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        self.pieces.gaps_in(within)
    }

    /// Finds out how much room there is in at most `looks` gaps between pieces. Returns false if there
    /// are others.
    pub(crate) fn find_some_room(&mut self, looks: usize) -> bool {
        self.pieces.find_some_room(looks, |gap| gap.len())
    }

    /// Finds out how much room there is in the gaps between pieces: all of each.
    pub(crate) fn room(&mut self) -> Room<'_, Piece> {
        self.pieces.room(|gap| gap.len())
    }

    /// Returns the number of pieces.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.iter().count()
    }

    /// Makes pieces of which none straddles an end of `range` and which cover it. New ones have no
    /// users. Returns `ENOMEM`.
    fn cover(&mut self, range: IovaRange) -> Result {
        self.cut_before(range.start())?;
        if let Some(end) = range.last().checked_add(1) {
            self.cut_before(end)?;
        }
        let mut next = Some(range);
        while let Some(gap) = next.and_then(|rest| self.pieces.gaps_in(rest).next()) {
            let piece = Piece {
                users: 0,
                begins: 0,
                ends: 0,
            };
            let refused = self.pieces.insert(Vacancy::new()?, gap, piece);
            warn_on_once!(refused.is_err());
            next = behind(gap, range);
        }
        Ok(())
    }

    /// Cuts the piece that has the addresses before and from `at`, if one has both. `ENOMEM`.
    fn cut_before(&mut self, at: u64) -> Result {
        let Some((range, piece)) = self.pieces.first_in_mut(IovaRange::at(at)) else {
            return Ok(());
        };
        if range.start() == at {
            return Ok(());
        }
        let vacancy: Vacancy<IovaUnit, Piece> = Vacancy::new()?;
        let tail = Piece {
            users: piece.users,
            begins: 0,
            ends: core::mem::take(&mut piece.ends),
        };
        let refused = self.pieces.split(vacancy, range, at, tail);
        warn_on_once!(refused.is_err());
        Ok(())
    }

    /// Removes the pieces of `range` without users, and joins neighbours at its ends and inside it.
    fn discard_unused(&mut self, range: IovaRange) {
        let mut next = Some(range);
        while let Some(rest) = next {
            self.join_before(rest.start());
            let Some((found, piece)) = self.pieces.first_in_mut(rest) else {
                break;
            };
            if piece.users == 0 {
                warn_on_once!(self.pieces.remove(found).is_none());
            }
            next = behind(found, range);
        }
        if let Some(end) = range.last().checked_add(1) {
            self.join_before(end);
        }
    }

    /// Joins the pieces before and from `at` if they meet there and no range ends or begins there.
    fn join_before(&mut self, at: u64) {
        let Some(((first, head), (second, tail))) = self.pieces.meeting_at(at) else {
            return;
        };
        if head.ends != 0 || tail.begins != 0 {
            return;
        }
        let begins = head.begins;
        warn_on_once!(self.pieces.join(first, second).is_none());
        let whole = IovaRange::new(first.start(), second.last());
        match whole.and_then(|whole| self.pieces.get_mut(whole)) {
            Some(piece) => piece.begins = begins,
            None => {
                warn_on_once!(true);
            }
        }
    }
}

/// Returns the part of `range` behind `found`.
fn behind(found: IovaRange, range: IovaRange) -> Option<IovaRange> {
    IovaRange::new(found.last().checked_add(1)?, range.last())
}
