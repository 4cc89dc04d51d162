// SPDX-License-Identifier: GPL-2.0-only

//! Which pages of a memory source are pinned, who needs them, and where they are.
//!
//! Pinned pages are kept as *segments*: disjoint ranges of page indexes, each with the extents that
//! hold its pages and the number of users that need it. A user is a mapping or an access that
//! covers the segment from end to end, because segments are cut at the ends of every range that is
//! used ([`Segments::cut`]). So a page is pinned once however many users it has, putting it
//! ([`Segments::put`]) never has to cut and hence never allocates, and pages are unpinned
//! exactly when their last user puts them.
//!
//! Pure logic: pins are owned by the extents, see `kapi/mm/pin.rs`.

use kernel::prelude::*;

use crate::{
    ioas::{
        few::Few,
        interval::{
            IntervalMap,
            Vacancy, //
        }, //
    },
    kapi::{
        mm::pin::Extent,
        sync::vec,
        units::{
            PageRange,
            PageUnit,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// How many extents make a segment full, so that cutting one is cheap and its memory comes from the
/// slab: 32 KiB.
pub(crate) const MAX_EXTENTS: usize = 4096;

/// Extents in the order of their pages.
type Extents = Few<Extent>;

/// Divides extents before page `at`, which lies inside them. The first part stays. `ENOMEM`, and
/// then nothing has changed.
fn split_off(extents: &mut Extents, at: u64) -> Result<Extents> {
    match core::mem::replace(extents, Few::None) {
        Few::None => Err(EINVAL),
        Few::One(extent) => match extent.split(at) {
            Ok((first, second)) => {
                *extents = Few::One(first);
                Ok(Few::One(second))
            }
            Err(extent) => {
                *extents = Few::One(extent);
                Err(EINVAL)
            }
        },
        Few::Many(mut list) => {
            let second = split_tail(&mut list, at);
            *extents = Few::Many(list);
            second.map(Few::Many)
        }
    }
}

/// Takes what lies behind the first `at` pages off a list of extents. `ENOMEM`, and then nothing
/// has changed.
fn split_tail(extents: &mut KVec<Extent>, at: u64) -> Result<KVec<Extent>> {
    let mut before = 0;
    let whole = extents
        .iter()
        .take_while(|extent| {
            let fits = before + extent.npages() <= at;
            if fits {
                before += extent.npages();
            }
            fits
        })
        .count();
    let mut tail = KVec::with_capacity(extents.len() - whole, GFP_KERNEL_ACCOUNT)?;
    // From here on nothing fails: there is room for all. The tail is taken from the end and turned
    // round; the extent that is cut, if one is, comes last.
    while extents.len() > whole {
        let Some(extent) = extents.pop() else { break };
        let kept = if extents.len() == whole {
            at - before
        } else {
            0
        };
        match extent.split(kept) {
            Ok((first, second)) => {
                drop(tail.push_within_capacity(second));
                drop(extents.push_within_capacity(first));
                break;
            }
            Err(extent) => drop(tail.push_within_capacity(extent)),
        }
    }
    tail.reverse();
    Ok(tail)
}

struct Segment {
    extents: Extents,
    users: u64,
}

/// The pinned pages of one memory source.
pub(crate) struct Segments {
    map: IntervalMap<PageUnit, Segment>,
}

impl Segments {
    /// Nothing is pinned.
    pub(crate) fn new() -> Self {
        Self {
            map: IntervalMap::new(),
        }
    }

    /// Cuts segments so that none straddles an end of `range`. `ENOMEM`; a cut that was made stays,
    /// nobody sees it.
    pub(crate) fn cut(&mut self, range: PageRange) -> Result {
        self.cut_before(range.start())?;
        match range.last().checked_add(1) {
            Some(end) => self.cut_before(end),
            None => Ok(()),
        }
    }

    /// Cuts the segment that straddles the beginning of page `index`, if one does. `ENOMEM`.
    pub(crate) fn cut_before(&mut self, index: u64) -> Result {
        let Some(point) = PageRange::new(index, index) else {
            return Ok(());
        };
        let Some((range, _)) = self.map.first_in(point) else {
            return Ok(());
        };
        if range.start() == index {
            return Ok(());
        }
        let vacancy = Vacancy::new()?;
        let segment = self.map.get_mut(range).ok_or(EINVAL)?;
        let extents = split_off(&mut segment.extents, index - range.start())?;
        let users = segment.users;
        let tail = Segment { extents, users };
        // It is the segment that was found.
        drop(self.map.split(vacancy, range, index, tail));
        Ok(())
    }

    /// The parts of `range` that are not pinned.
    pub(crate) fn gaps(&self, range: PageRange) -> impl Iterator<Item = PageRange> + '_ {
        self.map.gaps_in(range)
    }

    /// Adds a pinned segment without users.
    fn add(&mut self, vacancy: Vacancy<Segment>, range: PageRange, extents: Extents) -> Result {
        let segment = Segment { extents, users: 0 };
        // A refused segment is dropped here, and with it its pins.
        self.map.insert(vacancy, range, segment).map_err(|_| EINVAL)
    }

    /// Counts one more user of every page in `range`, all of which are pinned and cut.
    pub(crate) fn get(&mut self, range: PageRange) {
        let mut next = Some(range);
        while let Some((segment, rest)) = next.and_then(|rest| self.step(rest, range)) {
            segment.users += 1;
            next = rest;
        }
    }

    /// Removes one user of every page in `range`, and unpins the pages without users. Returns how
    /// many pages that were. Never allocates.
    pub(crate) fn put(&mut self, range: PageRange) -> u64 {
        self.remove_if(range, |segment| {
            segment.users = segment.users.saturating_sub(1);
            segment.users == 0
        })
    }

    /// Unpins the pages in `range` without users, and returns how many that were.
    pub(crate) fn discard_unused(&mut self, range: PageRange) -> u64 {
        self.remove_if(range, |segment| segment.users == 0)
    }

    fn remove_if(&mut self, range: PageRange, mut unused: impl FnMut(&mut Segment) -> bool) -> u64 {
        let mut removed = 0;
        let mut next = Some(range);
        while let Some(rest) = next {
            let Some((found, segment)) = self.map.first_in_mut(rest) else {
                break;
            };
            if range.contains(&found) && unused(segment) {
                removed += found.len();
                drop(self.map.remove(found));
            }
            next = after(found, range);
        }
        removed
    }

    /// The first segment that lies in `range`, looking at `rest` only, and what is left to look at.
    fn step(
        &mut self,
        rest: PageRange,
        range: PageRange,
    ) -> Option<(&mut Segment, Option<PageRange>)> {
        let (found, segment) = self.map.first_in_mut(rest)?;
        if !range.contains(&found) {
            return None;
        }
        Some((segment, after(found, range)))
    }

    /// The extents of `range`, which is cut: segment by segment, in order. Stops at the first page
    /// that is not pinned.
    pub(crate) fn whole(&self, range: PageRange) -> impl Iterator<Item = &[Extent]> {
        self.joined(range).map(|(_, segment)| &*segment.extents)
    }

    /// The segments that `range` touches up to the first page that is not pinned.
    fn joined(&self, range: PageRange) -> impl Iterator<Item = (PageRange, &Segment)> {
        let mut end = range.start();
        self.map.iter_in(range).take_while(move |(found, _)| {
            let joined = found.start() <= end;
            end = found.last().saturating_add(1);
            joined
        })
    }

    /// The physical memory of the pages in `range`, in order, as byte addresses and page counts.
    /// Stops at the first page that is not pinned.
    pub(crate) fn extents(&self, range: PageRange) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.joined(range).flat_map(move |(found, segment)| {
            let mut index = found.start();
            segment.extents.iter().filter_map(move |extent| {
                let start = index;
                index += extent.npages();
                let skip = range.start().saturating_sub(start);
                let end = index.min(range.last().saturating_add(1));
                let npages = end.checked_sub(start + skip).filter(|n| *n != 0)?;
                Some((extent.phys() + (skip << PAGE_SHIFT), npages))
            })
        })
    }
}

impl Segments {
    /// How many pages are pinned.
    pub(crate) fn pinned(&self) -> u64 {
        self.map.iter().map(|(range, _)| range.len()).sum()
    }

    /// The extent that holds the page `index`, and which of its pages that is.
    pub(crate) fn extent_at(&self, index: u64) -> Option<(&Extent, u64)> {
        let (found, segment) = self.map.first_in(PageRange::new(index, index)?)?;
        let mut skip = index - found.start();
        for extent in segment.extents.iter() {
            if skip < extent.npages() {
                return Some((extent, skip));
            }
            skip -= extent.npages();
        }
        None
    }
}

/// What of `range` lies behind `found`.
fn after(found: PageRange, range: PageRange) -> Option<PageRange> {
    PageRange::new(found.last().checked_add(1)?, range.last())
}

/// Makes segments of extents, from a page index upwards. Pins that did not make it into a segment
/// are given back when this is dropped.
///
/// An extent is *complete* when the next one does not continue it in memory. The callback
/// `complete` then gets it, once and in order. The extent may not be in a segment yet, so the
/// builder must outlive the use that the callback makes of it.
pub(crate) struct Builder {
    /// Index of the first page in `extents`.
    start: u64,
    /// How many pages `extents` has.
    npages: u64,
    extents: Extents,
}

impl Builder {
    /// The next extent's first page has the index `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            start,
            npages: 0,
            extents: Few::None,
        }
    }

    /// Adds the next pages: extents of which none continues the one before it, though the first may
    /// continue what is here. Tells `complete` of extents. `ENOMEM`, or what `pages` or `complete`
    /// fail with.
    pub(crate) fn push(
        &mut self,
        segments: &mut Segments,
        pages: &mut impl Iterator<Item = Result<Extent>>,
        complete: &mut impl FnMut(&[Extent]) -> Result,
    ) -> Result {
        let mut more = true;
        while more {
            if self.extents.len() >= MAX_EXTENTS {
                self.finish(segments, complete)?;
            }
            let open = self.extents.len().saturating_sub(1);
            more = self.collect(pages)?;
            if let Some([new @ .., _]) = self.extents.get(open..) {
                if !new.is_empty() {
                    complete(new)?;
                }
            }
        }
        Ok(())
    }

    /// Adds extents to a list that is not full until it is, and returns whether there may be more.
    fn collect(&mut self, pages: &mut impl Iterator<Item = Result<Extent>>) -> Result<bool> {
        let npages = &mut self.npages;
        let mut pages = pages.inspect(|extent| {
            *npages += extent.as_ref().map_or(0, Extent::npages);
        });
        let Some(first) = pages.next().transpose()? else {
            return Ok(false);
        };
        let refused = match self.extents.last_mut() {
            Some(last) => last.merge(first),
            None => Err(first),
        };
        if let Err(first) = refused {
            self.extents.push(first)?;
        }
        // Most often that was all.
        let at_most = pages.size_hint().1.unwrap_or(usize::MAX);
        if at_most == 0 {
            return Ok(false);
        }
        let room = MAX_EXTENTS.saturating_sub(self.extents.len());
        let list = self.extents.reserve(at_most.min(room))?;
        vec::fill(list, room, &mut pages)
    }

    /// Completes the last extent and makes a segment of those that are in none. Fails as
    /// [`Builder::push`].
    pub(crate) fn finish(
        &mut self,
        segments: &mut Segments,
        complete: &mut impl FnMut(&[Extent]) -> Result,
    ) -> Result {
        if let Some(last) = self.extents.last() {
            complete(core::slice::from_ref(last))?;
        }
        let Ok(range) = PageRange::from_len(self.start, self.npages) else {
            return Ok(());
        };
        let vacancy = Vacancy::new()?;
        // What is kept for long has no slack.
        self.extents.fit()?;
        let extents = core::mem::replace(&mut self.extents, Few::None);
        self.start += self.npages;
        self.npages = 0;
        segments.add(vacancy, range, extents)
    }
}
