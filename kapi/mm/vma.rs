// SPDX-License-Identifier: GPL-2.0-only

//! Device memory that is mapped into a process.
//!
//! A VMA holds a reference to the owner of the memory. The kernel copies VMAs: to a child process,
//! for the rest of one that is unmapped in part, and when one is moved. All copies share a counted
//! record in their private data, which holds the reference.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/pgtable.h`](srctree/include/linux/pgtable.h)

use kernel::{
    error::to_result,
    mm::virt::VmaNew,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        sync::{
            raw_ref::RawRef,
            shared::{
                Shared,
                SharedAny, //
            }, //
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

/// Whole pages of physical memory that may be mapped into processes.
///
/// # Invariants
///
/// `phys` and `len` are multiples of the page size, and `len` is not 0. Processes may read and
/// write the memory as long as the object that offered it exists.
#[derive(Clone, Copy)]
pub(crate) struct DeviceMemory {
    phys: u64,
    len: u64,
}

/// Holds the owner of mapped memory. All VMAs that stem from one call of mmap() have a reference to
/// the record.
struct OwnerRecord {
    _owner: SharedAny,
}

impl DeviceMemory {
    /// Describes `len` bytes from the physical address `phys`. Returns `EINVAL` if these are not
    /// whole pages, or if `len` is 0.
    ///
    /// # Safety
    ///
    /// Processes may read and write the memory as long as the object that offers it exists.
    pub(crate) unsafe fn new(phys: u64, len: u64) -> Result<Self> {
        if len == 0 || page_offset(phys) != 0 || page_offset(len) != 0 {
            return Err(EINVAL);
        }
        // INVARIANT: The length and alignment were just checked.
        Ok(Self { phys, len })
    }

    /// Returns the length in bytes. It is not 0.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Maps all of the memory, uncached, to a VMA that is being set up. The VMA and its copies hold
    /// `owner`.
    ///
    /// Returns `ENXIO` if the VMA has another length than the memory, and `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `owner` must be the object that offered the memory.
    pub(crate) unsafe fn map(&self, vma: &VmaNew, owner: SharedAny) -> Result {
        if to_u64(vma.end() - vma.start()) != self.len {
            return Err(ENXIO);
        }
        let record = Shared::pin_init(Ok(OwnerRecord { _owner: owner }), GFP_KERNEL_ACCOUNT)?;
        let raw = vma.as_ptr();
        // SAFETY:
        // - `VmaNew` is a VMA that is being set up, and has the length of the memory, as was
        //   checked above.
        // - `owner` keeps the memory until the last VMA is closed: the record that is stored below
        //   has it.
        // - If this fails the kernel unmaps what was mapped.
        to_result(unsafe {
            bindings::iommufd_rs_map_uncached(raw, to_usize(self.phys >> PAGE_SHIFT))
        })?;
        // SAFETY: `VmaNew` is a VMA that is being set up, so no other task uses these fields.
        unsafe {
            // As the C module does: the offset in the file has no meaning any more.
            (*raw).vm_pgoff = 0;
            (*raw).vm_private_data = record.into_raw();
            (*raw).vm_ops = &OPS;
        }
        Ok(())
    }
}

/// Returns the byte of the file at which a mapping begins that is being set up. Returns `None` if
/// it does not fit in 64 bits.
pub(crate) fn offset(vma: &VmaNew) -> Option<u64> {
    // SAFETY: `VmaNew` is a VMA that is being set up, so no other task changes the field.
    let pages = unsafe { (*vma.as_ptr()).vm_pgoff };
    to_u64(pages).checked_mul(PAGE_SIZE)
}

const OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
    open: Some(open),
    close: Some(close),
    ..pin_init::zeroed()
};

/// # Safety
///
/// As for `open` of `struct vm_operations_struct`. `vma` must be a copy of a VMA that
/// [`DeviceMemory::map`] has set up.
unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
    // SAFETY: The kernel copied the pointer from a VMA that is not closed during this call, and
    // that VMA has a reference to the record.
    let record = unsafe { Shared::<OwnerRecord>::borrow_raw((*vma).vm_private_data) };
    // The copy takes this reference over.
    (*record).clone().into_raw();
}

/// # Safety
///
/// As for `close` of `struct vm_operations_struct`. [`DeviceMemory::map`] must have set up `vma`,
/// or [`open`] must have been called for it.
unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
    // SAFETY: `map` or `open` gave the VMA a reference, and the kernel closes a VMA once.
    drop(unsafe { Shared::<OwnerRecord>::from_raw((*vma).vm_private_data) });
}
