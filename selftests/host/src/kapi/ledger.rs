// SPDX-License-Identifier: GPL-2.0-only

//! How many pins each page has: the truth that tests compare with.
//!
//! There is one ledger a thread. A test leaves it as it found it: without pins.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::Range, //
};

#[derive(Default)]
struct Ledger {
    /// How many pins a page has, by the first PFN that has so many; up to the next entry.
    pins: BTreeMap<u64, u64>,
    /// How often pages were unpinned, however many at once.
    unpins: u64,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

impl Ledger {
    fn at(&self, pfn: u64) -> u64 {
        self.pins.range(..=pfn).next_back().map_or(0, |(_, n)| *n)
    }

    /// Applies `change` to the number of pins of all `pages`.
    fn change(&mut self, pages: Range<u64>, change: impl Fn(u64) -> u64) {
        let (first, behind) = (self.at(pages.start), self.at(pages.end));
        self.pins.insert(pages.start, first);
        self.pins.insert(pages.end, behind);
        for (_, pins) in self.pins.range_mut(pages) {
            *pins = change(*pins);
        }
        let mut last = 0;
        self.pins
            .retain(|_, pins| core::mem::replace(&mut last, *pins) != *pins);
    }
}

/// Pins each page once.
pub(crate) fn pin(pfn: u64, npages: u64) {
    LEDGER.with_borrow_mut(|ledger| ledger.change(pfn..pfn + npages, |pins| pins + 1));
}

/// Unpins each page once. Panics where one is not pinned.
pub(crate) fn unpin(pfn: u64, npages: u64) {
    let pages = pfn..pfn + npages;
    let twice = LEDGER.with_borrow_mut(|ledger| {
        let missing = ledger.at(pages.start) == 0
            || ledger.pins.range(pages.clone()).any(|(_, pins)| *pins == 0);
        if !missing {
            ledger.change(pages.clone(), |pins| pins - 1);
        }
        ledger.unpins += 1;
        missing
    });
    // A second panic on the way out of the first would hide it.
    if twice && !std::thread::panicking() {
        panic!("unpinned more often than pinned: in PFNs {pages:#x?}");
    }
}

/// How many pins a page has.
pub(crate) fn pins(pfn: u64) -> u64 {
    LEDGER.with_borrow(|ledger| ledger.at(pfn))
}

/// How many pins there are on all pages together.
pub(crate) fn total() -> u64 {
    LEDGER.with_borrow(|ledger| {
        let ends = ledger.pins.keys().skip(1);
        let runs = ledger.pins.iter().zip(ends);
        runs.map(|((start, pins), end)| (end - start) * pins).sum()
    })
}

/// How often pages were unpinned, however many at once.
pub(crate) fn unpins() -> u64 {
    LEDGER.with_borrow(|ledger| ledger.unpins)
}
