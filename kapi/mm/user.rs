// SPDX-License-Identifier: GPL-2.0-only

//! The argument of an extensible ioctl: a struct that begins with its own size.
//!
//! C header: `include/linux/uaccess.h` (`copy_struct_from_user`).

use core::mem::MaybeUninit;

use kernel::{
    error::to_result,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::UserSlice, //
};

use crate::{
    ffi::bindings,
    kapi::mm::retry_faults::UserRange, //
};

/// No struct of the user API is larger.
const MAX_SIZE: usize = 4096;

/// A struct in user memory, of the size that its first `u32` says.
pub(crate) struct UserStruct {
    ptr: UserPtr,
    size: u32,
}

impl UserStruct {
    /// Reads the size. `EFAULT`.
    pub(crate) fn new(ptr: UserPtr) -> Result<Self> {
        let mut size = 0;
        // SAFETY: It reads user memory only, and says where it could not.
        to_result(unsafe {
            bindings::iommufd_rs_get_user_u32(&mut size, ptr.as_const_ptr().cast())
        })?;
        Ok(Self { ptr, size })
    }

    /// The struct at `ptr`, whose size was read before.
    pub(crate) fn with_size(ptr: UserPtr, size: u32) -> Self {
        Self { ptr, size }
    }

    /// How many bytes the caller says the struct has.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Returns where [`UserStruct::write`] writes to.
    pub(crate) fn range(&self) -> UserRange {
        UserRange::write(self.ptr, (self.size as usize).min(MAX_SIZE))
    }

    /// Reads the struct. What an older caller leaves out is zero; `E2BIG` where a newer caller's
    /// additional bytes are not, `EFAULT`.
    pub(crate) fn read<T: FromBytes>(&self) -> Result<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` has room for `size_of::<T>()` bytes.
        to_result(unsafe {
            bindings::iommufd_rs_copy_struct_from_user(
                value.as_mut_ptr().cast(),
                size_of::<T>(),
                self.ptr.as_const_ptr(),
                self.size as usize,
            )
        })?;
        // SAFETY: Every byte was set, and any bytes make a `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Writes the struct back, as much of it as the caller has room for. `EFAULT`.
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> Result {
        const { assert!(size_of::<T>() <= MAX_SIZE) };
        let bytes = value.as_bytes();
        let len = bytes.len().min(self.size as usize);
        // PANIC: `len` is at most the length.
        UserSlice::new(self.ptr, len)
            .writer()
            .write_slice(&bytes[..len])
    }
}

/// Sets `len` bytes from `ptr` to zero. `EFAULT`.
pub(crate) fn clear(ptr: UserPtr, len: usize) -> Result {
    // SAFETY: It writes to user memory only, and says how much it could not.
    if unsafe { bindings::iommufd_rs_clear_user(ptr.as_mut_ptr(), len) } == 0 {
        Ok(())
    } else {
        Err(EFAULT)
    }
}

/// The user address in a 64-bit field.
pub(crate) fn ptr(addr: u64) -> UserPtr {
    UserPtr::from_addr(addr as usize)
}
