// SPDX-License-Identifier: GPL-2.0-only

//! Reference-counted values whose owner can read the count.
//!
//! [`Shared`] differs from the kernel crate's [`Arc`] in two ways. [`Shared::ref_count`] returns
//! the number of references, on which an owner can act that creates each new reference under a
//! lock. And the type of the value can be erased and recovered ([`Shared::erase`],
//! [`Shared::downcast`]).
//!
//! [`Arc`]: kernel::sync::Arc

use core::{
    any::Any,
    ffi::c_void,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    prelude::*,
    sync::{
        atomic::ordering::Acquire,
        Refcount, //
    }, //
};

use crate::kapi::sync::{
    raw_ref::RawRef,
    slab::SlabBox, //
};

#[pin_data]
#[repr(C)]
struct Inner<T: ?Sized> {
    count: Refcount,
    #[pin]
    value: T,
}

/// A counted reference to a pinned value on the heap.
///
/// # Invariants
///
/// `ptr` came from a `SlabBox<Inner<T>>`, which is freed when its `count` becomes 0. The reference is
/// counted.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::shared::Shared;
///
/// let first = Shared::pin_init(Ok(7_u32), GFP_KERNEL)?;
/// let second = first.clone();
/// assert_eq!(first.ref_count(), 2);
/// assert!(first.same(&second));
///
/// let erased = second.erase();
/// let erased = erased.downcast::<u64>().err().ok_or(EINVAL)?;
/// let second = erased.downcast::<u32>().map_err(|_| EINVAL)?;
/// drop(first);
/// assert_eq!((*second, second.ref_count()), (7, 1));
/// # Ok::<(), Error>(())
/// ```
pub(crate) struct Shared<T: ?Sized> {
    ptr: NonNull<Inner<T>>,
    _owns: PhantomData<Inner<T>>,
}

/// A [`Shared`] whose type has been erased.
pub(crate) type SharedAny = Shared<dyn Any + Send + Sync>;

// SAFETY: A reference that is sent gives `&T` to another task, hence `T: Sync`, and may be the last
// one, which drops `T` there, hence `T: Send`.
unsafe impl<T: ?Sized + Send + Sync> Send for Shared<T> {}
// SAFETY: `&Shared<T>` can be cloned, and the clone is a reference that is sent: see `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for Shared<T> {}

// The value is pinned. The reference to it is not.
impl<T: ?Sized> Unpin for Shared<T> {}

impl<T> Shared<T> {
    /// Allocates a value and returns the first reference to it. Returns `ENOMEM` if there is no
    /// memory, or the error of `init`.
    pub(crate) fn pin_init(init: impl PinInit<T, Error>, flags: Flags) -> Result<Self> {
        Self::try_pin_init(init, flags)
    }

    /// As [`Shared::pin_init`], for an `init` with another type of errors.
    pub(crate) fn try_pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E>
    where
        E: From<AllocError>,
    {
        let inner = SlabBox::try_pin_init(
            try_pin_init!(Inner {
                count: Refcount::new(1),
                value <- init,
            }? E),
            flags,
        )?;
        // SAFETY: The value is not moved until `drop` frees it, because `Shared` gives out `&T`
        // only.
        let raw = SlabBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
        // INVARIANT: It came from a `SlabBox`, and the count is 1.
        Ok(Self {
            // SAFETY: `SlabBox::into_raw` does not return a null pointer.
            ptr: unsafe { NonNull::new_unchecked(raw) },
            _owns: PhantomData,
        })
    }
}

impl<T> RawRef for Shared<T> {
    fn as_raw(&self) -> *mut c_void {
        self.ptr.as_ptr().cast()
    }

    unsafe fn from_raw(raw: *mut c_void) -> Self {
        // INVARIANT: The pointer is that of a reference. The caller's reference is counted, and is
        // given away.
        Self {
            // SAFETY: `as_raw` returns the address of an allocation.
            ptr: unsafe { NonNull::new_unchecked(raw.cast()) },
            _owns: PhantomData,
        }
    }
}

impl<T: Any + Send + Sync> Shared<T> {
    /// Erases the type.
    pub(crate) fn erase(self) -> SharedAny {
        let raw: *mut Inner<dyn Any + Send + Sync> = ManuallyDrop::new(self).ptr.as_ptr();
        // INVARIANT: It is the same allocation. The reference of `self`, which is not dropped,
        // passes to this one.
        Shared {
            // SAFETY: It came from a `NonNull`.
            ptr: unsafe { NonNull::new_unchecked(raw) },
            _owns: PhantomData,
        }
    }
}

impl SharedAny {
    /// Returns another reference, with the type, or `None` if the value is not a `T`.
    pub(crate) fn clone_as<T: Any + Send + Sync>(&self) -> Option<Shared<T>> {
        if !self.is::<T>() {
            return None;
        }
        self.inner().count.inc();
        // INVARIANT: The value is a `T`, so the allocation is that of an `Inner<T>`. The reference
        // was just counted.
        Some(Shared {
            ptr: self.ptr.cast(),
            _owns: PhantomData,
        })
    }

    /// Recovers the type. Returns the reference if the value is not a `T`.
    pub(crate) fn downcast<T: Any + Send + Sync>(self) -> Result<Shared<T>, Self> {
        if !self.is::<T>() {
            return Err(self);
        }
        // INVARIANT: The value is a `T`, so the allocation is that of an `Inner<T>`. The reference
        // of `self`, which is not dropped, passes to this one.
        Ok(Shared {
            ptr: ManuallyDrop::new(self).ptr.cast(),
            _owns: PhantomData,
        })
    }
}

impl<T: ?Sized> Shared<T> {
    /// Returns the number of references, including this one.
    ///
    /// If each new reference is made from this one, and no task does so during the call, then 1
    /// means that there is no other. Everything that owners of other references did with the value
    /// has then happened before.
    pub(crate) fn ref_count(&self) -> i32 {
        self.inner().count.as_atomic().load(Acquire)
    }

    /// Returns whether both refer to the same value.
    pub(crate) fn same<U: ?Sized>(&self, other: &Shared<U>) -> bool {
        self.ptr.cast::<()>() == other.ptr.cast::<()>()
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: By the type invariants the allocation exists as long as this reference.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        self.inner().count.inc();
        // INVARIANT: The reference was just counted.
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
            // SAFETY: By the type invariants it came from a `SlabBox`, and the count is 0, so there is
            // no other reference. The value is dropped in place, as pinning requires.
            drop(unsafe { SlabBox::from_raw(self.ptr.as_ptr()) });
        }
    }
}
