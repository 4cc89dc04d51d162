// SPDX-License-Identifier: GPL-2.0-only

//! What a guest asks to be invalidated: `struct iommu_hwpt_vtd_s1_invalidate`, and the ranges that
//! one descriptor can name.

use kernel::prelude::*;

/// `IOMMU_VTD_INV_FLAGS_LEAF`: only leaf entries were changed.
pub(crate) const LEAF: u32 = 1 << 0;

/// Address bits below this one are an offset into a page.
const PAGE_SHIFT: u32 = 12;

/// [`Range::order`] of all addresses.
pub(crate) const ALL: u32 = u64::BITS - PAGE_SHIFT;

/// `1 << order` pages from an address that is a multiple of their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first address, 0 if `order` is [`ALL`].
    pub(crate) addr: u64,
    /// The binary logarithm of the number of pages.
    pub(crate) order: u32,
    /// Only leaf entries were changed: entries of higher tables that are cached may stay.
    pub(crate) leaf: bool,
}

impl Range {
    /// The smallest range that has both addresses in it.
    fn covering(first: u64, last: u64, leaf: bool) -> Self {
        let order = (u64::BITS - (first ^ last).leading_zeros()).saturating_sub(PAGE_SHIFT);
        Self {
            addr: if order < ALL {
                first >> (order + PAGE_SHIFT) << (order + PAGE_SHIFT)
            } else {
                0
            },
            order,
            leaf,
        }
    }

    /// The range that takes the place of two, if it covers no page but theirs. Entries of higher
    /// tables stay only if both ranges let them.
    #[inline]
    pub(crate) fn merged(self, other: Self) -> Option<Self> {
        // Ranges are aligned, so this is 0 if one is within the other, and 1 for two that are halves
        // of one if they have the same size.
        let order = self.order.max(other.order);
        let apart = (self.addr ^ other.addr)
            .checked_shr(order + PAGE_SHIFT)
            .unwrap_or(0);
        if apart > 1 {
            return None;
        }
        let leaf = self.leaf && other.leaf;
        if apart == 0 {
            let large = if self.order == order { self } else { other };
            return Some(Self { leaf, ..large });
        }
        (self.order == other.order).then_some(Self {
            addr: self.addr & other.addr,
            order: order + 1,
            leaf,
        })
    }
}

/// A request as a guest made it: the words of `struct iommu_hwpt_vtd_s1_invalidate`, which are its
/// address, its number of pages, and its flags with the reserved bits above them.
pub(crate) type Words = [u64; 3];

/// Requests of a guest in a row, checked: one, or several of which each begins where the one before
/// it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    first: u64,
    last: u64,
    leaf: bool,
}

impl Request {
    /// Checks a request.
    ///
    /// Returns `EOPNOTSUPP` for unknown flags and for reserved bits, `EINVAL` for an address that is
    /// not a page's, and for `u64::MAX` pages from an address that is not 0.
    #[inline]
    pub(crate) fn new([addr, pages, flags]: Words) -> Result<Self> {
        if flags & !u64::from(LEAF) != 0 {
            return Err(EOPNOTSUPP);
        }
        let in_page = (1 << PAGE_SHIFT) - 1;
        if addr & in_page != 0 {
            return Err(EINVAL);
        }
        let (first, last) = match pages {
            1 => (addr, addr | in_page),
            _ => Self::addresses(addr, pages)?,
        };
        Ok(Self {
            first,
            last,
            leaf: flags & u64::from(LEAF) != 0,
        })
    }

    /// The first and the last address of any number of pages from a page on. Fails as [`Self::new`].
    #[inline(never)]
    fn addresses(addr: u64, pages: u64) -> Result<(u64, u64)> {
        if pages == u64::MAX && addr != 0 {
            return Err(EINVAL);
        }
        // A range that does not end within the address space, or has no page, names no addresses
        // that could be told apart: everything is invalidated, which is always allowed (6.5.3).
        let last = match pages.checked_sub(1) {
            Some(others) if others < 1 << ALL => addr.checked_add(others << PAGE_SHIFT),
            _ => None,
        };
        let in_page = (1 << PAGE_SHIFT) - 1;
        Ok(last.map_or((0, u64::MAX), |last| (addr, last | in_page)))
    }

    /// Adds a request that begins where this ends and has the same flags. Returns false for others.
    #[inline]
    pub(crate) fn extend(&mut self, next: &Self) -> bool {
        let follows = self.last.checked_add(1) == Some(next.first) && self.leaf == next.leaf;
        if follows {
            self.last = next.last;
        }
        follows
    }

    /// The range to invalidate, if the request is for one page.
    #[inline]
    pub(crate) fn page(&self) -> Option<Range> {
        ((self.first ^ self.last) >> PAGE_SHIFT == 0).then_some(Range {
            addr: self.first,
            order: 0,
            leaf: self.leaf,
        })
    }

    /// The ranges to invalidate: one that covers the request, or two if they are smaller together.
    /// Each has at most twice as many pages as the part of the request that it covers.
    pub(crate) fn ranges(&self) -> (Range, Option<Range>) {
        if let Some(page) = self.page() {
            return (page, None);
        }
        let whole = Range::covering(self.first, self.last, self.leaf);
        // The request crosses the middle of `whole`, or a smaller range would cover it.
        let middle = whole.addr | 1 << (whole.order - 1 + PAGE_SHIFT);
        let low = Range::covering(self.first, middle - 1, self.leaf);
        let high = Range::covering(middle, self.last, self.leaf);
        if low.merged(high).is_some() {
            return (whole, None);
        }
        (low, Some(high))
    }
}
