// SPDX-License-Identifier: GPL-2.0-only

//! Arguments of extensible ioctls: structs that begin with their own size.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)
//! (`copy_struct_from_user()`)

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
    kapi::{
        bug::debug_warn_on_once,
        mm::retry_faults::UserRange,
        reason::{
            self,
            Reason, //
        }, //
    }, //
};

/// No struct of the user API is larger, in bytes.
pub(crate) const MAX_SIZE: usize = 4096;

/// A struct in user memory, together with the size that its first `u32` has named.
///
/// # Examples
///
/// ```
/// use crate::kapi::{mm::user::UserStruct, uapi};
///
/// /// An ioctl that answers with an id.
/// fn ioctl(arg: UserPtr) -> Result {
///     let user = UserStruct::new(arg)?;
///     let mut cmd: uapi::IoasAlloc = user.read()?;
///     if cmd.flags != 0 {
///         return Err(EOPNOTSUPP);
///     }
///     cmd.out_ioas_id = 1;
///     Ok(user.write(&cmd)?)
/// }
///
/// // There is no user memory at that address.
/// assert_eq!(ioctl(UserPtr::from_addr(usize::MAX)), Err(EFAULT));
/// ```
pub(crate) struct UserStruct {
    ptr: UserPtr,
    size: u32,
}

impl UserStruct {
    /// Reads the size of the struct at `ptr`. Returns `EFAULT` if it cannot be read.
    pub(crate) fn new(ptr: UserPtr) -> reason::Result<Self> {
        let mut size = 0;
        // SAFETY: `size` can be written, and the function accepts any user address.
        result_of(unsafe {
            bindings::iommufd_rs_get_user_u32(&mut size, ptr.as_const_ptr().cast())
        })?;
        Ok(Self { ptr, size })
    }

    /// Returns the struct at `ptr`, the size of which has been read before.
    pub(crate) fn with_size(ptr: UserPtr, size: u32) -> Self {
        Self { ptr, size }
    }

    /// Returns the size of the struct in bytes, as the caller of the ioctl sees it.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Returns the range to which [`UserStruct::write_field`] writes the field at byte `offset`.
    pub(crate) fn field_range(&self, offset: usize) -> UserRange {
        UserRange::write(self.ptr.wrapping_byte_add(offset), size_of::<u64>())
    }

    /// Returns the range to which [`UserStruct::write`] writes a `T`.
    pub(crate) fn range<T>(&self) -> UserRange {
        UserRange::write(self.ptr, (self.size as usize).min(size_of::<T>()))
    }

    /// Reads the struct. Fields that an older caller does not have are zero.
    ///
    /// Returns `E2BIG` if fields that only a newer caller has are not zero, and `EFAULT` if the
    /// struct cannot be read.
    pub(crate) fn read<T: FromBytes>(&self) -> reason::Result<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` has room for `size_of::<T>()` bytes, and the function accepts any user
        // address.
        result_of(unsafe {
            bindings::iommufd_rs_copy_struct_from_user(
                value.as_mut_ptr().cast(),
                size_of::<T>(),
                self.ptr.as_const_ptr(),
                self.size as usize,
            )
        })
        .map_err(|error| match error {
            E2BIG => Reason::CommandTooLong.with(self.size.into()),
            error => error.into(),
        })?;
        // SAFETY: iommufd_rs_copy_struct_from_user() has set all bytes, and any bytes are a `T`: it is
        // `FromBytes`.
        Ok(unsafe { value.assume_init() })
    }

    /// Writes one field of the struct, which the caller's must have. Returns `EFAULT` if it cannot be
    /// written. For an answer that is one field this is cheaper than [`UserStruct::write`].
    #[inline]
    pub(crate) fn write_field<T>(&self, value: &T, field: fn(&T) -> &u64) -> reason::Result {
        let field = field(value);
        let start = core::ptr::from_ref(value).addr();
        let offset = core::ptr::from_ref(field).addr().wrapping_sub(start);
        debug_warn_on_once!(offset.saturating_add(size_of::<u64>()) > self.size as usize);
        let at = self.ptr.wrapping_byte_add(offset);
        // SAFETY: The function accepts any user address.
        Ok(result_of(unsafe {
            bindings::iommufd_rs_put_user_u64(*field, at.as_mut_ptr().cast())
        })?)
    }

    /// Writes the struct, or as much of it as the caller has room for. Returns `EFAULT` if it
    /// cannot be written.
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> reason::Result {
        const { assert!(size_of::<T>() <= MAX_SIZE) };
        let bytes = value.as_bytes();
        let len = bytes.len().min(self.size as usize);
        // PANIC: `len` is at most the length.
        Ok(UserSlice::new(self.ptr, len)
            .writer()
            .write_slice(&bytes[..len])?)
    }
}

/// As [`to_result`], which is not inlined.
#[inline]
fn result_of(rc: c_int) -> Result {
    if rc == 0 {
        Ok(())
    } else {
        to_result(rc)
    }
}

/// Sets `len` bytes of user memory from `ptr` to zero. Returns `EFAULT` if they cannot be written.
pub(crate) fn clear(ptr: UserPtr, len: usize) -> Result {
    // SAFETY: The function accepts any user address.
    if unsafe { bindings::iommufd_rs_clear_user(ptr.as_mut_ptr(), len) } == 0 {
        Ok(())
    } else {
        Err(EFAULT)
    }
}

/// Returns the user address in a 64-bit field of the user API.
pub(crate) fn ptr(addr: u64) -> UserPtr {
    UserPtr::from_addr(addr as usize)
}
