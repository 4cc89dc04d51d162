// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's invalidation requests.
//!
//! Requests are read in blocks and gathered as ranges. Requests that follow one another are one, and
//! neighbouring ranges are merged. When a batch is full, and after the last request, the driver walks
//! the caches that may hold translations and has a descriptor made for each cache and range. If there
//! are many caches, it walks them several times, with a part of the ranges each.

use core::cell::Cell;

use kernel::prelude::*;

use crate::{
    drivers::vtd::{
        descriptor::{
            Cache,
            Descriptor, //
        },
        range::{
            Range,
            Request,
            Words, //
        }, //
    },
    kapi::{
        array_vec::ArrayVec,
        iommu::invalidate::Invalidated, //
    }, //
};

/// The most ranges of a batch, and the most descriptors that are submitted with one wait.
pub(crate) const MAX: usize = 64;

/// How many requests are read at once.
pub(crate) const BLOCK: usize = 16;

/// Where the requests come from.
pub(crate) trait Source {
    /// Fills `block` with the next `len` requests, [`BLOCK`] at most. `EFAULT`, `E2BIG` for entries
    /// that are no requests, or `EINTR` if nobody waits for the answer any more.
    fn read(&mut self, block: &mut ArrayVec<Words, BLOCK>, len: usize) -> Result;
}

/// The caches of a guest's first stage.
pub(crate) trait Caches {
    /// Walks all caches, has `walk` make descriptors for each, and returns when they are complete.
    /// Several descriptors are submitted at once, [`MAX`] at most. Returns the first error of an
    /// invalidation queue, after all other submissions were made as well. Those submitted with a
    /// descriptor that fails may not be complete.
    ///
    /// Interrupts may be disabled until it returns.
    fn invalidate(&self, walk: &Walk<'_>) -> Result;

    /// Returns how many times descriptors were submitted since this was made.
    fn submissions(&self) -> u32;
}

/// When a walk has made so many descriptors, it makes those of one range only for each cache that
/// follows. With [`MAX`] caches or more, a walk of this length fills its submissions.
pub(crate) const LONG_WALK: usize = 16 * MAX;

/// A walk over the caches, and what it makes descriptors of.
pub(crate) struct Walk<'a> {
    ranges: &'a [Range],
    /// How many descriptors a range needs in the caches that it has come to.
    per_range: Cell<usize>,
    /// How many descriptors it has made.
    made: Cell<usize>,
    /// Caches from the current one on get the first range only.
    is_short: Cell<bool>,
}

impl<'a> Walk<'a> {
    const fn new(ranges: &'a [Range]) -> Self {
        Self {
            ranges,
            per_range: Cell::new(0),
            made: Cell::new(0),
            is_short: Cell::new(false),
        }
    }

    /// Returns how many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Makes the descriptors for a cache, `room` at most, beginning with number `from`, and passes
    /// them to `put`. Each is needed `times` times. Returns how many were made.
    ///
    /// Caches must be passed in turn, each until 0 is returned for it.
    #[inline]
    pub(crate) fn encode(
        &self,
        cache: &Cache,
        times: usize,
        from: usize,
        room: usize,
        mut put: impl FnMut(usize, Descriptor),
    ) -> usize {
        if from == 0 {
            self.per_range.set(self.per_range.get() + times);
            self.is_short.set(self.made.get() >= LONG_WALK);
        }
        let ranges = match self.ranges {
            [first, ..] if self.is_short.get() => core::slice::from_ref(first),
            all => all,
        };
        let made = if times > 1 {
            encode_repeatedly(ranges, cache, times, from, room, put)
        } else {
            let ranges = ranges.get(from..).unwrap_or_default();
            for (place, range) in ranges.iter().take(room).enumerate() {
                put(place, cache.descriptor(range));
            }
            ranges.len().min(room)
        };
        self.made.set(self.made.get() + made);
        made
    }
}

/// [`Walk::encode`] for a cache that needs each descriptor several times.
#[inline(never)]
fn encode_repeatedly(
    ranges: &[Range],
    cache: &Cache,
    times: usize,
    from: usize,
    room: usize,
    mut put: impl FnMut(usize, Descriptor),
) -> usize {
    let (mut skipped, mut made) = (from % times, 0);
    for range in ranges.get(from / times..).unwrap_or_default() {
        let descriptor = cache.descriptor(range);
        for _ in core::mem::take(&mut skipped)..times {
            if made == room {
                return made;
            }
            put(made, descriptor);
            made += 1;
        }
    }
    made
}

/// Invalidates ranges in all caches, in so many walks that none makes many more descriptors than
/// [`LONG_WALK`], or one range needs more. Returns the first error of an invalidation queue, after all
/// other descriptors were submitted as well.
fn invalidate(caches: &impl Caches, ranges: &[Range]) -> Result {
    let (mut left, mut most, mut result) = (ranges, MAX, Ok(()));
    while !left.is_empty() {
        let (now, later) = left.split_at_checked(most).unwrap_or((left, &[]));
        let walk = Walk::new(now);
        result = result.and(caches.invalidate(&walk));
        // Of a walk that became short, the first range is complete.
        left = if walk.is_short.get() {
            left.get(1..).unwrap_or_default()
        } else {
            later
        };
        most = (LONG_WALK / walk.per_range.get().max(1)).max(1);
    }
    result
}

