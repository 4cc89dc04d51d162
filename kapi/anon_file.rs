// SPDX-License-Identifier: GPL-2.0-only

//! Files that stand for a value and have no name.
//!
//! C header: `include/linux/anon_inodes.h`.

use crate::ffi::bindings;
use crate::kapi::shared::Shared;
use crate::kapi::shared::SharedAny;
use crate::kapi::this_module;
use core::any::Any;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

struct Fops(bindings::file_operations);

// SAFETY: Never written to.
unsafe impl Sync for Fops {}

static FOPS: Fops = Fops(bindings::file_operations {
    owner: this_module::as_ptr(),
    release: Some(release),
    // SAFETY: All zeroes are valid file operations.
    ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
});

/// # Safety
///
/// As `release` of `struct file_operations`, for a file of [`new`].
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `new` put it there, and the file is used by nobody any more.
    drop(unsafe { KBox::<SharedAny>::from_raw((*file).private_data.cast()) });
    0
}

/// Makes a file that holds `value`. `name` shows in /proc. `ENOMEM`, `ENFILE`.
pub(crate) fn new<T: Any + Send + Sync>(name: &CStr, value: Shared<T>) -> Result<ARef<File>> {
    let data = KBox::new(value.erase(), GFP_KERNEL_ACCOUNT)?;
    let data = KBox::into_raw(data);
    // SAFETY: The name is copied, the operations are static, the data are theirs.
    let file = from_err_ptr(unsafe {
        bindings::anon_inode_getfile(
            name.as_char_ptr(),
            &FOPS.0,
            data.cast(),
            bindings::O_RDWR as c_int,
        )
    });
    match file {
        // SAFETY: A new file whose only reference is ours, and whose position nobody uses.
        Ok(file) => Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) }),
        Err(error) => {
            // SAFETY: It came from `KBox::into_raw`, and no file has it.
            drop(unsafe { KBox::from_raw(data) });
            Err(error)
        }
    }
}

/// What the file with a descriptor of the caller's stands for. `EBADFD` where there is no such file
/// or it stands for something else.
pub(crate) fn get<T: Any + Send + Sync>(fd: u32) -> Result<Shared<T>> {
    // SAFETY: It looks the descriptor up in the caller's table.
    let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADFD)?;
    // SAFETY: `fget` returned a live file, which is put only after its use; both fields are set
    // before it is visible, and a file with these operations has such data.
    let value = unsafe {
        let raw = file.as_ptr();
        let ours = core::ptr::eq((*raw).f_op, &FOPS.0);
        let value = ours.then(|| (*(*raw).private_data.cast::<SharedAny>()).clone());
        bindings::fput(raw);
        value
    };
    value.ok_or(EBADFD)?.downcast().map_err(|_| EBADFD)
}
