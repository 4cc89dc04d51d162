// SPDX-License-Identifier: GPL-2.0-only

//! The pinned pages of a memory source, their users, and their physical memory.
//!
//! Pinned pages are kept as *segments*: disjoint ranges of page indexes, each with the extents that
//! hold its pages and the number of its users. A user is a mapping or an access. Segments are cut
//! at both ends of every range that is used ([`Segments::cut`]), so a user covers a segment from
//! end to end or not at all. A page is therefore pinned once however many users it has, and putting
//! a range ([`Segments::put`]) needs no cut, hence no memory: it unpins the pages that have no user
//! left.
//!
//! A segment also counts the users that begin with its first page and those that end with its last
//! page. Two neighbours are joined if no user begins or ends between them. The segments therefore
//! depend on the present users only, not on earlier ones, but for neighbours that would be too long.
//!
//! Pure logic: pins are owned by the extents, see `kapi/mm/pin.rs`.

use kernel::prelude::*;

use crate::{
    ioas::{
        division::LARGEST,
        extents::{
            Extents,
            MAX_EXTENTS, //
        },
        interval::{
            IntervalMap,
            Vacancy, //
        },
        runs::Runs, //
    },
    kapi::{
        bug::{
            debug_warn_on_once,
            warn_on_once, //
        },
        mm::pin::{
            Extent,
            PinnedRun, //
        },
        units::{
            PageRange,
            PageUnit, //
        }, //
    }, //
};

/// A range of pinned pages that have the same users.
struct Segment {
    extents: Extents,
    users: u64,
    /// The number of users that begin with the first page.
    begins: u64,
    /// The number of users that end with the last page.
    ends: u64,
}

/// The pinned pages of one memory source.
pub(crate) struct Segments {
    map: IntervalMap<PageUnit, Segment>,
}

impl Segments {
    /// Creates an empty set.
    pub(crate) fn new() -> Self {
        Self {
            map: IntervalMap::new(),
        }
    }

