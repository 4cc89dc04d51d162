// SPDX-License-Identifier: GPL-2.0-only

//! Device memory that is mapped into a process.
//!
//! A mapping keeps its owner. So do the mappings that come of it: a child's copy, the rest of one
//! of which a part is unmapped, one that is moved. All share a counted record in their private
//! data.
//!
//! C headers: `include/linux/mm.h`, `include/linux/pgtable.h`.

use kernel::{
    error::to_result,
    mm::virt::VmaNew,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        sync::shared::{
            Shared,
            SharedAny, //
        },
        units::{
            page_offset,
            to_u64,
            to_usize,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// Physical memory, whole pages of it, that user space may reach while its owner is there.
#[derive(Clone, Copy)]
pub(crate) struct DeviceMemory {
    phys: u64,
    len: u64,
}

/// What the mappings that come of one call of `mmap` keep.
struct OwnerRecord {
    _owner: SharedAny,
}

impl DeviceMemory {
    /// `len` bytes from `phys` on. `EINVAL` where those are not whole pages, or none.
    ///
    /// # Safety
    ///
    /// Until the owner has gone the memory is nobody's who minds what processes do with it.
    pub(crate) unsafe fn new(phys: u64, len: u64) -> Result<Self> {
        if len == 0 || page_offset(phys) != 0 || page_offset(len) != 0 {
            return Err(EINVAL);
        }
        Ok(Self { phys, len })
    }

    /// How many bytes, never 0.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Maps all of it, uncached, to a part of a process's address space that is being set up, and
    /// keeps `owner` until nothing of that is mapped any more. `ENXIO` where the two differ in
    /// length, `ENOMEM`.
    pub(crate) fn map(&self, vma: &VmaNew, owner: SharedAny) -> Result {
        if to_u64(vma.end() - vma.start()) != self.len {
            return Err(ENXIO);
        }
        let record = Shared::pin_init(Ok(OwnerRecord { _owner: owner }), GFP_KERNEL_ACCOUNT)?;
        let raw = vma.as_ptr();
        // SAFETY: The VMA is being set up, so it is ours to change, and as long as the memory. That
        // is there as long as its owner, which is record until the last VMA is closed; where this
        // fails the kernel takes back what was mapped.
        unsafe {
            to_result(bindings::iommufd_rs_map_uncached(
                raw,
                to_usize(self.phys >> PAGE_SHIFT),
            ))?;
            // As the C module does: the file is of no use to find the memory again.
            (*raw).vm_pgoff = 0;
            (*raw).vm_private_data = record.into_raw();
            (*raw).vm_ops = &OPS;
        }
        Ok(())
    }
}

/// At which byte of the file a mapping begins that is being set up. `None` past 64 bits.
pub(crate) fn offset(vma: &VmaNew) -> Option<u64> {
    // SAFETY: The VMA is being set up, so nobody else changes it.
    let pages = unsafe { (*vma.as_ptr()).vm_pgoff };
    to_u64(pages).checked_mul(PAGE_SIZE)
}

const OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
    open: Some(open),
    close: Some(close),
    // SAFETY: All zeroes are valid operations.
    ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
};

/// # Safety
///
/// As `open` of `struct vm_operations_struct`, for a copy of a VMA that [`DeviceMemory::map`] set
/// up.
unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
    // SAFETY: The record was copied from another VMA, which is not closed yet.
    let record = unsafe { Shared::<OwnerRecord>::borrow_raw((*vma).vm_private_data) };
    // The new reference is the copy's.
    (*record).clone().into_raw();
}

/// # Safety
///
/// As `close` of `struct vm_operations_struct`, for a VMA that [`DeviceMemory::map`] set up, or
/// that was opened.
unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
    // SAFETY: Each VMA has a reference, and is closed once.
    drop(unsafe { Shared::<OwnerRecord>::from_raw((*vma).vm_private_data) });
}
