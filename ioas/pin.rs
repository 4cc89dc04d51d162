// SPDX-License-Identifier: GPL-2.0-only

//! Pinning of long ranges, piece by piece.
//!
//! A range is pinned in pieces of some 64 MiB. Each becomes a user of the source's segments as soon as
//! it is pinned, and the pieces are united to one user of the range. `Pages::inner` (rank 30) is
//! released between two pieces, so others who use the same memory do not wait for all of it, and a
//! task that is being killed goes on with one piece at most.

use core::cell::Cell;

use kernel::prelude::*;

use crate::{
    ioas::{
        builder::Builder,
        consumer::Consumer,
        division::{
            Division,
            PIECE, //
        },
        extents::Extents,
        pages::{
            Inner,
            InnerGuard,
            Pages, //
        },
        segments::Segments, //
    },
    kapi::{
        bug::warn_on_once,
        fault_injection,
        mm::pin::{
            Extent,
            PinnedRun,
            Pinner,
            Sink, //
        },
        reason::{
            Reason,
            Refusal,
            Result, //
        },
        sync::signal,
        units::PageRange, //
    }, //
};

/// Passes each run to a closure.
struct Each<F>(F);

impl<F: FnMut(PinnedRun<'_>) -> Result> Consumer for Each<F> {
    fn take<'p>(&mut self, mut runs: impl Iterator<Item = PinnedRun<'p>>) -> Result {
        runs.try_for_each(&mut self.0)
    }
}

/// A consumer that has the runs later.
struct Nobody;

impl Consumer for Nobody {
    fn take<'p>(&mut self, _runs: impl Iterator<Item = PinnedRun<'p>>) -> Result {
        Ok(())
    }
}

/// A pin of a range that is not complete. Dropping it unpins what it has pinned, so a consumer must
/// not use that any more.
pub(super) struct PendingPin<'a> {
    pages: &'a Pages,
    range: PageRange,
    division: Division,
    /// The index of the first page that is not pinned for us yet. We are a user of those before it.
    next: u64,
    /// Pages behind these that are pinned and in no segment yet.
    builder: Builder,
    /// The index of the first page that the builder has put into a segment and `spare` counts.
    built: u64,
    /// The number of pages that are charged and in no segment yet.
    spare: u64,
    /// Whether [`Inner::pins`] counts us.
    counted: bool,
    /// Why the consumer has refused.
    refused: Cell<Option<Refusal>>,
    committed: bool,
}

/// Puts pinned pages into segments, and passes them to a consumer.
struct ToSegments<'a, C> {
    builder: &'a mut Builder,
    segments: &'a mut Segments,
    consumer: &'a mut C,
    refused: &'a Cell<Option<Refusal>>,
}

impl<C: Consumer> Sink for ToSegments<'_, C> {
    fn take(
        &mut self,
        pages: &mut impl Iterator<Item = Result<Extent, Error>>,
    ) -> Result<(), Error> {
        let mut complete = pass(self.consumer, self.refused);
        self.builder.push(self.segments, pages, &mut complete)
    }
}

/// Returns a function that passes extents to a consumer. If that refuses, it leaves the reason in
/// `refused`.
fn pass<'a, C: Consumer>(
    consumer: &'a mut C,
    refused: &'a Cell<Option<Refusal>>,
) -> impl FnMut(&[Extent]) -> Result<(), Error> + 'a {
    |extents| {
        let taken = consumer.take(extents.iter().map(Extent::run));
        taken.map_err(|refusal| {
            refused.set(Some(refusal));
            refusal.error()
        })
    }
}

/// Puts pinned pages into a list.
struct ToList<'a>(&'a mut Extents);

impl Sink for ToList<'_> {
    fn take(
        &mut self,
        pages: &mut impl Iterator<Item = Result<Extent, Error>>,
    ) -> Result<(), Error> {
        pages.try_for_each(|extent| self.0.push(extent?))
    }
}

