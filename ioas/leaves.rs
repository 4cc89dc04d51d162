// SPDX-License-Identifier: GPL-2.0-only

//! How many entries of page tables map a run of memory.
//!
//! Pure logic. It follows the rule of the IOMMU core and of the generic page tables: each entry has
//! the largest page size for which both addresses are aligned and which does not pass the end.

/// Calls `f` with each page size, and the number of entries of that size, that map `length` bytes
/// from `iova` on to those from `phys` on. `sizes` is a bit mask of the page sizes. What is smaller
/// than the smallest page is not counted.
pub(crate) fn leaves(iova: u64, phys: u64, length: u64, sizes: u64, mut f: impl FnMut(u64, u64)) {
    // A run may end with the address space.
    let (mut start, mut end) = (u128::from(iova), u128::from(iova) + u128::from(length));
    let mut left = sizes;
    while left != 0 {
        let shift = left.trailing_zeros();
        left &= left - 1;
        // The part in the middle that has entries of the next size.
        let next = 1_u128 << left.trailing_zeros().min(64);
        let aligned = u128::from(iova ^ phys) % next == 0;
        let (first, last) = (start.next_multiple_of(next), end - end % next);
        let bytes = if left != 0 && aligned && first < last {
            let around = (first - start) + (end - last);
            (start, end) = (first, last);
            around
        } else {
            left = 0;
            end - start
        };
        // CAST: It is not more than the pages of 64 bits of addresses.
        let count = (bytes >> shift) as u64;
        if count != 0 {
            f(1 << shift, count);
        }
    }
}
