// SPDX-License-Identifier: GPL-2.0-only

//! Pinning of long ranges, piece by piece.
//!
//! A range is pinned in pieces of some 64 MiB. Each becomes a user of the source's segments as soon as
//! it is pinned, and the pieces are united to one user of the range. `Pages::inner` (rank 30) is not
//! held while user memory is pinned, for which the task may have to wait: others may pin and unpin the
//! same memory meanwhile, and a page that two tasks have pinned is unpinned once. A task that is being
//! killed goes on with one piece at most.

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
        }, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        fault_injection,
        mm::{
            advance::Advance,
            pin::{
                Extent,
                PinnedRun,
                Pinner,
                Sink,
                MOST_PRESENT, //
            }, //
        },
        reason::{
            Reason,
            Refusal,
            Result, //
        },
        sync::killable::relock_killable,
        units::{
            page_offset,
            PageRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// Passes each run to a closure.
struct Each<F>(F);

impl<F: FnMut(PinnedRun<'_>) -> Result> Consumer for Each<F> {
    fn take<'p>(&mut self, mut runs: impl Iterator<Item = PinnedRun<'p>>) -> Result {
        runs.try_for_each(&mut self.0)
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
    /// The index of the first page that the consumer has not got yet.
    passed: u64,
    /// Pages behind `next` that are pinned and in no segment yet.
    builder: Builder,
    /// The number of pages that are charged and in no segment yet.
    spare: u64,
    /// Whether [`Inner::pins`] counts us.
    counted: bool,
    /// Why the consumer has refused.
    refused: Cell<Option<Refusal>>,
    committed: bool,
}

/// Gives pinned pages to a builder.
struct ToBuilder<'a>(&'a mut Builder);