/// Ranges that wait to be invalidated.
struct Batch {
    ranges: ArrayVec<Range, MAX>,
    /// The last requests, if there are any that are not among `ranges`.
    open: Option<Request>,
    /// How many requests were accepted before those of `open`.
    before_open: u32,
    /// How many requests, from the first on, were accepted.
    accepted: u32,
    /// How many requests, from the first on, are complete.
    done: u32,
}

impl Batch {
    /// Returns a batch without ranges.
    const fn new() -> Self {
        Self {
            ranges: ArrayVec::new(),
            open: None,
            before_open: 0,
            accepted: 0,
            done: 0,
        }
    }

    /// Accepts requests until one is not valid. The inner result says why it is not. Fails as the
    /// invalidation queue does.
    #[inline]
    fn accept(&mut self, block: &[Words], caches: &impl Caches) -> Result<Result> {
        for &words in block {
            let request = match Request::new(words) {
                Ok(request) => request,
                Err(error) => return Ok(Err(error)),
            };
            let extended = self.open.as_mut().is_some_and(|open| open.extend(&request));
            if !extended {
                self.close(caches)?;
                self.open = Some(request);
                self.before_open = self.accepted;
            }
            self.accepted += 1;
        }
        Ok(Ok(()))
    }

    /// Puts the last requests among the ranges.
    #[inline(always)]
    fn close(&mut self, caches: &impl Caches) -> Result {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let Some(page) = open.page() else {
            return self.close_pages(caches);
        };
        self.make_room(1, caches)?;
        self.push(page);
        self.open = None;
        Ok(())
    }

    /// [`Self::close`] for requests of several pages.
    #[inline(never)]
    fn close_pages(&mut self, caches: &impl Caches) -> Result {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let (range, further) = open.ranges();
        self.make_room(2, caches)?;
        self.push(range);
        if let Some(range) = further {
            self.push(range);
        }
        self.open = None;
        Ok(())
    }

    /// Makes room for `needed` ranges more, for which those that there are may have to be
    /// invalidated.
    #[inline]
    fn make_room(&mut self, needed: usize, caches: &impl Caches) -> Result {
        if self.ranges.as_slice().len() + needed > MAX {
            self.flush(caches)?;
            self.done = self.before_open;
        }
        Ok(())
    }

    /// Adds a range, or merges it with the last ones. There must be room.
    #[inline(always)]
    fn push(&mut self, range: Range) {
        let last = self.ranges.as_slice().last();
        match last.and_then(|last| last.merged(range)) {
            Some(merged) => self.replace_last(merged),
            None => {
                self.ranges.push(range);
            }
        }
    }

    /// Puts a range in the place of the last one, and merges it with those before.
    #[inline(never)]
    fn replace_last(&mut self, mut range: Range) {
        self.ranges.pop();
        while let Some(last) = self.ranges.as_slice().last() {
            let Some(merged) = last.merged(range) else {
                break;
            };
            range = merged;
            self.ranges.pop();
        }
        self.ranges.push(range);
    }

    #[inline(never)]
    fn flush(&mut self, caches: &impl Caches) -> Result {
        if self.ranges.is_empty() {
            return Ok(());
        }
        let result = invalidate(caches, self.ranges.as_slice());
        self.ranges.clear();
        result
    }

    /// Carries out requests until one is not valid or cannot be read; what that fails with is the
    /// inner result, and all that were accepted are complete. Fails as the invalidation queue does.
    fn run(
        &mut self,
        caches: &impl Caches,
        source: &mut impl Source,
        count: u32,
    ) -> Result<Result> {
        let mut block = ArrayVec::new();
        let mut most = BLOCK;
        let mut result = Ok(());
        while self.accepted < count && result.is_ok() {
            let len = most.min((count - self.accepted) as usize);
            result = match source.read(&mut block, len) {
                Ok(()) => self.accept(block.as_slice(), caches)?,
                Err(error) if len == 1 => Err(error),
                Err(_) => {
                    // Those before the one that cannot be read are carried out.
                    most = 1;
                    Ok(())
                }
            };
        }
        self.close(caches)?;
        self.flush(caches)?;
        self.done = self.accepted;
        Ok(result)
    }
}

/// Carries out `count` requests. The result says how many are complete, from the first on, and the
/// error of the next one: those of `source` and of [`Request::new`]. If an invalidation queue fails,
/// no request counts whose range was gathered for it, and no further ranges are invalidated.
pub(crate) fn carry_out(caches: &impl Caches, source: &mut impl Source, count: u32) -> Invalidated {
    let mut batch = Batch::new();
    let result = batch.run(caches, source, count);
    Invalidated {
        done: batch.done,
        result: result.unwrap_or_else(Err),
        submissions: Some(caches.submissions()),
    }
}

/// Carries out one request. As [`carry_out`].
#[inline]
pub(crate) fn carry_out_one(caches: &impl Caches, words: Words) -> Invalidated {
    let result = Request::new(words).and_then(|request| {
        if let Some(page) = request.page() {
            return caches.invalidate(&Walk::new(&[page]));
        }
        match request.ranges() {
            (range, None) => caches.invalidate(&Walk::new(&[range])),
            (low, Some(high)) => invalidate(caches, &[low, high]),
        }
    });
    Invalidated {
        done: result.is_ok().into(),
        result,
        submissions: Some(caches.submissions()),
    }
}
