// SPDX-License-Identifier: GPL-2.0-only

//! Mapping of many pieces of physical memory by few calls of the kernel.
//!
//! `iommu_map()` maps one piece, and each call walks down from the top of the page tables. On a
//! kernel with the patch series `iommu_map_phys_vec()` maps a list of pieces in one walk.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h) (changed by the patch series)

use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        AtomicFlag, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        array_vec::ArrayVec,
        bug::warn_on_once,
        mm::phys::PhysPiece,
        units::{
            to_u64,
            to_usize, //
        }, //
    }, //
};

/// The largest number of pieces in a list, which takes 1 KiB of the stack.
const ROOM: usize = 64;

/// Whether the kernel has `iommu_map_phys_vec()`.
static HAS_LISTS: AtomicFlag = AtomicFlag::new(false);

/// Finds out whether this kernel maps lists, and returns it. If it does not, or before this is
/// called, pieces are mapped one by one.
pub(crate) fn find_lists() -> bool {
    // SAFETY: It looks a symbol up, and may be called at any time.
    let found = unsafe { bindings::iommufd_rs_find_map_phys_vec() };
    HAS_LISTS.store(found, Relaxed);
    found
}

/// Pieces of physical memory that are mapped together, one after the other.
pub(super) struct Batch {
    pieces: ArrayVec<bindings::phys_vec, ROOM>,
}

impl Batch {
    /// The number of pieces that there is room for.
    pub(super) const ROOM: u64 = to_u64(ROOM);

    /// Returns an empty batch.
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            pieces: ArrayVec::new(),
        }
    }

    /// Replaces the contents by the next `pieces`, as far as there is room, and cuts the last one if
    /// all would be more than `left` bytes. Returns `EFAULT` if a piece is not writable but `write`
    /// is true.
    #[inline]
    pub(super) fn fill<'a>(
        &mut self,
        pieces: &mut impl Iterator<Item = PhysPiece<'a>>,
        left: u64,
        write: bool,
    ) -> Result {
        self.pieces.clear();
        self.add(pieces, left, write).map(|_| ())
    }

    /// As [`Batch::fill`], but keeps the contents, and adds to them. Returns the number of bytes that
    /// were added.
    #[inline]
    pub(super) fn add<'a>(
        &mut self,
        pieces: &mut impl Iterator<Item = PhysPiece<'a>>,
        length: u64,
        write: bool,
    ) -> Result<u64> {
        let mut left = length;
        let mut refused = false;
        let taken = pieces.map_while(|piece| {
            refused = warn_on_once!(write && !piece.is_writable());
            let len = piece.len().min(left);
            if refused || len == 0 {
                return None;
            }
            left -= len;
            Some(bindings::phys_vec {
                paddr: piece.start(),
                len: to_usize(len),
            })
        });
        self.pieces.extend(taken);
        if refused {
            Err(EFAULT)
        } else {
            Ok(length - left)
        }
    }

    /// Removes all pieces.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
    }

    /// Returns whether there may be more pieces than the batch had room for.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.pieces.is_full()
    }

    /// Maps the batch at `iova`, and adds the number of bytes that are mapped to `done`, also on
    /// failure. `flags` are the IOMMU core's. Returns `EINVAL` if an address is not aligned to the
    /// pages of the domain, `ENOMEM`, or another error of the driver.
    ///
    /// # Safety
    ///
    /// `domain` must be valid, and the memory must remain as it is until it is unmapped. No other
    /// task may change or read the translation of the addresses during the call.
    pub(super) unsafe fn map(
        &self,
        domain: *mut bindings::iommu_domain,
        iova: u64,
        flags: c_int,
        done: &mut u64,
    ) -> Result {
        let pieces = self.pieces.as_slice();
        if pieces.len() > 1 && HAS_LISTS.load(Relaxed) {
            // SAFETY:
            // - `find_lists` has found the function.
            // - The list has as many elements as are passed along with it.
            // - The caller guarantees what concerns the domain and the range.
            let errno = unsafe {
                bindings::iommufd_rs_map_phys_vec(
                    domain,
                    to_usize(iova),
                    pieces.as_ptr(),
                    pieces.len() as c_uint,
                    flags,
                    bindings::GFP_KERNEL_ACCOUNT,
                )
            };
            to_result(errno)?;
            *done += pieces.iter().map(|piece| to_u64(piece.len)).sum::<u64>();
            return Ok(());
        }
        // This is past the end of the address space only when nothing is left.
        let mut next = iova;
        for piece in pieces {
            // SAFETY: The caller guarantees that the domain is valid and that no other task changes
            // the range.
            let errno = unsafe {
                bindings::iommu_map(
                    domain,
                    to_usize(next),
                    piece.paddr,
                    piece.len,
                    flags,
                    bindings::GFP_KERNEL_ACCOUNT,
                )
            };
            to_result(errno)?;
            let len = to_u64(piece.len);
            next = next.wrapping_add(len);
            *done += len;
        }
        Ok(())
    }
}
