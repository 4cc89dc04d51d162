// SPDX-License-Identifier: GPL-2.0-only

//! Batches: what is submitted, and what is returned to the caller.

use std::{
    cell::RefCell,
    collections::BTreeMap, //
};

use kernel::prelude::*;

use crate::{
    drivers::vtd::{
        batch::{
            self,
            Caches,
            Source,
            Walk,
            BLOCK,
            LONG_WALK,
            MAX, //
        },
        descriptor::{
            Cache,
            Descriptor,
            MAX_MASK, //
        },
        range::{
            Words,
            LEAF, //
        }, //
    },
    kapi::{
        array_vec::ArrayVec,
        iommu::invalidate::Invalidated, //
    }, //
};

/// A guest's requests: first page, pages, flags.
pub(super) type Asked = (u64, u64, u32);

/// Requests in memory, of which the one with number `bad` cannot be read.
pub(super) struct Memory<'a> {
    pub(super) requests: &'a [Asked],
    pub(super) next: usize,
    pub(super) bad: Option<usize>,
}

impl Source for Memory<'_> {
    fn read(&mut self, block: &mut ArrayVec<Words, BLOCK>, len: usize) -> Result {
        block.clear();
        let places = self.next..self.next + len;
        if self.bad.is_some_and(|bad| places.contains(&bad)) {
            return Err(EFAULT);
        }
        for &(page, pages, flags) in &self.requests[places] {
            assert!(block.push([page << 12, pages, flags.into()]));
        }
        self.next += len;
        Ok(())
    }
}

/// A driver with caches, each of which needs descriptors so many times. Walks them as the driver
/// does, and records what is submitted.
pub(super) struct Driver {
    pub(super) caches: Vec<(Cache, usize)>,
    pub(super) log: RefCell<Vec<Vec<Descriptor>>>,
    /// How many descriptors each walk over the caches had.
    walks: RefCell<Vec<usize>>,
    /// The submission that fails.
    pub(super) fails: Option<usize>,
}

impl Driver {
    pub(super) fn new(caches: &[(Cache, usize)]) -> Self {
        Self {
            caches: caches.to_vec(),
            log: RefCell::default(),
            walks: RefCell::default(),
            fails: None,
        }
    }

    fn submit(&self, descriptors: &[Descriptor]) -> Result {
        let mut log = self.log.borrow_mut();
        log.push(descriptors.to_vec());
        if self.fails == Some(log.len() - 1) {
            return Err(ETIMEDOUT);
        }
        Ok(())
    }
}

impl Caches for Driver {
    fn invalidate(&self, walk: &Walk<'_>) -> Result {
        let (mut submitted, mut result, mut all) = (Vec::new(), Ok(()), 0);
        for (cache, times) in &self.caches {
            let mut from = 0;
            loop {
                if submitted.len() == MAX {
                    result = result.and(self.submit(&submitted));
                    submitted.clear();
                }
                let (len, room) = (submitted.len(), MAX - submitted.len());
                let made = walk.encode(cache, *times, from, room, |place, descriptor| {
                    assert_eq!(submitted.len(), len + place);
                    submitted.push(descriptor);
                });
                assert_eq!(submitted.len(), len + made);
                if made == 0 {
                    break;
                }
                from += made;
            }
            all += from;
        }
        self.walks.borrow_mut().push(all);
        if !submitted.is_empty() {
            result = result.and(self.submit(&submitted));
        }
        result
    }

    fn submissions(&self) -> u32 {
        self.log.borrow().len() as u32
    }
}

pub(super) const IOTLB: Cache = Cache::Iotlb { did: 7, pasid: 0 };

fn carry_out(driver: &Driver, requests: &[Asked], bad: Option<usize>) -> Invalidated {
    let mut source = Memory {
        requests,
        next: 0,
        bad,
    };
    let count = requests.len() as u32;
    batch::carry_out(driver, &mut source, count)
}

/// One request is carried out as a batch of it is.
#[test]
fn one_request() {
    for pages in [0, 1, 2, 3, 5, 64, 1 << 52, u64::MAX] {
        for (page, flags) in [(0, 0), (1, LEAF), (3, 0), (7, 1 << 1)] {
            let (alone, batch) = (Driver::new(&[(IOTLB, 1)]), Driver::new(&[(IOTLB, 1)]));
            let words = [page << 12, pages, flags.into()];
            let one = batch::carry_out_one(&alone, words);
            let same = carry_out(&batch, &[(page, pages, flags)], None);
            assert_eq!((one.done, one.result), (same.done, same.result));
            assert_eq!(one.submissions, same.submissions);
            assert_eq!(*alone.log.borrow(), *batch.log.borrow());
        }
    }
}

