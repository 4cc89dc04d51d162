// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's invalidation requests.
//!
//! Requests are read one after the other and gathered as ranges, of which neighbours are merged.
//! When a batch is full, and after the last request, the driver walks the caches that may hold
//! translations and has a descriptor made for each cache and range.

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
            Request, //
        }, //
    },
    kapi::iommu::invalidate::Invalidated, //
};

/// The most ranges of a batch, and the most descriptors that are submitted with one wait.
pub(crate) const MAX: usize = 64;

/// Where the requests come from.
pub(crate) trait Source {
    /// Returns the next request. `EFAULT`, `E2BIG`, or the errors of [`Request::new`].
    fn next(&mut self) -> Result<Request>;
}

/// The caches of a guest's first stage.
pub(crate) trait Caches {
    /// Invalidates the ranges in all caches, and returns when that is complete. As many descriptors
    /// as there is `room` for, one at least, are submitted at once. Returns the error of the
    /// invalidation queue.
    fn invalidate(&self, ranges: &Ranges<'_>, room: &mut [Descriptor]) -> Result;

    /// Returns how many times descriptors were submitted since this was made.
    fn submissions(&self) -> u32;
}

/// The ranges of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Ranges<'a>(&'a [Range]);

impl Ranges<'_> {
    /// Writes the descriptors for a cache, beginning with number `from`. Each is needed `times`
    /// times. Returns how many were written.
    pub(crate) fn encode(
        &self,
        cache: &Cache,
        times: usize,
        from: usize,
        descriptors: &mut [Descriptor],
    ) -> usize {
        let mut written = 0;
        for (place, descriptor) in descriptors.iter_mut().enumerate() {
            let Some(range) = self.0.get((from + place) / times.max(1)) else {
                break;
            };
            *descriptor = cache.descriptor(range);
            written += 1;
        }
        written
    }
}

/// Ranges that wait to be invalidated, `N` at most.
pub(crate) struct Batch<const N: usize> {
    ranges: [Range; N],
    len: usize,
    /// Room for what is submitted.
    descriptors: [Descriptor; N],
}

impl<const N: usize> Batch<N> {
    /// Without ranges.
    pub(crate) const fn new() -> Self {
        // A request has two ranges at most.
        const { assert!(N >= 2 && N <= MAX) };
        Self {
            ranges: [Range::NONE; N],
            len: 0,
            descriptors: [[0; 4]; N],
        }
    }

    fn has_room(&self) -> bool {
        self.len + 2 <= N
    }

    /// Adds a range, or merges it with the last ones. There must be room.
    fn push(&mut self, mut range: Range, hardware: &Hardware) {
        while let Some(last) = self.len.checked_sub(1) {
            let merged = self
                .ranges
                .get(last)
                .and_then(|r| r.merged(range, hardware));
            let Some(merged) = merged else {
                break;
            };
            range = merged;
            self.len = last;
        }
        if let Some(place) = self.ranges.get_mut(self.len) {
            *place = range;
            self.len += 1;
        }
    }

    fn flush(&mut self, caches: &impl Caches) -> Result {
        let len = core::mem::take(&mut self.len);
        let ranges = self.ranges.get(..len).unwrap_or_default();
        if ranges.is_empty() {
            return Ok(());
        }
        caches.invalidate(&Ranges(ranges), &mut self.descriptors)
    }
}

/// Carries out `count` requests. The result says how many are complete, from the first on, and the
/// error of the next one. If the invalidation queue fails, no request of the batch counts.
pub(crate) fn carry_out<const N: usize>(
    batch: &mut Batch<N>,
    caches: &impl Caches,
    hardware: &Hardware,
    source: &mut impl Source,
    count: u32,
) -> Invalidated {
    let (done, result) = carry_out_all(batch, caches, hardware, source, count);
    Invalidated {
        done,
        result,
        submissions: Some(caches.submissions()),
    }
}

/// Returns how many requests are complete, and the error of the next one.
fn carry_out_all<const N: usize>(
    batch: &mut Batch<N>,
    caches: &impl Caches,
    hardware: &Hardware,
    source: &mut impl Source,
    count: u32,
) -> (u32, Result) {
    // How many are complete, and how many are in `batch` or complete.
    let (mut done, mut taken) = (0, 0);
    let mut result = Ok(());
    while result.is_ok() && taken < count {
        if !batch.has_room() {
            result = batch.flush(caches);
            if result.is_err() {
                return (done, result);
            }
            done = taken;
        }
        result = source.next().map(|request| {
            let (range, further) = request.ranges(hardware);
            batch.push(range, hardware);
            if let Some(range) = further {
                batch.push(range, hardware);
            }
            taken += 1;
        });
    }
    match batch.flush(caches) {
        Ok(()) => (taken, result),
        failed => (done, failed),
    }
}
