// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's invalidation requests.
//!
//! Requests are read in blocks and gathered as ranges. Requests that follow one another are one, and
//! neighbouring ranges are merged. When a batch is full, and after the last request, the driver walks
//! the caches that may hold translations and has a descriptor made for each cache and range.

use kernel::prelude::*;

use crate::{
    drivers::vtd::{
        descriptor::{
            Cache,
            Descriptor, //
        },
        hardware::Hardware,
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
    /// Fills `block` with the next `len` requests, [`BLOCK`] at most. `EFAULT`, or `E2BIG` for entries
    /// that are no requests.
    fn read(&mut self, block: &mut ArrayVec<Words, BLOCK>, len: usize) -> Result;
}

/// The caches of a guest's first stage.
pub(crate) trait Caches {
    /// Invalidates the ranges in all caches, and returns when that is complete. Several descriptors
    /// are submitted at once, [`MAX`] at most. Returns the first error of an invalidation queue, after
    /// the other caches were invalidated as well.
    fn invalidate(&self, ranges: &Ranges<'_>) -> Result;

    /// Returns how many times descriptors were submitted since this was made.
    fn submissions(&self) -> u32;
}

/// The ranges of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Ranges<'a>(&'a [Range]);

impl Ranges<'_> {
    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes the descriptors for a cache, `room` at most, beginning with number `from`, and passes
    /// them to `put`. Each is needed `times` times. Returns how many were made.
    #[inline]
    pub(crate) fn encode(
        &self,
        cache: &Cache,
        times: usize,
        from: usize,
        room: usize,
        mut put: impl FnMut(usize, Descriptor),
    ) -> usize {
        if times > 1 {
            return self.encode_repeatedly(cache, times, from, room, put);
        }
        let ranges = self.0.get(from..).unwrap_or_default();
        for (place, range) in ranges.iter().take(room).enumerate() {
            put(place, cache.descriptor(range));
        }
        ranges.len().min(room)
    }

    /// [`Self::encode`] for a cache that needs each descriptor several times.
    #[inline(never)]
    fn encode_repeatedly(
        &self,
        cache: &Cache,
        times: usize,
        from: usize,
        room: usize,
        mut put: impl FnMut(usize, Descriptor),
    ) -> usize {
        let (mut skipped, mut made) = (from % times, 0);
        for range in self.0.get(from / times..).unwrap_or_default() {
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
    fn accept(
        &mut self,
        block: &[Words],
        caches: &impl Caches,
        hardware: &Hardware,
    ) -> Result<Result> {
        for &words in block {
            let request = match Request::new(words) {
                Ok(request) => request,
                Err(error) => return Ok(Err(error)),
            };
            let extended = self.open.as_mut().is_some_and(|open| open.extend(&request));
            if !extended {
                self.close(caches, hardware)?;
                self.open = Some(request);
                self.before_open = self.accepted;
            }
            self.accepted += 1;
        }
        Ok(Ok(()))
    }

    /// Puts the last requests among the ranges.
    #[inline(always)]
    fn close(&mut self, caches: &impl Caches, hardware: &Hardware) -> Result {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let Some(page) = open.page(hardware) else {
            return self.close_pages(caches, hardware);
        };
        self.make_room(1, caches)?;
        self.push(page, hardware);
        self.open = None;
        Ok(())
    }

    /// [`Self::close`] for requests of several pages.
    #[inline(never)]
    fn close_pages(&mut self, caches: &impl Caches, hardware: &Hardware) -> Result {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let (range, further) = open.ranges(hardware);
        self.make_room(2, caches)?;
        self.push(range, hardware);
        if let Some(range) = further {
            self.push(range, hardware);
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
    fn push(&mut self, range: Range, hardware: &Hardware) {
        let last = self.ranges.as_slice().last();
        match last.and_then(|last| last.merged(range, hardware)) {
            Some(merged) => self.replace_last(merged, hardware),
            None => {
                self.ranges.push(range);
            }
        }
    }

    /// Puts a range in the place of the last one, and merges it with those before.
    #[inline(never)]
    fn replace_last(&mut self, mut range: Range, hardware: &Hardware) {
        self.ranges.pop();
        while let Some(last) = self.ranges.as_slice().last() {
            let Some(merged) = last.merged(range, hardware) else {
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
        let result = caches.invalidate(&Ranges(self.ranges.as_slice()));
        self.ranges.clear();
        result
    }

    /// Carries out requests until one is not valid or cannot be read; what that fails with is the
    /// inner result, and all that were accepted are complete. Fails as the invalidation queue does.
    fn run(
        &mut self,
        caches: &impl Caches,
        hardware: &Hardware,
        source: &mut impl Source,
        count: u32,
    ) -> Result<Result> {
        let mut block = ArrayVec::new();
        let mut most = BLOCK;
        let mut result = Ok(());
        while self.accepted < count && result.is_ok() {
            let len = most.min((count - self.accepted) as usize);
            result = match source.read(&mut block, len) {
                Ok(()) => self.accept(block.as_slice(), caches, hardware)?,
                Err(error) if len == 1 => Err(error),
                Err(_) => {
                    // Those before the one that cannot be read are carried out.
                    most = 1;
                    Ok(())
                }
            };
        }
        self.close(caches, hardware)?;
        self.flush(caches)?;
        self.done = self.accepted;
        Ok(result)
    }
}

/// Carries out `count` requests. The result says how many are complete, from the first on, and the
/// error of the next one: those of `source` and of [`Request::new`]. If an invalidation queue fails,
/// no request of the batch counts, and no further batch is carried out.
pub(crate) fn carry_out(
    caches: &impl Caches,
    hardware: &Hardware,
    source: &mut impl Source,
    count: u32,
) -> Invalidated {
    let mut batch = Batch::new();
    let result = batch.run(caches, hardware, source, count);
    Invalidated {
        done: batch.done,
        result: result.unwrap_or_else(Err),
        submissions: Some(caches.submissions()),
    }
}

/// Carries out one request. As [`carry_out`].
#[inline]
pub(crate) fn carry_out_one(
    caches: &impl Caches,
    hardware: &Hardware,
    words: Words,
) -> Invalidated {
    let result = Request::new(words).and_then(|request| {
        if let Some(page) = request.page(hardware) {
            return caches.invalidate(&Ranges(&[page]));
        }
        match request.ranges(hardware) {
            (range, None) => caches.invalidate(&Ranges(&[range])),
            (low, Some(high)) => caches.invalidate(&Ranges(&[low, high])),
        }
    });
    Invalidated {
        done: result.is_ok().into(),
        result,
        submissions: Some(caches.submissions()),
    }
}