/// Requests in a row are one, wherever a block ends; others are not.
#[test]
fn rows() {
    for (count, step, flags) in [(40, 1, 0), (40, 1, LEAF), (5, 16, 0)] {
        // From 1 on, the pages alone would be more ranges than the row.
        for first in [0, 1] {
            let driver = Driver::new(&[(IOTLB, 1)]);
            let requests: Vec<Asked> = (0..count)
                .map(|place| (first + place * step, step, flags))
                .collect();
            assert_eq!(carry_out(&driver, &requests, None).done as u64, count);
            let expected = Driver::new(&[(IOTLB, 1)]);
            carry_out(&expected, &[(first, count * step, flags)], None);
            assert_eq!(*driver.log.borrow(), *expected.log.borrow());
        }
    }
    // Flags differ: merged by halves only, and then entries of higher tables go.
    let driver = Driver::new(&[(IOTLB, 1)]);
    carry_out(&driver, &[(0, 1, LEAF), (1, 1, 0), (2, 1, LEAF)], None);
    let of = |page: u64, leaf: u64, order: u64| {
        [6 | 3 << 4 | 7 << 16, page << 12 | leaf << 6 | order, 0, 0]
    };
    assert_eq!(*driver.log.borrow(), [[of(0, 0, 1), of(2, 1, 0)]]);
}

/// Pages that are not neighbours.
fn scattered(count: u64) -> Vec<Asked> {
    (0..count).map(|place| (place * 2, 1, LEAF)).collect()
}

#[test]
fn lengths() {
    for count in [0, 1, 15, 16, 17, 63, 64, 65, 300] {
        let driver = Driver::new(&[(IOTLB, 1)]);
        let answer = carry_out(&driver, &scattered(count), None);
        assert_eq!((u64::from(answer.done), answer.result), (count, Ok(())));
        let log = driver.log.borrow();
        let all: Vec<_> = log.concat();
        let expected: Vec<Descriptor> = (0..count)
            // Type 6, granularity 3, domain 7; address, IH and mask 0 (6.5.2.4).
            .map(|place| [6 | 3 << 4 | 7 << 16, (place * 2) << 12 | 1 << 6, 0, 0])
            .collect();
        assert_eq!(all, expected, "{count} requests");
        assert!(log.iter().all(|submission| submission.len() <= MAX));
        let waits = count.div_ceil(MAX as u64) as usize;
        assert_eq!(log.len(), waits, "{count} requests");
    }
}

/// The descriptors and waits of the batches in performance.rst, from page 0x30 on, for one cache. C has as many of each
/// as there are requests.
#[test]
fn batches_that_are_measured() {
    for (count, adjacent, scattered) in [
        (1, (1, 1), (1, 1)),
        (16, (1, 1), (16, 1)),
        (64, (2, 1), (64, 1)),
        (256, (2, 1), (256, 4)),
        (4096, (2, 1), (4096, 64)),
    ] {
        for (distance, expected) in [(1, adjacent), (2, scattered)] {
            let driver = Driver::new(&[(IOTLB, 1)]);
            let requests: Vec<Asked> = (0..count)
                .map(|place| (0x30 + place * distance, 1, LEAF))
                .collect();
            assert_eq!(carry_out(&driver, &requests, None).result, Ok(()));
            let log = driver.log.borrow();
            assert_eq!((log.concat().len(), log.len()), expected, "{count}");
        }
    }
}

/// A request of two ranges behind any number of others: none is lost where there is room for one.
#[test]
fn two_ranges_at_the_end_of_a_batch() {
    for count in 0..=2 * MAX as u64 {
        let driver = Driver::new(&[(IOTLB, 1)]);
        let mut requests = scattered(count);
        requests.push((1001, 2, LEAF));
        let answer = carry_out(&driver, &requests, None);
        assert_eq!((u64::from(answer.done), answer.result), (count + 1, Ok(())));
        let pages: Vec<_> = driver
            .log
            .borrow()
            .concat()
            .iter()
            .map(|d| d[1] >> 12)
            .collect();
        let expected = (0..count).map(|place| place * 2).chain([1001, 1002]);
        assert_eq!(pages, expected.collect::<Vec<_>>(), "{count} others");
    }
}

