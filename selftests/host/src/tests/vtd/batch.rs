// SPDX-License-Identifier: GPL-2.0-only

//! Batches: what is submitted, and what is returned to the caller.

use std::cell::RefCell;

use kernel::prelude::*;

use crate::{
    drivers::vtd::{
        batch::{
            self,
            Caches,
            Ranges,
            Source,
            BLOCK,
            MAX, //
        },
        descriptor::{
            Cache,
            Descriptor, //
        },
        range::{
            Words,
            LEAF, //
        }, //
    },
    kapi::{
        array_vec::ArrayVec,
        iommu::invalidate::Invalidated, //
    },
    tests::vtd::FULL, //
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
    /// The submission that fails.
    pub(super) fails: Option<usize>,
}

impl Driver {
    pub(super) fn new(caches: &[(Cache, usize)]) -> Self {
        Self {
            caches: caches.to_vec(),
            log: RefCell::default(),
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
    fn invalidate(&self, ranges: &Ranges<'_>) -> Result {
        let (mut submitted, mut result) = (Vec::new(), Ok(()));
        for (cache, times) in &self.caches {
            let mut from = 0;
            loop {
                if submitted.len() == MAX {
                    result = result.and(self.submit(&submitted));
                    submitted.clear();
                }
                let (len, room) = (submitted.len(), MAX - submitted.len());
                let made = ranges.encode(cache, *times, from, room, |place, descriptor| {
                    assert_eq!(submitted.len(), len + place);
                    submitted.push(descriptor);
                });
                assert_eq!(submitted.len(), len + made);
                if made == 0 {
                    break;
                }
                from += made;
            }
        }
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
    batch::carry_out(driver, &FULL, &mut source, count)
}

/// One request is carried out as a batch of it is.
#[test]
fn one_request() {
    for pages in [0, 1, 2, 3, 5, 64, 1 << 52, u64::MAX] {
        for (page, flags) in [(0, 0), (1, LEAF), (3, 0), (7, 1 << 1)] {
            let (alone, batch) = (Driver::new(&[(IOTLB, 1)]), Driver::new(&[(IOTLB, 1)]));
            let words = [page << 12, pages, flags.into()];
            let one = batch::carry_out_one(&alone, &FULL, words);
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
