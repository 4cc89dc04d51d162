// SPDX-License-Identifier: GPL-2.0-only

//! Counts the pins of each page, for tests to compare with.
//!
//! Each thread has its own ledger. A test must remove all pins before it ends.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::Range, //
};

#[derive(Default)]
struct Ledger {
    /// The number of pins per page: the key is the first PFN with that number, which holds up to
    /// the next key.
    pins: BTreeMap<u64, u64>,
    /// The number of calls that unpinned pages, whatever the number of pages in each.
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

/// Unpins each page once. Panics if a page is not pinned.
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
    // A second panic while the thread unwinds would abort and hide the first.
    if twice && !std::thread::panicking() {
        panic!("unpinned more often than pinned: in PFNs {pages:#x?}");
    }
}

/// Returns the number of pins of a page.
pub(crate) fn pins(pfn: u64) -> u64 {
    LEDGER.with_borrow(|ledger| ledger.at(pfn))
}

/// Returns the total number of pins of all pages.
pub(crate) fn total() -> u64 {
    LEDGER.with_borrow(|ledger| {
        let ends = ledger.pins.keys().skip(1);
        let runs = ledger.pins.iter().zip(ends);
        runs.map(|((start, pins), end)| (end - start) * pins).sum()
    })
}

/// The number of calls that unpinned pages, whatever the number of pages in each.
pub(crate) fn unpins() -> u64 {
    LEDGER.with_borrow(|ledger| ledger.unpins)
}

/// Forgets all pins, of a test that has failed.
pub(crate) fn forget() {
    LEDGER.set(Ledger::default());
}
