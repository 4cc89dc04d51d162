// SPDX-License-Identifier: GPL-2.0-only

//! Values that an open file owns, and that are referenced by referencing the file.
//!
//! The last reference may be dropped under locks of other subsystems. The value is not dropped
//! then: `fput()` defers the release of the file, in a system call until the task returns to user
//! space, elsewhere to a workqueue. While the file exists it also keeps the module loaded that owns
//! its operations.
//!
//! C header: [`include/linux/file.h`](srctree/include/linux/file.h)

use core::{
    ffi::c_void,
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::sync::raw_ref::RawRef, //
};

#[pin_data]
struct Inner<T> {
    file: *mut bindings::file,
    #[pin]
    value: T,
}

/// A reference to a value that an open file owns. It counts as a reference to the file.
///
/// # Invariants
///
/// `ptr` is the private data of the file that it names, set by [`FileRef::open`]. One of the file's
/// references is owned by this one.
pub(crate) struct FileRef<T> {
    ptr: NonNull<Inner<T>>,
    _value: PhantomData<Inner<T>>,
}

// SAFETY:
// - The owner of a reference may use `&T` in any task, hence `T: Sync`.
// - Any task may put the last reference, which releases the file and drops `T`, hence `T: Send`.
unsafe impl<T: Send + Sync> Send for FileRef<T> {}
// SAFETY: By a `&FileRef<T>` nothing can be done that cannot be done by sending a clone of it.
unsafe impl<T: Send + Sync> Sync for FileRef<T> {}

impl<T> FileRef<T> {
    /// Gives a file that is being opened its value. Returns `ENOMEM`, or what `init` fails with.
    ///
    /// # Safety
    ///
    /// Must be called by `open` of the file's operations, whose `release` calls
    /// [`FileRef::<T>::release`](Self::release). The private data must be used by nobody else.
    pub(crate) unsafe fn open(file: *mut bindings::file, init: impl PinInit<T, Error>) -> Result {
        let inner = KBox::try_pin_init(
            try_pin_init!(Inner {
                file,
                value <- init,
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        // SAFETY: The value is not moved before `release` drops it: only `&T` is given out.
        let raw = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
        // SAFETY: By the safety requirements the field is the caller's to set.
        unsafe { (*file).private_data = raw.cast() };
        Ok(())
    }

    /// Drops the value of a file that is being released.
    ///
    /// # Safety
    ///
    /// Must be called by `release` of the operations, for a file whose `open` has returned success
    /// from [`FileRef::<T>::open`](Self::open).
    pub(crate) unsafe fn release(file: *mut bindings::file) {
        // SAFETY: By the safety requirements it is what `open` has stored.
        let inner: *mut Inner<T> = unsafe { (*file).private_data.cast() };
        // SAFETY:
        // - `open` has it from `KBox::into_raw`.
        // - The file has no references any more, so by the invariant there is no `FileRef`.
        drop(unsafe { KBox::from_raw(inner) });
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: By the invariant the file has not been released, so the value exists.
        unsafe { self.ptr.as_ref() }
    }
}

/// The pointer is the private data that [`FileRef::open`] has set.
impl<T> RawRef for FileRef<T> {
    fn as_raw(&self) -> *mut c_void {
        self.ptr.as_ptr().cast()
    }

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        // INVARIANT: The private data of a file is what `as_raw` of a reference to it returns. The
        // caller's reference is given away.
        Self {
            // SAFETY: The private data is the address of an allocation.
            ptr: unsafe { NonNull::new_unchecked(raw.cast()) },
            _value: PhantomData,
        }
    }
}

impl<T> Clone for FileRef<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the invariant the file has a reference.
        unsafe { bindings::iommufd_rs_get_file(self.inner().file) };
        // INVARIANT: The file's reference that was just taken belongs to the clone.
        Self {
            ptr: self.ptr,
            _value: PhantomData,
        }
    }
}

impl<T> Deref for FileRef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T> Drop for FileRef<T> {
    fn drop(&mut self) {
        let file = self.inner().file;
        // SAFETY: By the invariant one of the file's references is ours.
        unsafe { bindings::fput(file) };
    }
}
