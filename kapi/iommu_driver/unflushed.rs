// SPDX-License-Identifier: GPL-2.0-only

//! What was unmapped from page tables, and not flushed yet.
//!
//! Hardware goes on to reach memory by what it has cached until that is flushed. The mock IOMMU has no
//! cache, so without this nobody would notice a flush that is left out. Pure logic; protected by
//! `Watch::unflushed` (rank 64).

use crate::kapi::units::IovaRange;

/// How many tasks are watched that unmap at once. What more of them do is not noticed.
const MOST: usize = 16;

/// What a page is that was unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// A pinned page of a process or file, at this physical address.
    Pinned(u64),
    /// A page of a process or file that is not pinned, although a device could reach it.
    Loose,
    /// Something else, of which it is not known who keeps it.
    Other,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A task unmaps, and has not flushed what it unmapped before that.
    NotFlushed,
    /// A task flushes a part of what it has unmapped.
    PartFlushed,
    /// A page was unpinned before it was unmapped.
    UnpinnedBefore,
}

/// What a task has unmapped by one batch.
#[derive(Clone, Copy)]
struct Batch {
    /// The id of the task.
    task: i32,
    /// The smallest range with all of it.
    range: IovaRange,
    /// The physical address of a page that was pinned.
    pinned: Option<u64>,
}

/// The batches that are not flushed, of one domain.
pub(crate) struct Unflushed([Option<Batch>; MOST]);

impl Unflushed {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self([const { None }; MOST])
    }

    /// Returns true if nothing is to be flushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Records that a task has unmapped `range`. `page` is the first page of it, and `begins` says that
    /// the task has a new batch.
    pub(crate) fn unmapped(
        &mut self,
        task: i32,
        range: IovaRange,
        page: Page,
        begins: bool,
    ) -> Result<(), Mistake> {
        let mut batch = Batch {
            task,
            range,
            pinned: None,
        };
        let free = || self.0.iter().position(Option::is_none);
        let place = self.of(task).or_else(free);
        let Some(place) = place.and_then(|place| self.0.get_mut(place)) else {
            return Ok(());
        };
        let mut result = Ok(());
        match *place {
            Some(_) if begins => result = Err(Mistake::NotFlushed),
            Some(old) => {
                let first = old.range.start().min(range.start());
                let last = old.range.last().max(range.last());
                batch.range = IovaRange::new(first, last).unwrap_or(range);
                batch.pinned = old.pinned;
            }
            None => {}
        }
        match page {
            Page::Pinned(phys) => batch.pinned = batch.pinned.or(Some(phys)),
            Page::Loose => result = Err(Mistake::UnpinnedBefore),
            Page::Other => {}
        }
        *place = Some(batch);
        result
    }

    /// Records that a task flushes `range`. Returns the physical address of a page that must still be
    /// pinned, if one is known.
    pub(crate) fn flushed(&mut self, task: i32, range: IovaRange) -> Result<Option<u64>, Mistake> {
        let place = self.of(task).and_then(|place| self.0.get_mut(place));
        let Some(batch) = place.and_then(Option::take) else {
            return Ok(None);
        };
        if range.contains(&batch.range) {
            Ok(batch.pinned)
        } else {
            Err(Mistake::PartFlushed)
        }
    }

    /// Returns the place of a task's batch.
    fn of(&self, task: i32) -> Option<usize> {
        let is = |batch: &Option<Batch>| batch.as_ref().is_some_and(|batch| batch.task == task);
        self.0.iter().position(is)
    }
}
