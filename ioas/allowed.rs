// SPDX-License-Identifier: GPL-2.0-only

//! The addresses that user space wants IOVAs to be chosen from.
//!
//! Pure logic. Ranges that meet are kept as one: what has room for a mapping does not depend on how
//! user space has written it.

use kernel::prelude::*;

use crate::{
    ioas::{
        interval::{
            IntervalMap,
            Vacancy, //
        },
        reserved::Reserved, //
    },
    kapi::{
        bug::warn_on_once,
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    }, //
};

/// See the module.
pub(crate) struct Allowed(IntervalMap<IovaUnit, ()>);

impl Allowed {
    /// Creates a set without ranges, which means that every address is allowed.
    pub(crate) const fn new() -> Self {
        Self(IntervalMap::new())
    }

    /// Returns true if no range was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range. Fails and changes nothing if part of it was added already.
    pub(crate) fn add(
        &mut self,
        vacancy: Vacancy<IovaUnit, ()>,
        range: IovaRange,
    ) -> Result<(), ()> {
        self.0.insert(vacancy, range, ())?;
        self.join_at(range.start());
        if let Some(end) = range.last().checked_add(1) {
            self.join_at(end);
        }
        Ok(())
    }

    /// Joins the range that ends before `at` and the one that begins there, if there are both.
    fn join_at(&mut self, at: u64) {
        if let Some(((first, ()), (second, ()))) = self.0.meeting_at(at) {
            warn_on_once!(self.0.join(first, second).is_none());
        }
    }

    /// Returns the first range that intersects `within`.
    pub(crate) fn first_in(&self, within: IovaRange) -> Option<IovaRange> {
        self.iter_in(within).next()
    }

    /// Returns the ranges that intersect `within`, in order. They are not cut to it, and no two of
    /// them meet.
    pub(crate) fn iter_in(&self, within: IovaRange) -> impl Iterator<Item = IovaRange> + '_ {
        self.0.iter_in(within).map(|(range, ())| range)
    }

    /// Returns the first piece of `reserved` that intersects a range. Takes logarithmic time for each
    /// piece or for each range, whatever there is less of.
    pub(crate) fn conflict(&self, reserved: &Reserved) -> Option<IovaRange> {
        let mut from = 0;
        loop {
            let range = self.first_in(IovaRange::new(from, u64::MAX)?)?;
            let rest = IovaRange::new(range.start().max(from), u64::MAX)?;
            let piece = reserved.conflict(rest)?;
            if piece.start() <= range.last() {
                return Some(piece);
            }
            from = piece.start();
        }
    }
}
