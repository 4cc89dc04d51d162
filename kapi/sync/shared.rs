// SPDX-License-Identifier: GPL-2.0-only

//! Reference counted values whose owner may ask whether it is the only one.
//!
//! [`Shared`] differs from the kernel crate's `Arc` in two ways: [`Shared::ref_count`] tells how
//! many references there are, which an owner that hands out every new reference under a lock of its
//! own can act upon; and a value's type can be forgotten and found again ([`Shared::erase`],
//! [`Shared::downcast`]).

use core::{
    any::Any,
    ffi::c_void,
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::ordering::Acquire,
        Refcount, //
    }, //
};

#[pin_data]
#[repr(C)]
struct Inner<T: ?Sized> {
    count: Refcount,
    #[pin]
    value: T,
}

/// A counted reference to a pinned `T` on the heap.
///
/// # Invariants
///
/// `ptr` came from a `KBox<Inner<T>>`, and one of the references that its `count` counts is ours.
pub(crate) struct Shared<T: ?Sized> {
    ptr: NonNull<Inner<T>>,
    _owns: PhantomData<Inner<T>>,
}

/// A [`Shared`] whose type is known at run time only.
pub(crate) type SharedAny = Shared<dyn Any + Send + Sync>;

// SAFETY: Any owner of a reference may use `&T`, hence `T: Sync`, and the last one drops `T`, hence
// `T: Send`.
unsafe impl<T: ?Sized + Send + Sync> Send for Shared<T> {}
// SAFETY: As above; `&Shared<T>` can be cloned.
unsafe impl<T: ?Sized + Send + Sync> Sync for Shared<T> {}

// The value is pinned, not the reference to it.
impl<T: ?Sized> Unpin for Shared<T> {}

impl<T> Shared<T> {
    /// Makes the first reference to a new value. `ENOMEM`, or what `init` fails with.
    pub(crate) fn pin_init(init: impl PinInit<T, Error>, flags: Flags) -> Result<Self> {
        let inner = KBox::try_pin_init(
            try_pin_init!(Inner {
                count: Refcount::new(1),
                value <- init,
            }? Error),
            flags,
        )?;
        // SAFETY: The value stays where it is until `drop` frees it: `Shared` gives out `&T` only.
        let raw = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
        // SAFETY: `KBox::into_raw` never returns NULL.
        let ptr = unsafe { NonNull::new_unchecked(raw) };
        // INVARIANT: The count is one, and that one is ours.
        Ok(Self {
            ptr,
            _owns: PhantomData,
        })
    }

    /// Hands the reference to C code as an opaque pointer.
    pub(crate) fn into_raw(self) -> *mut c_void {
        let raw = self.ptr.as_ptr().cast();
        core::mem::forget(self);
        raw
    }

    /// The pointer that [`Shared::into_raw`] would return, without a reference in it.
    pub(crate) fn as_raw(&self) -> *mut c_void {
        self.ptr.as_ptr().cast()
    }

    /// Takes back a reference from C code.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Shared::<T>::into_raw`](Self::into_raw) and was not taken back before.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> Self {
        // INVARIANT: The reference that `into_raw` gave away is ours again.
        Self {
            // SAFETY: `into_raw` returns a pointer that came from a `NonNull`.
            ptr: unsafe { NonNull::new_unchecked(raw.cast()) },
            _owns: PhantomData,
        }
    }

    /// Borrows what a raw pointer refers to.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Shared::<T>::into_raw`](Self::into_raw) and is not taken back during `'a`.
    pub(crate) unsafe fn borrow_raw<'a>(raw: *mut c_void) -> BorrowedShared<'a, T> {
        // SAFETY: The reference stays with C code: the copy made here is never dropped.
        let shared = core::mem::ManuallyDrop::new(unsafe { Self::from_raw(raw) });
        BorrowedShared {
            shared,
            _lifetime: PhantomData,
        }
    }
}

impl<T> Shared<T> {
    /// Borrows a value, but no reference: it may be about to go.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Shared::<T>::into_raw`](Self::into_raw) or [`as_raw`](Self::as_raw), and
    /// the value is whole until the end of `'a`. Its drop may have begun.
    pub(crate) unsafe fn borrow_value<'a>(raw: *mut c_void) -> &'a T {
        let inner: *mut Inner<T> = raw.cast();
        // SAFETY: The caller's promise.
        unsafe { &(*inner).value }
    }
}

/// A [`Shared`] that somebody else keeps alive during `'a`.
pub(crate) struct BorrowedShared<'a, T> {
    shared: core::mem::ManuallyDrop<Shared<T>>,
    _lifetime: PhantomData<&'a T>,
}

impl<T> Deref for BorrowedShared<'_, T> {
    type Target = Shared<T>;

    fn deref(&self) -> &Shared<T> {
        &self.shared
    }
}

impl<T: Any + Send + Sync> Shared<T> {
    /// Forgets the type.
    pub(crate) fn erase(self) -> SharedAny {
        let raw: *mut Inner<dyn Any + Send + Sync> = self.ptr.as_ptr();
        core::mem::forget(self);
        // INVARIANT: The same allocation and the same reference, by a pointer that knows less.
        Shared {
            // SAFETY: It came from a `NonNull`.
            ptr: unsafe { NonNull::new_unchecked(raw) },
            _owns: PhantomData,
        }
    }
}

impl SharedAny {
    /// Finds the type again, or gives the reference back where it is another one.
    pub(crate) fn downcast<T: Any + Send + Sync>(self) -> Result<Shared<T>, Self> {
        if !self.is::<T>() {
            return Err(self);
        }
        let ptr = self.ptr.cast();
        core::mem::forget(self);
        // INVARIANT: The value is a `T`, so the allocation is that of an `Inner<T>`.
        Ok(Shared {
            ptr,
            _owns: PhantomData,
        })
    }
}

impl<T: ?Sized> Shared<T> {
    /// How many references there are at this moment, ours included.
    ///
    /// An owner through which every new reference is made learns from 1 that it is alone, as long
    /// as it keeps its own reference from being cloned meanwhile. Everything that former owners of
    /// references did with the value has happened before.
    pub(crate) fn ref_count(&self) -> i32 {
        self.inner().count.as_atomic().load(Acquire)
    }

    /// Whether both refer to the same value.
    pub(crate) fn same<U: ?Sized>(&self, other: &Shared<U>) -> bool {
        self.ptr.cast::<()>() == other.ptr.cast::<()>()
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: By the invariant the allocation lives as long as our reference.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        self.inner().count.inc();
        // INVARIANT: The reference just counted belongs to the clone.
        Self {
            ptr: self.ptr,
            _owns: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: ?Sized> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.inner().count.dec_and_test() {
            // SAFETY: By the invariant this came from a `KBox`, and nobody else refers to it. The
            // value is dropped in place, as its pinning demands.
            drop(unsafe { KBox::from_raw(self.ptr.as_ptr()) });
        }
    }
}
