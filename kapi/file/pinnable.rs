// SPDX-License-Identifier: GPL-2.0-only

//! Files whose pages can be pinned.
//!
//! C headers: [`include/linux/file.h`](srctree/include/linux/file.h),
//! [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::ffi::bindings;

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
use kernel::error::from_err_ptr;

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
use crate::kapi::units::{
    to_isize,
    PAGE_SHIFT, //
};

/// A counted reference to a file on shmem or hugetlbfs, the pages of which `memfd_pin_folios()` can
/// pin.
///
/// # Invariants
///
/// The reference is counted.
pub(crate) struct PinnableFile(NonNull<bindings::file>);

// SAFETY: Any task may use a file, whose position is not used here, and put a reference to it.
unsafe impl Send for PinnableFile {}
// SAFETY: Any task may use a file, whose position is not used here.
unsafe impl Sync for PinnableFile {}

impl PinnableFile {
    /// Returns the file of a descriptor of the current process. Returns `EBADF` if there is none,
    /// and `EINVAL` if its pages cannot be pinned.
    pub(crate) fn get(fd: i32) -> Result<Self> {
        // SAFETY: The function accepts any number, also that of a negative descriptor, which is
        // none.
        let file = unsafe { bindings::fget(fd as u32) };
        // INVARIANT: fget() has counted a reference for us.
        let file = Self(NonNull::new(file).ok_or(EBADF)?);
        // SAFETY: By the type invariants there is a reference to the file.
        if unsafe { bindings::iommufd_rs_file_is_memfd_like(file.as_ptr()) } {
            Ok(file)
        } else {
            Err(EINVAL)
        }
    }

    /// Returns the size of the file's pages in bytes, which is a power of two: that of a huge page
    /// for hugetlbfs. Folios of shmem may be larger.
    pub(crate) fn block_size(&self) -> u64 {
        // SAFETY: By the type invariants there is a reference to the file, which holds the inode.
        1 << unsafe { bindings::iommufd_rs_file_block_bits(self.as_ptr()) }.min(63)
    }

    /// Returns a pointer to the C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }
}

impl Drop for PinnableFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the reference is counted, and it is not used any more.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
impl PinnableFile {
    /// Creates a file on shmem that has `npages` pages.
    #[allow(
        dead_code,
        reason = "tests use it, which a kernel without KUnit leaves out"
    )]
    pub(in crate::kapi) fn shmem(npages: u64) -> Result<Self> {
        let size = to_isize(npages << PAGE_SHIFT) as bindings::loff_t;
        // SAFETY: The function accepts any size.
        let file = from_err_ptr(unsafe { bindings::iommufd_rs_shmem_file(size) })?;
        // INVARIANT: The function has counted a reference for us.
        Ok(Self(NonNull::new(file).ok_or(ENOMEM)?))
    }
}
