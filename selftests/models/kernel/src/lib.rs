// SPDX-License-Identifier: GPL-2.0-only

//! A stand-in for the kernel crate, for models of concurrency.
//!
//! Names, signatures and semantics are those of Linux 7.3's `rust/kernel`, as far as the files under
//! test use them. Locks and reference counts are loom's. Memory, errors and trees are those of
//! `selftests/host/kernel`. Values are not pinned: nothing here depends on its address.

pub mod alloc;
pub mod init;
pub mod mm;
pub mod sync;
pub mod task;
pub mod uaccess;

pub use core::fmt;
pub use host::{
    error,
    page,
    rbtree, //
};

/// Strings as C has them.
pub mod str {
    pub use core::ffi::CStr;
}

/// What the crate of that name has besides the macro, which is in the same place.
pub mod pin_init {
    use crate::init::PinInit;

    /// Makes a value in its place.
    ///
    /// # Safety
    ///
    /// `place` must be memory for a value.
    pub unsafe fn raw_try_init<T, E>(place: *mut T, init: impl PinInit<T, E>) -> Result<(), E> {
        // SAFETY: The caller says that it is memory for the value.
        unsafe { place.write(init.make()?) };
        Ok(())
    }
}

/// Views of values as bytes.
pub mod transmute {
    /// A type without padding.
    ///
    /// # Safety
    ///
    /// Every byte of a value must be initialised.
    pub unsafe trait AsBytes {
        /// Returns the bytes of the value.
        fn as_bytes(&self) -> &[u8] {
            // SAFETY: By the promise of the trait all bytes are initialised.
            unsafe {
                core::slice::from_raw_parts(
                    core::ptr::from_ref(self).cast(),
                    core::mem::size_of_val(self),
                )
            }
        }
    }

    // SAFETY: The bytes of the elements are initialised, and there are no others.
    unsafe impl<T: AsBytes> AsBytes for [T] {}
}

/// Names a class of locks for lockdep, which the stand-in does not have.
#[macro_export]
macro_rules! static_lock_class {
    () => {
        ()
    };
}

/// Fails, because nothing that is modelled logs an error.
#[doc(hidden)]
pub fn logged(message: &str) {
    panic!("an error is logged: {message}");
}

/// Logs an error.
#[macro_export]
macro_rules! pr_err {
    ($message:literal) => {
        $crate::logged($message)
    };
}

/// The names that kernel code imports by default.
pub mod prelude {
    pub use crate::{
        current,
        init::{
            KBox,
            PinInit, //
        },
        pin_init,
        pr_err,
        str::CStr,
        try_pin_init, //
    };
    pub use core::ffi::c_int;
    pub use host::prelude::*;
    pub use macros::{
        pin_data,
        pinned_drop, //
    };
}