impl Sink for ToBuilder<'_> {
    fn take(
        &mut self,
        pages: &mut impl Iterator<Item = Result<Extent, Error>>,
    ) -> Result<(), Error> {
        self.0.push(pages)
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
            passed: range.start(),
            builder: Builder::new(range.start()),
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

    /// Returns whether [`Pages::pin_present`] may pin `length` bytes from byte `start` on: few pages, all of
    /// them whole, of a process.
    pub(super) fn may_be_present(&self, start: u64, length: u64) -> bool {
        length <= MOST_PRESENT << PAGE_SHIFT
            && page_offset(start | length) == 0
            && self.source().may_be_present()
    }

    /// As [`Pages::pin`], but does not wait for user memory nor for other tasks. `range` has at most
    /// [`MOST_PRESENT`] pages. Returns false, and changes nothing, if that is not possible: then
    /// [`PendingPin::pin`] will succeed or say why not. Returns the error of `consumer`, and then
    /// nothing has changed, either.
    pub(super) fn pin_present(
        &self,
        range: PageRange,
        consumer: &mut impl Consumer,
    ) -> Result<bool> {
        let Some(mut inner) = self.try_inner() else {
            return Ok(false);
        };
        // Memory of another process is not pinned here.
        if !inner.charges_current() {
            return Ok(false);
        }
        // Who is pinning may have charged pages of the range already.
        let nothing_pinned = inner.segments.gaps(range).next() == Some(range);
        if inner.pins.get() != 0 || !nothing_pinned {
            return Ok(false);
        }
        if inner.charge(range.len(), None).is_err() {
            return Ok(false);
        }
        let mut extents = Extents::None;
        let mut pinner = Pinner::for_present(self.writable());
        let mut sink = ToList(&mut extents);
        let pinned = self.source().pin_present(&mut pinner, range, &mut sink);
        let added = match pinned {
            // A list is kept for long.
            Ok(true) if extents.len() > 1 && extents.fit().is_err() => None,
            Ok(true) => inner.segments.add_used(range, &mut extents).ok(),
            _ => None,
        };
        let Some(extents) = added else {
            inner.uncharge(range.len());
            return Ok(false);
        };
        let taken = consumer.take(extents.iter().map(Extent::run));
        if taken.is_err() {
            drop(inner.unpin(range));
        }
        taken.map(|()| true)
    }

    /// Passes the physical memory of `range`, which must be pinned until this returns, to `consumer`
    /// in order, in runs that are as long as page tables can use. For `phase` see [`Division::new`].
    /// Returns `EINTR` if the task is being killed, and the errors of `consumer`.
    pub(super) fn for_pinned(
        &self,
        range: PageRange,
        phase: u64,
        consumer: &mut impl Consumer,
    ) -> Result {
        let division = Division::new(phase);
        let mut next = range.start();
        let mut inner = self.inner_killable()?;
        loop {
            let last = division.longest_last(next, range.last());
            // The run that a piece ends in is not divided.
            let tail = PageRange::new(next.saturating_add(PIECE - 1), last);
            let end = match tail.map(|tail| (tail, inner.segments.runs(tail).next())) {
                Some((tail, run)) => tail.start() + run.map_or(0, |run| run.npages() - 1),
                None => last,
            };
            let piece = some_or_warn!(PageRange::new(next, end))?;
            if warn_on_once!(inner.segments.gaps(piece).next().is_some()) {
                return Err(Reason::Impossible.errno(EFAULT, 0));
            }
            consumer.take(inner.segments.runs(piece))?;
            next = end + 1;
            if next > range.last() {
                return Ok(());
            }
            inner = relock_killable(inner)?;
        }
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
        let mut advance = Advance::new();
        let mut inner = self.charge(&mut advance)?;
        advance.give_back();
        let mut pinner = None;
        while let Some(rest) = self.rest() {
            let last = self.division.piece_last(rest.start(), rest.last());
            let piece = some_or_warn!(PageRange::new(rest.start(), last))?;
            let gap = inner.segments.gaps(piece).next();
            let pinned = gap.map_or(last + 1, |gap| gap.start());
            if pinned != rest.start() {
                self.join(&mut inner, pinned)?;
            } else {
                let gap = match last == rest.last() {
                    true => gap,
                    // It may go on behind the piece.
                    false => inner.segments.gaps(rest).next(),
                };
                let gap = some_or_warn!(gap)?;
                if !self.charge_more(&mut inner, gap)? {
                    drop(inner);
                    inner = self.charge(&mut advance)?;
                    advance.give_back();
                    continue;
                }
                inner = self.collect(inner, gap, &mut pinner)?;
                self.add(&mut inner, consumer)?;
            }
            self.pass(&inner, consumer)?;
            if self.rest().is_some() {
                inner = relock_killable(inner)?;
            }
        }
        // Others may have pinned some of the pages meanwhile.
        let spare = core::mem::take(&mut self.spare);
        if spare != 0 {
            inner.uncharge(spare);
        }
        self.end(inner);
        Ok(())
    }

    /// Charges the pages of the range that are not pinned. If that exceeds a limit while others pin,
    /// who may have charged the same pages, waits until one of them has finished. Returns `ENOMEM`,
    /// and `EINTR` if the task is killed.
    fn charge(&mut self, advance: &mut Advance) -> Result<InnerGuard<'a>> {
        let pages = self.pages;
        let mut paid = Ok(());
        loop {
            let mut inner = pages.inner_killable()?;
            let gaps = inner.segments.gaps(self.range);
            let wanted = gaps.map(|gap| gap.len()).sum();
            if wanted == 0 {
                return Ok(inner);
            }
            fault_injection::point(ENOMEM)?;
            let charged = match core::mem::replace(&mut paid, Ok(())) {
                Err(EINTR) => Err(inner.not_paid(wanted, EINTR)),
                // Since `Advance::pay` failed other tasks may have uncharged pages, or there may be
                // another owner.
                _ => inner.charge(wanted, Some(advance)),
            };
            let refusal = match charged {
                Ok(()) => {
                    self.spare = wanted;
                    self.count(&mut inner);
                    return Ok(inner);
                }
                Err(refusal) => refusal,
            };
            match refusal.error() {
                EAGAIN => {
                    // What is paid for counts for others as what is charged.
                    self.count(&mut inner);
                    drop(inner);
                    paid = advance.pay();
                }
                ENOMEM => {
                    advance.give_back();
                    if inner.pins.get() == u64::from(self.counted) {
                        return Err(refusal);
                    }
                    // Others may wait for this task as well, so it is not counted while it waits.
                    if self.counted {
                        self.end(inner);
                    } else {
                        pages.pin_ended.wait_killable(inner)?;
                    }
                }
                _ => return Err(refusal),
            }
        }
    }

    /// Tells others that pages are charged which are not pinned yet.
    fn count(&mut self, inner: &mut Inner) {
        if !core::mem::replace(&mut self.counted, true) {
            inner.pins.add(1);
        }
    }

    /// Tells others that nothing is charged any more that is not pinned.
    fn end(&mut self, mut inner: InnerGuard<'_>) {
        if core::mem::take(&mut self.counted) {
            inner.pin_ended();
            drop(inner);
            self.pages.pin_ended.wake_all();
        }
    }

    /// Charges those of the next `gap` that others have unpinned meanwhile: these were not charged for us.
    /// Returns false, with nothing charged, if all that is left must be charged again: another task may have
    /// charged the same pages, or the mmap lock is taken. Returns the other errors of [`Inner::charge`].
    fn charge_more(&mut self, inner: &mut Inner, gap: PageRange) -> Result<bool> {
        let more = gap.len().saturating_sub(self.spare);
        if more == 0 {
            return Ok(true);
        }
        match inner.charge(more, None) {
            Ok(()) => {
                self.spare += more;
                // All of it may have been pinned before.
                self.count(inner);
                Ok(true)
            }
            Err(refusal) if matches!(refusal.error(), EAGAIN | ENOMEM) => {
                // Others that wait may need these, and [`PendingPin::charge`] charges all that is left.
                inner.uncharge(core::mem::take(&mut self.spare));
                Ok(false)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Keeps the range pinned until [`Pages::unpin`]. All of it must be pinned.
    ///
    /// This does not take `self`, which would be copied.
    pub(super) fn commit(&mut self) {
        self.committed = true;
    }

    /// Returns what is not pinned yet.
    fn rest(&self) -> Option<PageRange> {
        PageRange::new(self.next, self.range.last())
    }

    /// Pins the pages of a piece, from the beginning of `gap` on, in which none is pinned. Gives them to
    /// the builder. `inner` is released meanwhile, and taken again.
    fn collect(
        &mut self,
        inner: InnerGuard<'a>,
        gap: PageRange,
        pinner: &mut Option<Pinner>,
    ) -> Result<InnerGuard<'a>> {
        let mm = inner.other_mm();
        drop(inner);

        let pinner = match pinner {
            Some(pinner) => pinner,
            // All further gaps are pinned by this one.
            None => pinner.insert(Pinner::new(self.spare, self.pages.writable())?),
        };
        self.builder.restart(gap.start());
        let mut start = gap.start();
        loop {
            let last = self.division.piece_last(start, gap.last());
            let piece = some_or_warn!(PageRange::new(start, last))?;
            let mut sink = ToBuilder(&mut self.builder);
            let source = self.pages.source();
            let pinned = source.pin(pinner, mm.as_deref(), piece, &mut sink);
            pinned.map_err(|error| self.explain(error))?;
            start = last + 1;
            if last == gap.last() || !self.division.goes_on(start, self.builder.open()) {
                return self.pages.inner_killable();
            }
        }
    }

    /// Makes us a user of the pages that the builder has. The consumer gets them if they are all that it
    /// lacks of a piece, and no other task has pinned any of them meanwhile.
    fn add(&mut self, inner: &mut Inner, consumer: &mut impl Consumer) -> Result {
        let Some(new) = self.builder.pages() else {
            return Ok(());
        };
        let is_piece = self.passed == new.start() && self.is_end_of_piece(new.last());
        if is_piece && inner.segments.gaps(new).next() == Some(new) {
            let finished = self.builder.finish(&mut inner.segments, |extents| {
                let taken = consumer.take(extents.iter().map(Extent::run));
                taken.map_err(|refusal| {
                    self.refused.set(Some(refusal));
                    refusal.error()
                })
            });
            // On failure, too, we are a user of what the consumer has got, or the builder has it.
            self.passed = self.builder.start();
            self.spend(self.passed - new.start());
            self.have(inner, self.passed);
            return finished.map_err(|error| self.explain(error));
        }
        let added = self.builder.finish_around(&mut inner.segments);
        let added = added.and_then(|added| inner.segments.cut(new).map(|()| added));
        match added {
            Ok(added) => {
                self.spend(added);
                self.have(inner, new.last() + 1);
                Ok(())
            }
            Err(error) => {
                inner.segments.discard_unused(new);
                Err(self.explain(error))
            }
        }
    }

    /// Makes us a user of the pages before `end` as well, which others have pinned.
    fn join(&mut self, inner: &mut Inner, end: u64) -> Result {
        if let Some(pinned) = PageRange::until(self.next, end) {
            inner.segments.cut(pinned)?;
            self.have(inner, end);
        }
        Ok(())
    }

    /// If a piece has become complete, passes to the consumer what it lacks of it. A run that may be part
    /// of a larger page is left for the next time.
    fn pass(&mut self, inner: &Inner, consumer: &mut impl Consumer) -> Result {
        let last = self.next - 1;
        let Some(lacking) = PageRange::new(self.passed, last) else {
            return Ok(());
        };
        if !self.is_end_of_piece(last) {
            return Ok(());
        }
        let mut end = self.next;
        // A run that is shorter than a piece does not go on.
        let tail = PageRange::new(lacking.start().max(end.saturating_sub(PIECE)), last);
        let is_run = |tail| inner.segments.is_run(tail);
        if last != self.range.last() && tail.is_some_and(is_run) {
            let run = inner.segments.run_of(last, lacking);
            warn_on_once!(run.is_none());
            let run = run.ok_or_else(|| Reason::Impossible.errno(EFAULT, last))?;
            if self.division.goes_on(end, run.len()) {
                end = run.start();
            }
        }
        let start = core::mem::replace(&mut self.passed, end);
        match PageRange::until(start, end) {
            Some(piece) => consumer.take(inner.segments.runs(piece)),
            None => Ok(()),
        }
    }

    /// Returns whether a piece ends with page `last`.
    fn is_end_of_piece(&self, last: u64) -> bool {
        self.division.piece_last(last, self.range.last()) == last
    }

    /// Takes pages that were put into segments off `spare`.
    fn spend(&mut self, npages: u64) {
        warn_on_once!(self.spare < npages);
        self.spare = self.spare.saturating_sub(npages);
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
        let Some(piece) = PageRange::until(self.next, end) else {
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
        if let Some(ours) = PageRange::until(self.range.start(), self.next) {
            self.pages.unpin(ours);
        }
        if self.spare == 0 && !self.counted {
            return;
        }
        let mut inner = self.pages.inner();
        inner.uncharge(core::mem::take(&mut self.spare));
        self.end(inner);
    }
}
