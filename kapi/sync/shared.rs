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
    alloc::Layout,
    any::Any,
    ffi::c_void,
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    alloc::{
        AllocError,
        Allocator,
        Flags,
        NumaNode, //
    },
    prelude::*,
    sync::{
        atomic::ordering::Acquire,
        Refcount, //
    }, //
};

use crate::kapi::{
    sync::{
        raw_ref::RawRef,
        slab::{
            Slab,
            SlabBox, //
        }, //
    },
    units::PAGE_SIZE, //
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
/// counted. There may be more memory behind the `Inner<T>`, which `Slab` frees with it.
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

/// Bytes in the allocation of a value, behind it: see [`Shared::with_tail`].
pub(crate) struct Tail {
    start: NonNull<u8>,
}

impl Tail {
    /// Returns the address of the first byte. The bytes exist as long as the value's memory.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
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
        Ok(Self::own(inner))
    }

    /// As [`Shared::try_pin_init`], with `len` bytes of zeroes behind the value, which are aligned as
    /// those of kmalloc() for an object of `len` bytes: to the largest power of two that divides
    /// `len`, up to a page. `init` is given the bytes.
    pub(crate) fn with_tail<E, I>(
        len: usize,
        init: impl FnOnce(Tail) -> I,
        flags: Flags,
    ) -> Result<Self, E>
    where
        E: From<AllocError>,
        I: PinInit<T, E>,
    {
        const { assert!(align_of::<Inner<T>>() <= Slab::MIN_ALIGN) };
        let align = (len & len.wrapping_neg()).clamp(1, PAGE_SIZE as usize);
        // Memory whose size is a multiple of `align` is aligned to that.
        let sizes = size_of::<Inner<T>>()
            .checked_next_multiple_of(align)
            .and_then(|start| Some((start, start.checked_add(len)?)));
        let (start, size) = sizes.ok_or(AllocError)?;
        let layout = Layout::from_size_align(size, 1).map_err(|_| AllocError)?;
        let memory = Slab::alloc(layout, flags, NumaNode::NO_NODE)?.cast::<u8>();
        // SAFETY: The allocation has `size` bytes, and `start` is at most that.
        let tail = unsafe { memory.add(start) };
        // SAFETY: These are the last bytes of the allocation.
        unsafe { tail.write_bytes(0, len) };
        let memory: *mut MaybeUninit<Inner<T>> = memory.as_ptr().cast();
        // SAFETY: `Slab` has just allocated it. It has room for an `Inner<T>`, and is aligned to
        // `MIN_ALIGN`. `Slab` frees any size.
        let memory = unsafe { SlabBox::from_raw(memory) };
        let inner = memory.write_pin_init(try_pin_init!(Inner {
            count: Refcount::new(1),
            value <- init(Tail { start: tail }),
        }? E))?;
        Ok(Self::own(inner))
    }

    /// Makes the first reference to a value.
    fn own(inner: Pin<SlabBox<Inner<T>>>) -> Self {
        // SAFETY: The value is not moved until `drop` frees it, because `Shared` gives out `&T`
        // only.
        let raw = SlabBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
        // INVARIANT: It came from a `SlabBox`, and the count is 1.
        Self {
            // SAFETY: `SlabBox::into_raw` does not return a null pointer.
            ptr: unsafe { NonNull::new_unchecked(raw) },
            _owns: PhantomData,
        }
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
