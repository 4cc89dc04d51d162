// SPDX-License-Identifier: GPL-2.0-only

//! Counted references that C code holds as pointers.
//!
//! Fit for `rust/kernel/types.rs`. The kernel crate's `ForeignOwnable` has no borrowed pointers to
//! something that C code does not own: an object that Rust code refers to as well, or the private
//! data of a file.

use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref, //
};

/// A counted reference that C code can hold as a pointer to an opaque type.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::{raw_ref::RawRef, shared::Shared};
///
/// let raw = Shared::pin_init(Ok(7_u32), GFP_KERNEL)?.into_raw();
/// {
///     // SAFETY: `raw` is of `into_raw`, and the reference behind it exists during the borrow.
///     let borrowed = unsafe { Shared::<u32>::borrow_raw(raw) };
///     assert_eq!((**borrowed, borrowed.ref_count()), (7, 1));
/// }
/// // SAFETY: `raw` is of `into_raw`, and is not used any more.
/// drop(unsafe { Shared::<u32>::from_raw(raw) });
/// # Ok::<(), Error>(())
/// ```
pub(crate) trait RawRef: Sized {
    /// Returns the pointer that [`RawRef::into_raw`] would return. The reference stays with `self`.
    fn as_raw(&self) -> *mut c_void;

    /// Takes a reference over from C code.
    ///
    /// # Safety
    ///
    /// `raw` must be a pointer that [`as_raw`](Self::as_raw) of a reference to the value returns.
    /// The caller must own a counted reference to the value, which is given away.
    unsafe fn from_raw(raw: *mut c_void) -> Self;

    /// Returns the reference as a pointer for C code, which takes it over.
    fn into_raw(self) -> *mut c_void {
        ManuallyDrop::new(self).as_raw()
    }

    /// Borrows the reference behind a pointer of C code.
    ///
    /// # Safety
    ///
    /// `raw` must be as for [`from_raw`](Self::from_raw), and a counted reference to the value must
    /// exist until the end of `'a`.
    unsafe fn borrow_raw<'a>(raw: *mut c_void) -> BorrowedRef<'a, Self> {
        BorrowedRef {
            // SAFETY:
            // - The caller guarantees that the pointer is what `from_raw` takes.
            // - The reference that exists during `'a` stands for this one, which is not dropped.
            reference: ManuallyDrop::new(unsafe { Self::from_raw(raw) }),
            _lifetime: PhantomData,
        }
    }
}

/// A reference that is borrowed from C code. It is cloned like any other, and not dropped.
pub(crate) struct BorrowedRef<'a, R> {
    reference: ManuallyDrop<R>,
    _lifetime: PhantomData<&'a ()>,
}

impl<R> Deref for BorrowedRef<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.reference
    }
}