impl Pages {
    /// Begins to pin `range`. For `phase` see [`Division::new`].
    pub(super) fn begin_pin(&self, range: PageRange, phase: u64) -> PendingPin<'_> {
        PendingPin {
            pages: self,
            range,
            division: Division::new(phase),
            next: range.start(),
            builder: Builder::new(range.start()),
            built: range.start(),
            spare: 0,
            counted: false,
            refused: Cell::new(None),
            committed: false,
        }
    }

    /// Pins the pages of `range` that are not pinned, keeps all of it pinned until
    /// [`Pages::unpin`], and passes its physical memory to `each` in order. Returns the errors of
    /// [`PendingPin::pin`] and of `each`, and then nothing has changed.
    pub(super) fn pin(
        &self,
        range: PageRange,
        each: impl FnMut(PinnedRun<'_>) -> Result,
    ) -> Result {
        let mut pending = self.begin_pin(range, 0);
        pending.pin(&mut Each(each))?;
        pending.commit();
        Ok(())
    }

    /// As [`Pages::pin`], but does not wait for user memory nor for other tasks. `range` has at most
    /// [`MOST_PRESENT`] pages. Returns false, and changes nothing, if that is not possible: then
    /// [`PendingPin::pin`] will succeed or say why not. Returns the error of `consumer`, and then
    /// nothing has changed, either.
    ///
    /// [`MOST_PRESENT`]: crate::kapi::mm::pin::MOST_PRESENT
    pub(super) fn pin_present(
        &self,
        range: PageRange,
        consumer: &mut impl Consumer,
    ) -> Result<bool> {
        let Some(mut inner) = self.try_inner() else {
            return Ok(false);
        };
        // Who is pinning may have charged pages of the range already.
        let nothing_pinned = inner.segments.gaps(range).next() == Some(range);
        if inner.pins.get() != 0 || !nothing_pinned || inner.charge(range.len()).is_err() {
            return Ok(false);
        }
        let mut extents = Extents::None;
        let (owner, segments) = inner.owner_and_segments();
        let mut pinner = Pinner::for_present(self.writable());
        let mut sink = ToList(&mut extents);
        let pinned = self
            .source()
            .pin_present(&mut pinner, owner, range, &mut sink);
        let added = match pinned {
            Ok(true) => segments.add_used(range, &mut extents).ok(),
            _ => None,
        };
        let Some(extents) = added else {
            inner.uncharge(range.len());
            return Ok(false);
        };
        let taken = consumer.take(extents.iter().map(Extent::run));
        if taken.is_err() {
            let unpinned = segments.put(range);
            inner.uncharge(unpinned);
        }
        taken.map(|()| true)
    }

    /// Passes the physical memory of `range`, which must be pinned until this returns, to `consumer`
    /// in order, in runs that are as long as possible. Returns `EINTR` if the task is being killed,
    /// and the errors of `consumer`.
    pub(super) fn for_pinned(&self, range: PageRange, consumer: &mut impl Consumer) -> Result {
        let mut next = range.start();
        while let Some(rest) = PageRange::new(next, range.last()) {
            let inner = self.inner_killable()?;
            let mut taken = 0;
            let piece = inner.segments.runs(rest).take_while(|run| {
                let more = taken < PIECE;
                taken += if more { run.npages() } else { 0 };
                more
            });
            consumer.take(piece)?;
            drop(inner);
            if warn_on_once!(taken == 0) {
                return Err(Reason::Impossible.errno(EFAULT, 0));
            }
            next += taken;
            signal::check_killed()?;
        }
        Ok(())
    }
}

impl<'a> PendingPin<'a> {
    /// Pins the range, and passes its physical memory to `consumer` in order.
    ///
    /// Returns `ENOMEM` also if RLIMIT_MEMLOCK is reached, `EFAULT` if there is no memory, `EINVAL`
    /// if a file is shorter, `EINTR` if the task is being killed, and the errors of `consumer`.
    pub(super) fn pin(&mut self, consumer: &mut impl Consumer) -> Result {
        // The charge for all comes first, so that a limit is never exceeded, and memory behind it is
        // not touched.
        let mut inner = self.charge()?;
        let mut pinner = None;
        while let Some(rest) = self.rest() {
            let result = self.pin_piece(&mut inner, rest, &mut pinner, consumer);
            if result.is_err() {
                // What was pinned and is used by nobody, not even the consumer.
                let unpinned = inner.segments.discard_unused(rest);
                inner.uncharge(unpinned);
                return result;
            }
            if self.rest().is_some() {
                drop(inner);
                signal::check_killed()?;
                inner = self.pages.inner_killable()?;
            }
        }
        // Others may have pinned some of the pages meanwhile.
        inner.uncharge(core::mem::take(&mut self.spare));
        self.end(inner);
        Ok(())
    }