#[test]
fn neighbours_become_one() {
    let driver = Driver::new(&[(IOTLB, 1)]);
    let requests: Vec<Asked> = (0..4096).map(|page| (page, 1, LEAF)).collect();
    let answer = carry_out(&driver, &requests, None);
    assert_eq!((answer.done, answer.result), (4096, Ok(())));
    let descriptor = [6 | 3 << 4 | 7 << 16, 1 << 6 | 12, 0, 0];
    assert_eq!(*driver.log.borrow(), [[descriptor]]);
}

/// A request that cannot be carried out at each position: those before it are complete.
#[test]
fn invalid_at_each_position() {
    for count in [1, 2, 63, 64, 65, 130] {
        for bad in 0..count {
            let driver = Driver::new(&[(IOTLB, 1)]);
            let answer = carry_out(&driver, &scattered(count), Some(bad as usize));
            assert_eq!((u64::from(answer.done), answer.result), (bad, Err(EFAULT)));
            assert_eq!(driver.log.borrow().concat().len() as u64, bad);
        }
    }
}

/// The error of the queue is returned, and only requests of earlier batches count. Of the batch that fails
/// everything is submitted, of later ones nothing.
#[test]
fn failing_queue() {
    let requests = scattered(300);
    let whole = Driver::new(&[(IOTLB, 1), (IOTLB, 1)]);
    assert_eq!(carry_out(&whole, &requests, None).result, Ok(()));
    let waits = whole.log.borrow().len();
    for fails in 0..waits {
        for bad in [None, Some(299)] {
            let mut driver = Driver::new(&[(IOTLB, 1), (IOTLB, 1)]);
            driver.fails = Some(fails);
            let answer = carry_out(&driver, &requests, bad);
            assert_eq!(answer.result, Err(ETIMEDOUT));
            // A batch of 64 ranges has two submissions.
            let (done, ends) = (fails / 2 * MAX, (fails / 2 * 2 + 2).min(waits));
            assert_eq!(answer.done as usize, done);
            let log = driver.log.borrow();
            assert_eq!(log.len(), ends);
            // What is said to be done was submitted for both caches before the failure, and the batch as a whole.
            let times = |log: &[Vec<Descriptor>], page: u64| {
                let about = |d: &&Descriptor| d[1] >> 12 == page;
                log.concat().iter().filter(about).count()
            };
            for (place, &(page, _, _)) in requests.iter().enumerate() {
                assert!(place >= done || times(&log[..fails], page) == 2, "{place}");
                let accepted = place < done + MAX && bad != Some(place);
                assert_eq!(times(&log, page) == 2, accepted, "{place}");
            }
        }
    }
}

/// Many caches: the driver walks them as often as needed for short walks, each cache gets each range, and hardly more
/// submissions are needed than for all descriptors at once.
#[test]
fn many_caches() {
    for count in [1, 2, 15, 16, 17, 63, 64, 65, 100, 1023, 1024, 1025, 3000] {
        for times in [1, 2] {
            let caches: Vec<_> = (0..count)
                .map(|pasid| (Cache::Iotlb { did: 7, pasid }, times))
                .collect();
            for requests in [1, 2, 5, 63, 64, 70] {
                let driver = Driver::new(&caches);
                let answer = carry_out(&driver, &scattered(requests), None);
                assert_eq!((u64::from(answer.done), answer.result), (requests, Ok(())));
                let one = count as usize * times;
                let walks = driver.walks.borrow();
                let longest = LONG_WALK + times * MAX + one;
                assert!(walks.iter().all(|walk| *walk <= longest), "{walks:?}");
                let log = driver.log.borrow();
                let mut seen = BTreeMap::new();
                for [head, address, ..] in log.concat() {
                    *seen.entry((head >> 32, address >> 12)).or_insert(0) += 1;
                }
                for cache in 0..u64::from(count) {
                    for place in 0..requests {
                        assert!(seen.get(&(cache, place * 2)) >= Some(&times));
                    }
                }
                assert_eq!(seen.len() as u64, u64::from(count) * requests);
                // Of each batch those of the first walk, at most, are made twice; each walk has a submission that is
                // not full.
                let batches = requests.div_ceil(MAX as u64) as usize;
                let most = one * requests as usize + batches * longest;
                assert!(log.len() <= most.div_ceil(MAX) + walks.len());
            }
        }
    }
}

/// What the number of caches is learnt from: the first walk is the only one that is longer than it need be.
#[test]
fn walks() {
    let driver = |count| {
        let cache = |pasid| (Cache::Iotlb { did: 7, pasid }, 1);
        Driver::new(&(0..count).map(cache).collect::<Vec<_>>())
    };
    let walks = |count| {
        let driver = driver(count);
        assert_eq!(carry_out(&driver, &scattered(64), None).result, Ok(()));
        driver.walks.take()
    };
    assert_eq!(walks(16), [1024]);
    // The last cache gets one range, so 63 are left, of which 60 are a walk.
    assert_eq!(walks(17), [1024 + 1, 17 * 60, 17 * 3]);
    assert_eq!(walks(1024)[..2], [1024 + 1024 - 16, 1024]);
    assert_eq!(walks(1024).len(), 64);
    assert_eq!(walks(5000)[1..], [5000; 63]);
}

