// SPDX-License-Identifier: GPL-2.0-only

//! What a guest asks to be invalidated: `struct iommu_hwpt_vtd_s1_invalidate`, and the ranges that
//! one descriptor can name.

use kernel::prelude::*;

use crate::drivers::vtd::hardware::Hardware;

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
    /// A range for buffers that are not in use.
    pub(crate) const NONE: Self = Self {
        addr: 0,
        order: 0,
        leaf: false,
    };

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

    /// The last address of the range.
    fn last(&self) -> u64 {
        if self.order < ALL {
            self.addr | ((1 << (self.order + PAGE_SHIFT)) - 1)
        } else {
            u64::MAX
        }
    }

    /// The range as the IOMMU can invalidate it: all addresses if its mask is too large.
    fn within(self, hardware: &Hardware) -> Self {
        match hardware.max_mask {
            Some(max) if self.order <= max => self,
            _ => Self {
                addr: 0,
                order: ALL,
                leaf: self.leaf,
            },
        }
    }

    /// The range that takes the place of two, if it covers no page but theirs, and the IOMMU can
    /// invalidate it. Entries of higher tables stay only if both ranges let them.
    pub(crate) fn merged(self, other: Self, hardware: &Hardware) -> Option<Self> {
        let leaf = self.leaf && other.leaf;
        let (large, small) = if self.order >= other.order {
            (self, other)
        } else {
            (other, self)
        };
        if large.addr <= small.addr && small.last() <= large.last() {
            return Some(Self { leaf, ..large });
        }
        let size = 1 << (self.order + PAGE_SHIFT);
        if self.order != other.order || self.addr ^ other.addr != size {
            return None;
        }
        let both = Self {
            addr: self.addr & !size,
            order: self.order + 1,
            leaf,
        };
        (both.within(hardware) == both).then_some(both)
    }
}

/// A request of a guest, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    first: u64,
    last: u64,
    leaf: bool,
}

impl Request {
    /// Checks the members of `struct iommu_hwpt_vtd_s1_invalidate`.
    ///
    /// Returns `EOPNOTSUPP` for unknown flags and for reserved bits, `EINVAL` for an address that is
    /// not a page's, and for `u64::MAX` pages from an address that is not 0.
    pub(crate) fn new(addr: u64, pages: u64, flags: u32, reserved: u32) -> Result<Self> {
        if flags & !LEAF != 0 || reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        if addr & ((1 << PAGE_SHIFT) - 1) != 0 || (pages == u64::MAX && addr != 0) {
            return Err(EINVAL);
        }
        // A range that does not end within the address space, or has no page, names no addresses
        // that could be told apart: everything is invalidated, which is always allowed (6.5.3).
        let last = match pages.checked_sub(1) {
            Some(others) if others < 1 << ALL => addr
                .checked_add(others << PAGE_SHIFT)
                .map(|page| page | ((1 << PAGE_SHIFT) - 1)),
            _ => None,
        };
        let (first, last) = last.map_or((0, u64::MAX), |last| (addr, last));
        Ok(Self {
            first,
            last,
            leaf: flags & LEAF != 0,
        })
    }

    /// The ranges to invalidate: one that covers the request, or two if they are smaller together.
    /// Each has at most twice as many pages as the part of the request that it covers, unless the
    /// IOMMU can only invalidate everything.
    pub(crate) fn ranges(&self, hardware: &Hardware) -> (Range, Option<Range>) {
        let whole = Range::covering(self.first, self.last, self.leaf);
        if whole.order == 0 {
            return (whole.within(hardware), None);
        }
        // The request crosses the middle of `whole`, or a smaller range would cover it.
        let middle = whole.addr | 1 << (whole.order - 1 + PAGE_SHIFT);
        let low = Range::covering(self.first, middle - 1, self.leaf).within(hardware);
        let high = Range::covering(middle, self.last, self.leaf).within(hardware);
        if low.merged(high, hardware).is_some() {
            return (whole.within(hardware), None);
        }
        (low, Some(high))
    }
}
