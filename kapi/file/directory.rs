// SPDX-License-Identifier: GPL-2.0-only

//! Directories of debugfs, whose files have operations of this module.
//!
//! The operations must have an owner. The kernel crate's have none, although they are code of the
//! module that makes the file: it can be unloaded while one is open, and closing the file then calls
//! what is not there any more.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use core::ffi::c_void;

use kernel::prelude::*;

use crate::ffi::bindings;

/// A directory of debugfs. Dropping it removes it and its files, and waits for who reads or writes
/// one.
pub(super) struct Directory(*mut bindings::dentry);

// SAFETY: A directory may be removed by any task.
unsafe impl Send for Directory {}
// SAFETY: Files are made in it by tasks that have a reference, which debugfs allows at once.
unsafe impl Sync for Directory {}

impl Directory {
    /// Makes a directory at the top of debugfs. Returns the errors of debugfs.
    pub(super) fn at_top(name: &CStr) -> Result<Self> {
        // SAFETY: No parent is the top of debugfs.
        unsafe { Self::new(name, core::ptr::null_mut()) }
    }

    /// Makes a directory in the one that is called `parent`, which is at the top of debugfs.
    /// Returns `ENOENT` if there is none, and the errors of debugfs. Sleeps as long as somebody
    /// lists `parent`.
    pub(super) fn inside(parent: &CStr, name: &CStr) -> Result<Self> {
        // SAFETY: It looks a name up, from the top of debugfs.
        let parent =
            unsafe { bindings::debugfs_lookup(parent.as_char_ptr(), core::ptr::null_mut()) };
        if parent.is_null() {
            return Err(ENOENT);
        }
        // SAFETY: `debugfs_lookup` has returned a reference to the directory.
        let directory = unsafe { Self::new(name, parent) };
        // SAFETY: The reference that `debugfs_lookup` has returned is not used any more.
        unsafe { bindings::dput(parent) };
        directory
    }

    /// # Safety
    ///
    /// `parent` must be a directory of debugfs to which the caller has a reference, or NULL.
    unsafe fn new(name: &CStr, parent: *mut bindings::dentry) -> Result<Self> {
        // SAFETY: The caller guarantees what the parent is.
        let dentry = unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), parent) };
        Ok(Self(kernel::error::from_err_ptr(dentry)?))
    }

    /// Makes a file. Does nothing if debugfs has no memory for it.
    ///
    /// # Safety
    ///
    /// `operations` must want `data` as the private data of the file's inode, and `data` must remain
    /// what they want until the directory has been dropped.
    pub(super) unsafe fn file(
        &self,
        name: &CStr,
        mode: u16,
        data: *mut c_void,
        operations: &'static bindings::file_operations,
    ) {
        // SAFETY:
        // - The directory exists until `drop`.
        // - The caller guarantees what the operations want, and they are static.
        unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                mode,
                self.0,
                data,
                core::ptr::null(),
                operations,
            )
        };
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: `new` has made the directory, and nothing else removes it or its files.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}
