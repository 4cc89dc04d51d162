// SPDX-License-Identifier: GPL-2.0-only

//! Files of debugfs by which root turns something on and off.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

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
    kapi::file::directory::Directory,
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
pub(crate) struct SwitchDir(Directory);

impl SwitchDir {
    /// Makes a directory. Returns the errors of debugfs.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        Ok(Self(Directory::at_top(name)?))
    }

    /// Makes the file of a switch, for root. Does nothing if debugfs has no memory for it.
    pub(crate) fn file<S: Switch>(&self, name: &CStr) {
        // SAFETY: The operations want no private data.
        unsafe {
            self.0
                .file(name, 0o600, core::ptr::null_mut(), Ops::<S>::FILE)
        };
    }
}