/// A queue that fails in one of several walks: the other walks are made, and the batch does not count.
#[test]
fn failing_walk() {
    let cache = |pasid| (Cache::Iotlb { did: 7, pasid }, 1);
    let caches: Vec<_> = (0..100).map(cache).collect();
    let whole = Driver::new(&caches);
    assert_eq!(carry_out(&whole, &scattered(64), None).result, Ok(()));
    let all = whole.log.borrow().len();
    for fails in 0..all {
        let mut driver = Driver::new(&caches);
        driver.fails = Some(fails);
        let answer = carry_out(&driver, &scattered(64), None);
        assert_eq!((answer.done, answer.result), (0, Err(ETIMEDOUT)));
        assert_eq!(driver.log.borrow().len(), all);
    }
}

/// Device TLBs (6.5.2.5, 6.5.2.6), one of which needs everything twice.
#[test]
fn device_tlbs() {
    let device = |pasid| Cache::Device {
        pasid,
        sid: 0x1234,
        pfsid: 0xabcd,
        qdep: 32,
    };
    let driver = Driver::new(&[(device(0), 1), (device(5), 2)]);
    let requests = [(16, 4, 0), (40, 1, 0)];
    assert_eq!(carry_out(&driver, &requests, None).result, Ok(()));
    let plain = 3 | 0xd << 12 | 0xabc << 52 | 0x1234 << 32;
    let pasid = 8 | 0xd << 12 | 0xabc << 52 | 0x1234 << 16 | 5 << 32;
    let expected = [
        // The lowest clear bit from 12 on is bit 13: four pages.
        [plain, 0x10000 | 1 << 12 | 1, 0, 0],
        [plain, 0x28000, 0, 0],
        [pasid, 0x10000 | 1 << 12 | 1 << 11, 0, 0],
        [pasid, 0x10000 | 1 << 12 | 1 << 11, 0, 0],
        [pasid, 0x28000, 0, 0],
        [pasid, 0x28000, 0, 0],
    ];
    assert_eq!(*driver.log.borrow(), [expected]);
}

/// Pages of more than the largest mask: everything of the PASID, but for a device TLB no more than was asked for. No IOMMU
/// must be given a larger mask, QEMU's refuses it.
#[test]
fn beyond_the_largest_mask() {
    assert_eq!(MAX_MASK, 18);
    let device = Cache::Device {
        pasid: 0,
        sid: 1,
        pfsid: 0,
        qdep: 4,
    };
    for order in 1..=51 {
        let driver = Driver::new(&[(IOTLB, 1), (device, 1)]);
        // At the second of the places that such a range can have.
        let (page, pages) = (1 << order, 1 << order);
        assert_eq!(carry_out(&driver, &[(page, pages, LEAF)], None).done, 1);
        let iotlb = match order {
            0..=18 => [6 | 3 << 4 | 7 << 16, page << 12 | 1 << 6 | order, 0, 0],
            _ => [6 | 2 << 4 | 7 << 16, 0, 0, 0],
        };
        // The lowest clear bit is below the order's.
        let address = page << 12 | ((pages / 2 - 1) << 12) | 1;
        let expected = [iotlb, [3 | 4 << 16 | 1 << 32, address, 0, 0]];
        assert_eq!(*driver.log.borrow(), [expected], "2^{order} pages");
    }
}

#[test]
fn everything() {
    let device = Cache::Device {
        pasid: 9,
        sid: 1,
        pfsid: 0,
        qdep: 4,
    };
    let driver = Driver::new(&[(IOTLB, 1), (device, 1)]);
    let requests = [(3, 1, LEAF), (0, u64::MAX, 0), (9, 2, 0)];
    assert_eq!(carry_out(&driver, &requests, None).result, Ok(()));
    let expected = [
        [6 | 2 << 4 | 7 << 16, 0, 0, 0],
        // Bit 63 is the lowest clear one.
        [
            8 | 4 << 4 | 1 << 16 | 9 << 32,
            (1 << 63) - 0x1000 | 1 << 11,
            0,
            0,
        ],
    ];
    assert_eq!(*driver.log.borrow(), [expected]);
}