    /// Cuts segments so that none straddles an end of `range`. Returns `ENOMEM` and changes nothing
    /// if there is no memory.
    pub(crate) fn cut(&mut self, range: PageRange) -> Result {
        self.cut_before(range.start())?;
        if let Some(end) = range.last().checked_add(1) {
            if let Err(error) = self.cut_before(end) {
                self.join_before(range.start());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Cuts the segment that has the pages before and from `index`, if one has both. `ENOMEM`.
    fn cut_before(&mut self, index: u64) -> Result {
        let Some((range, segment)) = self.map.first_in_mut(page(index)) else {
            return Ok(());
        };
        if range.start() == index {
            return Ok(());
        }
        let vacancy = Vacancy::new()?;
        let tail = Segment {
            extents: segment.extents.split_off(index - range.start())?,
            users: segment.users,
            begins: 0,
            ends: core::mem::take(&mut segment.ends),
        };
        // The range was found above, and the index is inside it.
        let refused = self.map.split(vacancy, range, index, tail);
        warn_on_once!(refused.is_err());
        Ok(())
    }

    /// Joins the segments before and from page `index` if no user ends or begins there. Does
    /// nothing if that needs memory that is not available without waiting, or if both have more than
    /// [`LARGEST`] pages.
    fn join_before(&mut self, index: u64) {
        let meeting = self.map.meeting_at(index);
        let Some(((first, head), (second, _))) =
            meeting.filter(|(head, tail)| may_join(*head, *tail))
        else {
            return;
        };
        let begins = head.begins;
        let more = self.take_extents(second);
        let both = match self.map.get_mut(first).map(|head| head.extents.join(more)) {
            Some(Ok(())) => self.take_extents(first),
            Some(Err(more)) => return self.put_extents(second, more),
            None => {
                warn_on_once!(true);
                return;
            }
        };
        warn_on_once!(self.map.join(first, second).is_none());
        let whole = PageRange::new(first.start(), second.last());
        match whole.and_then(|whole| self.map.get_mut(whole)) {
            Some(segment) => {
                segment.begins = begins;
                segment.extents = both;
            }
            None => {
                warn_on_once!(true);
            }
        }
    }

    /// Joins neighbours at the ends of the segments in `range`.
    fn join(&mut self, range: PageRange) {
        let mut first = range.start().saturating_sub(1);
        let last = range.last().saturating_add(1);
        while let Some(index) = PageRange::new(first, last).and_then(|rest| self.joint(rest)) {
            self.join_before(index);
            first = index;
        }
    }

    /// Returns the first page of a segment that may be joined with the one before it. Both must touch
    /// `within`.
    fn joint(&self, within: PageRange) -> Option<u64> {
        let mut segments = self.map.iter_in(within);
        let mut head = segments.next()?;
        segments.find_map(|tail| {
            let head = core::mem::replace(&mut head, tail);
            let meet = head.0.last() + 1 == tail.0.start();
            (meet && may_join(head, tail)).then_some(tail.0.start())
        })
    }

    /// Returns the parts of `range` that are not pinned, in order.
    pub(crate) fn gaps(&self, range: PageRange) -> impl Iterator<Item = PageRange> + '_ {
        self.map.gaps_in(range)
    }

    /// Adds a segment without users, of pages that are not pinned yet. Takes the extents only if it
    /// succeeds. Returns `ENOMEM`, and `EINVAL` with a warning if part of the range is pinned.
    pub(crate) fn add(&mut self, range: PageRange, extents: &mut Extents) -> Result {
        let vacancy = Vacancy::new()?;
        let segment = Segment {
            extents: extents.take(),
            users: 0,
            begins: 0,
            ends: 0,
        };
        self.map.insert(vacancy, range, segment).map_err(|segment| {
            warn_on_once!(true);
            *extents = segment.extents;
            EINVAL
        })
    }

    /// As [`Segments::add`] and [`Segments::get`]: adds a segment with one user. Returns its extents.
    #[inline(always)]
    pub(crate) fn add_used(
        &mut self,
        range: PageRange,
        extents: &mut Extents,
    ) -> Result<&[Extent]> {
        self.add(range, extents)?;
        let segment = self.map.get_mut(range);
        warn_on_once!(segment.is_none());
        let segment = segment.ok_or(EINVAL)?;
        (segment.users, segment.begins, segment.ends) = (1, 1, 1);
        Ok(&segment.extents)
    }

    /// Counts one more user of `range`, all of which is pinned and cut.
    pub(crate) fn get(&mut self, range: PageRange) {
        let mut next = Some(range);
        let mut pinned = 0;
        while let Some((found, segment)) = next.and_then(|rest| self.step(rest, range)) {
            segment.users += 1;
            segment.begins += u64::from(found.start() == range.start());
            segment.ends += u64::from(found.last() == range.last());
            pinned += found.len();
            next = after(found, range);
        }
        warn_on_once!(pinned != range.len());
        debug_warn_on_once!(!self.has_extents(range));
    }

    /// Removes one user of `range`, which [`Segments::get`] has counted. Returns the number of pages that
    /// have no user left, and the extents of the last segment that has none, which the caller drops to
    /// unpin them: that takes long if there are many. The others are unpinned. Needs no memory.
    pub(crate) fn put(&mut self, range: PageRange) -> (u64, Extents) {
        debug_warn_on_once!(!self.has_extents(range));
        let mut next = Some(range);
        let (mut unpinned, mut left) = (0, 0);
        let mut last = Extents::None;
        while let Some((found, segment)) = next.and_then(|rest| self.step(rest, range)) {
            let begins = u64::from(found.start() == range.start());
            let ends = u64::from(found.last() == range.last());
            warn_on_once!(segment.users == 0 || segment.begins < begins || segment.ends < ends);
            segment.users = segment.users.saturating_sub(1);
            segment.begins = segment.begins.saturating_sub(begins);
            segment.ends = segment.ends.saturating_sub(ends);
            if segment.users == 0 {
                unpinned += found.len();
                if let Some(segment) = self.map.remove(found) {
                    core::mem::replace(&mut last, segment.extents).unpin();
                }
            } else {
                left += found.len();
            }
            next = after(found, range);
        }
        warn_on_once!(unpinned + left != range.len());
        if left != 0 {
            self.join(range);
        }
        (unpinned, last)
    }

    /// Makes two users of one that has `range`, if a segment ends in it behind the first `least` pages.
    /// Returns the range of the first user, which is that short, and that of the second one if there is
    /// one. Needs no memory.
    #[inline]
    pub(crate) fn divide_behind(
        &mut self,
        range: PageRange,
        least: u64,
    ) -> (PageRange, Option<PageRange>) {
        let found = if range.len() > least {
            self.map.first_in(page(range.start() + least))
        } else {
            None
        };
        let rest = found.and_then(|(found, _)| after(found, range));
        let first = rest.and_then(|rest| PageRange::new(range.start(), rest.start() - 1));
        let (Some(first), Some(rest)) = (first, rest) else {
            return (range, None);
        };
        // No segment is cut for it, so this cannot fail.
        let divided = self.divide(rest.start());
        warn_on_once!(divided.is_err());
        (first, Some(rest))
    }

    /// Unpins the pages in `range` without users, and undoes [`Segments::cut`]. Returns the number
    /// of pages that were unpinned. Needs no memory.
    pub(crate) fn discard_unused(&mut self, range: PageRange) -> u64 {
        let mut next = Some(range);
        let mut unpinned = 0;
        while let Some((found, segment)) = next.and_then(|rest| self.map.first_in_mut(rest)) {
            if range.contains(&found) && segment.users == 0 {
                unpinned += found.len();
                drop(self.map.remove(found));
            }
            next = after(found, range);
        }
        self.join(range);
        unpinned
    }

    /// Divides a user that covers page `at` and the one before it: the first part has the pages before
    /// it, and the second part has the rest. On failure nothing has changed. Returns `ENOMEM`.
    pub(crate) fn divide(&mut self, at: u64) -> Result {
        self.cut_before(at)?;
        let before = at.checked_sub(1).map(page);
        let head = before.and_then(|before| self.map.first_in_mut(before));
        let divided = head.is_some();
        if let Some((_, head)) = head {
            head.ends += 1;
        }
        let tail = self.map.first_in_mut(page(at));
        // The user has the pages on both sides.
        warn_on_once!(!divided || tail.is_none());
        if let Some((_, tail)) = tail {
            tail.begins += 1;
        }
        Ok(())
    }

    /// Returns whether the extents of each segment that `range` touches have as many pages as the
    /// segment.
    fn has_extents(&self, range: PageRange) -> bool {
        self.map.iter_in(range).all(|(found, segment)| {
            let npages: u64 = segment.extents.iter().map(Extent::npages).sum();
            npages == found.len()
        })
    }

    /// Makes one user of two, of which one ends before page `at`, and the other one begins with it.
    /// This undoes [`Segments::divide`]. Cannot fail.
    pub(crate) fn unite(&mut self, at: u64) {
        let before = at.checked_sub(1).map(page);
        if let Some((_, head)) = before.and_then(|before| self.map.first_in_mut(before)) {
            warn_on_once!(head.ends == 0);
            head.ends = head.ends.saturating_sub(1);
        }
        if let Some((_, tail)) = self.map.first_in_mut(page(at)) {
            warn_on_once!(tail.begins == 0);
            tail.begins = tail.begins.saturating_sub(1);
        }
        self.join_before(at);
    }

    /// Returns the first segment that `rest` touches if it lies in `range`.
    fn step(&mut self, rest: PageRange, range: PageRange) -> Option<(PageRange, &mut Segment)> {
        let found = self.map.first_in_mut(rest);
        found.filter(|(found, _)| range.contains(found))
    }

    /// Takes the extents out of a segment.
    fn take_extents(&mut self, range: PageRange) -> Extents {
        let segment = self.map.get_mut(range);
        warn_on_once!(segment.is_none());
        segment.map_or(Extents::None, |segment| segment.extents.take())
    }

    /// Gives a segment its extents back.
    fn put_extents(&mut self, range: PageRange, extents: Extents) {
        match self.map.get_mut(range) {
            Some(segment) => segment.extents = extents,
            // Dropping the extents unpins pages that are in use.
            None => {
                warn_on_once!(true);
            }
        }
    }

    /// Returns the segments that `range` touches, up to the first page that is not pinned.
    fn joined(&self, range: PageRange) -> impl Iterator<Item = (PageRange, &Segment)> {
        let mut end = range.start();
        self.map.iter_in(range).take_while(move |(found, _)| {
            let joined = found.start() <= end;
            end = found.last().saturating_add(1);
            joined
        })
    }

    /// Returns the physical memory of the pages in `range` in order, in runs that are as long as
    /// possible, up to the first page that is not pinned.
    pub(crate) fn runs(&self, range: PageRange) -> impl Iterator<Item = PinnedRun<'_>> {
        let mut segments = self.joined(range).peekable();
        let first = segments.peek().map(|(found, _)| found.start());
        let skip = first.map_or(0, |first| range.start().saturating_sub(first));
        let lists = segments.map(|(_, segment)| &*segment.extents);
        Runs::new(lists, skip, range.len())
    }

    /// Returns whether all of `range` is pinned and is one run.
    pub(crate) fn is_run(&self, range: PageRange) -> bool {
        let first = self.runs(range).next();
        first.is_some_and(|run| run.npages() == range.len())
    }

    /// Returns the pages of `range` that are one run, as [`Segments::runs`] finds them, of which `page`
    /// is one. Returns `None` if a page of `range` up to `page` is not pinned, or `page` is none of it.
    pub(crate) fn run_of(&self, page: u64, range: PageRange) -> Option<PageRange> {
        let mut start = range.start();
        let mut runs = self.runs(range).map(|run| {
            let first = start;
            start += run.npages();
            PageRange::new(first, start - 1)
        });
        let found = runs.find(|run| run.is_none_or(|run| run.last() >= page))?;
        found.filter(|run| run.start() <= page)
    }

    /// Returns the segments with their extents, in order.
    #[cfg(test)]
    pub(crate) fn lists(&self) -> impl Iterator<Item = (PageRange, &Extents)> {
        self.map
            .iter()
            .map(|(range, segment)| (range, &segment.extents))
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        // Each user has given its range back, and with the last one the pages were unpinned.
        warn_on_once!(!self.map.is_empty());
    }
}

impl Segments {
    /// Unpins all pages, those of each user.
    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.map = IntervalMap::new();
    }

