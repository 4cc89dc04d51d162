// SPDX-License-Identifier: GPL-2.0-only

//! Memory that hardware accesses by its physical address, without page tables. Hardware does not
//! stop when it is asked to, so such memory cannot be unmapped.

use kernel::prelude::*;

use crate::{
    ioas::{
        access::{
            pin,
            unpin,
            Pinner, //
        },
        Ioas, //
    },
    kapi::{
        bug::some_or_warn,
        reason::{
            Because,
            Reason,
            Result, //
        },
        units::{
            page_offset,
            IovaRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    },
    object::Ref, //
};

/// Memory of an address space that is physically contiguous. It is pinned and cannot be unmapped
/// until this is dropped.
pub(crate) struct PhysPin {
    range: IovaRange,
    phys: u64,
    len: u64,
    ioas: WholePages,
}

/// An address space whose areas must consist of whole pages. Dropping it removes that requirement.
struct WholePages(Ref<Ioas>);

impl WholePages {
    fn new(ioas: &Ref<Ioas>) -> Result<Self> {
        ioas.add_phys_pin()?;
        Ok(Self(ioas.clone()))
    }
}

impl Drop for WholePages {
    fn drop(&mut self) {
        self.0.remove_phys_pin();
    }
}

impl PhysPin {
    /// Pins `length` bytes at `iova`, not 0. Returns `EFAULT` if all of it can be pinned, but is not
    /// contiguous, `ERANGE` if the number of its pages passes 64 bits, `EADDRINUSE` if an area of the
    /// address space does not consist of whole pages, and what [`Ioas::pin_pages`] fails with.
    pub(crate) fn new(ioas: &Ref<Ioas>, iova: u64, length: u64) -> Result<Self> {
        let offset = page_offset(iova);
        let bytes = offset
            .checked_add(length)
            .and_then(|bytes| bytes.checked_next_multiple_of(PAGE_SIZE))
            .ok_or(Reason::HwQueueMemory.errno(ERANGE, iova))?;
        let range =
            IovaRange::from_len(iova - offset, bytes).because(Reason::CommandRange, iova)?;
        let ioas = WholePages::new(ioas)?;
        let mut first = None;
        let mut next = None;
        let mut is_contiguous = true;
        pin(&ioas.0, range, false, Pinner::Hardware, |run| {
            // Pinning goes on: errors of the memory that follows take precedence over `EFAULT`.
            is_contiguous &= next.is_none_or(|next| next == run.phys());
            first = first.or(Some(run.phys()));
            next = Some(run.phys() + (run.npages() << PAGE_SHIFT));
            Ok(())
        })?;
        let pinned = Self {
            ioas,
            range,
            phys: some_or_warn!(first)? + offset,
            len: length,
        };
        if !is_contiguous {
            return Err(Reason::HwQueueMemory.with(iova));
        }
        Ok(pinned)
    }

    /// Returns the physical address of the first byte.
    pub(crate) fn phys(&self) -> u64 {
        self.phys
    }

    /// Returns the length in bytes. It is not 0.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

impl Drop for PhysPin {
    fn drop(&mut self) {
        unpin(&self.ioas.0, self.range, Pinner::Hardware);
    }
}
