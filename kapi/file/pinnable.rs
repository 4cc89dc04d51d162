// SPDX-License-Identifier: GPL-2.0-only

//! Files whose pages can be pinned.
//!
//! C headers: `include/linux/file.h`, `include/linux/fs.h`.

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::ffi::bindings;

/// A counted reference to a file on shmem or hugetlbfs, whose pages `memfd_pin_folios()` can pin.
pub(crate) struct PinnableFile(NonNull<bindings::file>);

// SAFETY: A `struct file` may be used and put from any task; nothing here touches its position.
unsafe impl Send for PinnableFile {}
// SAFETY: As above.
unsafe impl Sync for PinnableFile {}

impl PinnableFile {
    /// Looks up a descriptor of the caller. `EBADF` where there is none, `EINVAL` for a file that
    /// cannot be pinned.
    pub(crate) fn get(fd: i32) -> Result<Self> {
        // SAFETY: It looks the descriptor up in the caller's table; negative numbers are in none.
        let file = unsafe { bindings::fget(fd as u32) };
        let file = Self(NonNull::new(file).ok_or(EBADF)?);
        // SAFETY: The file is alive.
        if unsafe { bindings::iommufd_rs_file_is_memfd_like(file.as_ptr()) } {
            Ok(file)
        } else {
            Err(EINVAL)
        }
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }
}

impl Drop for PinnableFile {
    fn drop(&mut self) {
        // SAFETY: The reference is ours to give back.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}