    /// Returns the number of pinned pages.
    #[cfg(test)]
    pub(crate) fn pinned(&self) -> u64 {
        self.map.iter().map(|(range, _)| range.len()).sum()
    }

    /// Returns the extents that have pages of `range`, in order, each with the index of its first
    /// page.
    pub(crate) fn extents_in(&self, range: PageRange) -> impl Iterator<Item = (u64, &Extent)> {
        self.map.iter_in(range).flat_map(move |(found, segment)| {
            let mut index = found.start();
            segment.extents.iter().filter_map(move |extent| {
                let first = index;
                index += extent.npages();
                (index > range.start() && first <= range.last()).then_some((first, extent))
            })
        })
    }
}

/// Returns whether a segment and the next one are joined: no user ends or begins between them, and both
/// together are not too long.
fn may_join((first, head): (PageRange, &Segment), (second, tail): (PageRange, &Segment)) -> bool {
    // One extent may continue the last one. More become a list, which has a largest length.
    let fit = tail.extents.len() == 1 || head.extents.len() + tail.extents.len() <= MAX_EXTENTS;
    // All of a segment is unpinned at once.
    let short = first.len() + second.len() <= LARGEST;
    head.ends == 0 && tail.begins == 0 && short && fit
}

/// Returns the range of one page.
fn page(index: u64) -> PageRange {
    PageRange::at(index)
}

/// Returns the part of `range` behind `found`.
fn after(found: PageRange, range: PageRange) -> Option<PageRange> {
    PageRange::new(found.last().checked_add(1)?, range.last())
}
