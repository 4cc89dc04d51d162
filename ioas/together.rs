// SPDX-License-Identifier: GPL-2.0-only

//! Filling page tables with several small areas at once.
//!
//! The first domain that has an area pins its memory. That may wait for user memory, and then only
//! that area is kept from others. Memory that is present can be pinned without waiting, so several
//! areas are pinned one after the other, and those that follow each other are mapped by one call.

use crate::{
    ioas::{
        area::Slice,
        consumer::Consumer,
        domains::release,
        ranges::{
            IoasRanges,
            RANGES, //
        }, //
    },
    kapi::{
        iommu::{
            domain::{
                Domain,
                Prot, //
            },
            map_list::{
                MapList,
                MOST_PAGES, //
            }, //
        },
        mm::pin::PinnedRun,
        reason::{
            Because,
            Reason,
            Result, //
        },
        units::{
            IovaRange,
            PAGE_SHIFT, //
        }, //
    }, //
};

/// The largest number of bytes of areas that are filled together.
pub(super) const MOST_BYTES: u64 = MOST_PAGES << PAGE_SHIFT;

/// Adds an area to a list.
struct Adder<'a, 'd>(&'a mut MapList<'d, IoasRanges>, IovaRange, Prot);

impl Consumer for Adder<'_, '_> {
    fn take<'p>(&mut self, runs: impl Iterator<Item = PinnedRun<'p>>) -> Result {
        Ok(self.0.add(self.1, self.2, runs.map(Into::into))?)
    }
}

/// Pins small areas, at most [`MOST_BYTES`], and maps them into the first domain that has them, in
/// the order of their addresses. Goes on until the first one that cannot be pinned without waiting.
///
/// Adds the number of areas that are pinned and mapped to `done`, also on failure. The next one then
/// must be filled alone. Returns `ENOMEM` and the errors of the IOMMU driver.
#[inline(never)]
pub(super) fn fill_together<'a>(
    domain: &Domain,
    areas: impl Iterator<Item = (IovaRange, &'a Slice, Prot)> + Clone,
    small_pages: bool,
    done: &mut usize,
) -> Result {
    let mut pinned = 0;
    let mut at = 0;
    let mut fill = || {
        let mut list = MapList::new(domain, RANGES, small_pages);
        for (range, slice, prot) in areas.clone() {
            if !list.suits(range, prot) {
                list.map().because(Reason::MapDriver, at)?;
                *done = pinned;
            }
            at = range.start();
            let mut adder = Adder(&mut list, range, prot);
            if !slice.pages.pin_present(slice.page_range()?, &mut adder)? {
                break;
            }
            pinned += 1;
        }
        list.map().because(Reason::MapDriver, at)?;
        *done = pinned;
        Ok(())
    };
    // The list is dropped in there.
    let result = fill();
    let not_mapped = areas.take(pinned).skip(*done);
    not_mapped.for_each(|(_, slice, _)| release(slice));
    result
}