    /// Charges the pages of the range that are not pinned. If that exceeds a limit while others pin,
    /// who may have charged the same pages, waits until one of them has finished. Returns `ENOMEM`,
    /// and `EINTR` if the task is killed.
    fn charge(&mut self) -> Result<InnerGuard<'a>> {
        let pages = self.pages;
        loop {
            let mut inner = pages.inner_killable()?;
            let gaps = inner.segments.gaps(self.range);
            let wanted = gaps.map(|gap| gap.len()).sum();
            if wanted == 0 {
                return Ok(inner);
            }
            fault_injection::point(ENOMEM)?;
            match inner.charge(wanted) {
                Ok(()) => {}
                Err(refusal) if refusal.error() == ENOMEM && inner.pins.get() != 0 => {
                    pages.pin_ended.wait_killable(inner)?;
                    continue;
                }
                Err(refusal) => return Err(refusal),
            }
            self.spare = wanted;
            inner.pins.add(1);
            self.counted = true;
            return Ok(inner);
        }
    }

    /// Tells others that nothing is charged any more that is not pinned.
    fn end(&mut self, mut inner: InnerGuard<'_>) {
        if core::mem::take(&mut self.counted) {
            inner.pins.sub(1);
            drop(inner);
            self.pages.pin_ended.wake_all();
        }
    }

    /// Keeps the range pinned until [`Pages::unpin`]. All of it must be pinned.
    pub(super) fn commit(mut self) {
        self.committed = true;
    }

    /// Returns what is not pinned yet.
    fn rest(&self) -> Option<PageRange> {
        PageRange::new(self.next, self.range.last())
    }

    /// Pins a piece from the beginning of `rest`. Makes us a user of as much as the consumer has
    /// seen, also on failure.
    fn pin_piece(
        &mut self,
        inner: &mut Inner,
        rest: PageRange,
        pinner: &mut Option<Pinner>,
        consumer: &mut impl Consumer,
    ) -> Result {
        // Others may have joined what we have cut before the lock was released.
        inner.segments.cut(rest)?;
        let nothing_pinned = inner.segments.gaps(rest).next() == Some(rest);
        if nothing_pinned {
            self.pin_new(inner, rest, pinner, consumer)
        } else {
            self.pin_mixed(inner, rest, pinner, consumer)
        }
    }

    /// As [`PendingPin::pin_piece`], where no page is pinned. The consumer gets the pages as soon as
    /// they are.
    fn pin_new(
        &mut self,
        inner: &mut Inner,
        rest: PageRange,
        pinner: &mut Option<Pinner>,
        consumer: &mut impl Consumer,
    ) -> Result {
        self.begin(rest.start());
        let mut start = rest.start();
        let result = loop {
            let last = self.division.piece_last(start, rest.last());
            let result = match PageRange::new(start, last) {
                Some(piece) => self.fill(inner, piece, pinner, consumer),
                None => Ok(()),
            };
            start = last + 1;
            let goes_on = self.division.goes_on(start, self.builder.open());
            if result.is_err() || last == rest.last() || !goes_on {
                break result;
            }
        };
        let result = result.and_then(|()| self.finish(inner, consumer));
        let end = self.settle();
        self.have(inner, end);
        result
    }

    /// As [`PendingPin::pin_piece`], where some pages are pinned already. Then a run may begin in one
    /// part and end in another, so the consumer gets the pages when all of the piece are pinned.
    fn pin_mixed(
        &mut self,
        inner: &mut Inner,
        rest: PageRange,
        pinner: &mut Option<Pinner>,
        consumer: &mut impl Consumer,
    ) -> Result {
        let mut start = rest.start();
        // Where the run begins that has the last page.
        let mut first = start;
        let end = loop {
            let last = self.division.piece_last(start, rest.last());
            while let Some(gap) =
                PageRange::new(start, last).and_then(|piece| inner.segments.gaps(piece).next())
            {
                self.begin(gap.start());
                let filled = self.fill(inner, gap, pinner, &mut Nobody);
                let result = filled.and_then(|()| self.finish(inner, &mut Nobody));
                start = self.settle();
                result?;
            }
            start = last + 1;
            let pinned = PageRange::new(first, rest.last());
            let run = pinned.and_then(|pinned| inner.segments.run_of(last, pinned));
            warn_on_once!(run.is_none());
            let run = run.ok_or_else(|| Reason::Impossible.errno(EFAULT, last))?;
            first = run.start();
            // The run may go on behind the piece, where pages were pinned before.
            if run.last() > last
                || run.last() == rest.last()
                || !self.division.goes_on(start, run.len())
            {
                break run.last() + 1;
            }
        };
        if let Some(behind) = PageRange::new(end, self.range.last()) {
            inner.segments.cut(behind)?;
        }
        self.have(inner, end);
        match PageRange::new(rest.start(), end - 1) {
            Some(piece) => consumer.take(inner.segments.runs(piece)),
            None => Ok(()),
        }
    }

    /// Begins to build segments from page `start` on.
    fn begin(&mut self, start: u64) {
        self.builder = Builder::new(start);
        self.built = start;
    }

    /// Takes the pages that the builder has put into segments off `spare`. Returns the index of the
    /// page behind them.
    fn settle(&mut self) -> u64 {
        let end = self.builder.start();
        warn_on_once!(self.spare < end - self.built);
        self.spare = self.spare.saturating_sub(end - self.built);
        self.built = end;
        end
    }

    /// Pins pages that are not pinned, and puts them into the builder.
    fn fill(
        &mut self,
        inner: &mut Inner,
        pages: PageRange,
        pinner: &mut Option<Pinner>,
        consumer: &mut impl Consumer,
    ) -> Result {
        self.settle();
        // Pages that others have unpinned meanwhile were not charged for us.
        let wanted = self.builder.npages() + pages.len();
        if let Some(more) = wanted.checked_sub(self.spare).filter(|more| *more != 0) {
            inner.charge(more)?;
            self.spare += more;
        }
        let pinner = match pinner {
            Some(pinner) => pinner,
            // All further gaps are pinned by this one.
            None => pinner.insert(Pinner::new(self.spare, self.pages.writable())?),
        };
        let (owner, segments) = inner.owner_and_segments();
        let mut sink = ToSegments {
            builder: &mut self.builder,
            segments,
            consumer,
            refused: &self.refused,
        };
        let pinned = self.pages.source().pin(pinner, owner, pages, &mut sink);
        pinned.map_err(|error| self.explain(error))
    }

    /// Puts what is left in the builder into a segment.
    fn finish(&mut self, inner: &mut Inner, consumer: &mut impl Consumer) -> Result {
        let mut complete = pass(consumer, &self.refused);
        let finished = self.builder.finish(&mut inner.segments, &mut complete);
        finished.map_err(|error| self.explain(error))
    }

    /// Returns why pinning has failed with `error`.
    fn explain(&self, error: Error) -> Refusal {
        let at = || self.pages.source().addr_of(self.builder.next());
        self.refused.take().unwrap_or_else(|| match error {
            ENOMEM => error.into(),
            _ => Reason::MapPin.errno(error, at()),
        })
    }

    /// Makes us a user of the pages before `end` as well.
    fn have(&mut self, inner: &mut Inner, end: u64) {
        let last = end.checked_sub(1);
        let Some(piece) = last.and_then(|last| PageRange::new(self.next, last)) else {
            return;
        };
        inner.segments.get(piece);
        if piece.start() != self.range.start() {
            inner.segments.unite(piece.start());
        }
        self.next = end;
    }
}

impl Drop for PendingPin<'_> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        self.builder = Builder::new(0);
        let mut inner = self.pages.inner();
        let last = self.next.checked_sub(1);
        let ours = last.and_then(|last| PageRange::new(self.range.start(), last));
        let mut unpinned = ours.map_or(0, |ours| inner.segments.put(ours));
        if let Some(rest) = self.rest() {
            // Joins what was cut at the end of the range.
            unpinned += inner.segments.discard_unused(rest);
        }
        let spare = core::mem::take(&mut self.spare);
        inner.uncharge(unpinned + spare);
        self.end(inner);
    }
}
