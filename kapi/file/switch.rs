// SPDX-License-Identifier: GPL-2.0-only

//! Files of debugfs by which root turns something on and off.
//!
//! The kernel crate's debugfs makes files without an owner, whose operations are nevertheless code of
//! the module that makes them: it can be unloaded while one is open, and closing the file then calls
//! what is not there any more. These files count as users of the module.
//!
//! C headers: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h),
//! [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData, //
};

use kernel::{
    module::this_module,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    LocalModule, //
};

/// What is on or off. Files say so by 1 or 0, and are told so.
pub(crate) trait Switch: 'static {
    /// Returns whether it is on.
    fn is_on() -> bool;

    /// Turns it on or off. May sleep.
    fn turn(on: bool);
}

/// The operations of a switch's file.
struct Ops<S>(PhantomData<S>);

impl<S: Switch> Ops<S> {
    const FILE: &'static bindings::file_operations = &bindings::file_operations {
        owner: this_module::<LocalModule>().as_ptr(),
        open: Some(Self::open),
        read: Some(bindings::simple_attr_read),
        write: Some(bindings::simple_attr_write),
        release: Some(bindings::simple_attr_release),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Must be called by debugfs for a file with these operations.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        let format = c"%llu\n".as_char_ptr();
        // SAFETY:
        // - The file is being opened, and its other operations are those of this kind of files.
        // - The format is static, and has one number.
        unsafe { bindings::simple_attr_open(inode, file, Some(Self::get), Some(Self::set), format) }
    }

    /// # Safety
    ///
    /// Must be called by `simple_attr_read()`.
    unsafe extern "C" fn get(_data: *mut c_void, value: *mut u64) -> c_int {
        // SAFETY: `value` is a variable of the caller.
        unsafe { *value = u64::from(S::is_on()) };
        0
    }

    /// # Safety
    ///
    /// Must be called by `simple_attr_write()`.
    unsafe extern "C" fn set(_data: *mut c_void, value: u64) -> c_int {
        match value {
            0 => S::turn(false),
            1 => S::turn(true),
            _ => return EINVAL.to_errno(),
        }
        0
    }
}

/// A directory at the top of debugfs, with a file for each switch. Dropping it removes both, and
/// waits for who reads or writes a file.
pub(crate) struct SwitchDir(*mut bindings::dentry);

// SAFETY: A directory may be removed by any task.
unsafe impl Send for SwitchDir {}
// SAFETY: Files are made in it by tasks that have a reference, which debugfs allows at once.
unsafe impl Sync for SwitchDir {}

impl SwitchDir {
    /// Makes a directory. Returns the errors of debugfs.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is valid during the call; no parent is the top of debugfs.
        let dentry =
            unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), core::ptr::null_mut()) };
        Ok(Self(kernel::error::from_err_ptr(dentry)?))
    }

    /// Makes the file of a switch, for root. Does nothing if debugfs has no memory for it.
    pub(crate) fn file<S: Switch>(&self, name: &CStr) {
        // SAFETY:
        // - The directory exists until `drop`.
        // - The operations are static, and want no private data.
        unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                0o600,
                self.0,
                core::ptr::null_mut(),
                core::ptr::null(),
                Ops::<S>::FILE,
            )
        };
    }
}

impl Drop for SwitchDir {
    fn drop(&mut self) {
        // SAFETY: `new` has made the directory, and nothing else removes it or its files.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}
