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
    sync::atomic::ordering::Acquire, //
};

use crate::kapi::sync::{
    raw_ref::RawRef,
    room::{
        Header,
        Host,
        Room,
        RoomSize,
        Tail,
        ValueMemory, //
    },
    slab::SlabBox, //
};

#[pin_data]
#[repr(C)]
struct Inner<T: ?Sized> {
    header: Header,
    #[pin]
    value: T,
}

/// A counted reference to a pinned value on the heap.
///
/// # Invariants
///
/// `ptr` is an `Inner<T>` whose value is dropped when the count in the header becomes 0, and whose memory
/// is freed as the header says. The reference is counted.
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
    #[inline(always)]
    pub(crate) fn pin_init(init: impl PinInit<T, Error>, flags: Flags) -> Result<Self> {
        Self::try_pin_init(init, flags)
    }

    /// As [`Shared::pin_init`], for an `init` with another type of errors.
    // Otherwise what `init` has captured is copied.
    #[inline(always)]
    pub(crate) fn try_pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E>
    where
        E: From<AllocError>,
    {
        let inner = SlabBox::try_pin_init(
            try_pin_init!(Inner {
                header: Header::new(),
                value <- init,
            }? E),
            flags,
        )?;
        // SAFETY: The value is not moved until it is dropped, because `Shared` gives out `&T` only.
        let raw = SlabBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
        // INVARIANT: The header was written with a count of 1, at the start of memory of `Slab`.
        Ok(Self {
            // SAFETY: `SlabBox::into_raw` does not return a null pointer.
            ptr: unsafe { NonNull::new_unchecked(raw) },
            _owns: PhantomData,
        })
    }

    /// As [`Shared::try_pin_init`], with `len` bytes of zeroes, which `init` is given. They are aligned as
    /// those of kmalloc() for an object of `len` bytes: to the largest power of two that divides `len`,
    /// up to a page. Value and bytes are put into `room` if they fit, and allocated otherwise.
    pub(crate) fn with_tail<E, I>(
        len: usize,
        room: Room,
        init: impl FnOnce(Tail) -> I,
        flags: Flags,
    ) -> Result<Self, E>
    where
        E: From<AllocError>,
        I: PinInit<T, E>,
    {
        let memory = ValueMemory::new(Self::LAYOUT, len, room, flags)?;
        let inner: *mut Inner<T> = memory.as_ptr().cast();
        // SAFETY: The memory has room for an `Inner<T>`, which does not move, and is aligned to words.
        unsafe { pin_init::raw_try_init(&raw mut (*inner).value, init(memory.tail()))? };
        memory.finish();
        // INVARIANT: The header was written with a count of 1, and says how the memory is freed.
        Ok(Self {
            // SAFETY: It is the address of memory.
            ptr: unsafe { NonNull::new_unchecked(inner) },
            _owns: PhantomData,
        })
    }

    /// Returns the size of a room into which [`Shared::with_tail`] can put a value and `len` bytes.
    pub(crate) fn room_for(len: usize) -> RoomSize {
        RoomSize::of(Self::LAYOUT, len)
    }

    /// As [`Shared::try_pin_init`], with room for another value in the same allocation, which `init` is
    /// given.
    pub(crate) fn with_room<E, I>(
        size: RoomSize,
        init: impl FnOnce(Room) -> I,
        flags: Flags,
    ) -> Result<Self, E>
    where
        E: From<AllocError>,
        I: PinInit<T, E>,
    {
        let (host, room) = Host::new(Self::LAYOUT, size, flags)?;
        let inner: *mut Inner<T> = host.as_ptr().cast();
        // SAFETY: The allocation begins with an `Inner<T>`, which does not move, and is aligned to words.
        unsafe { pin_init::raw_try_init(&raw mut (*inner).value, init(room))? };
        host.finish();
        // INVARIANT: The header was written with a count of 1, and says how the memory is freed.
        Ok(Self {
            // SAFETY: It is the address of memory.
            ptr: unsafe { NonNull::new_unchecked(inner) },
            _owns: PhantomData,
        })
    }

    /// The layout of a value with its header.
    const LAYOUT: Layout = {
        assert!(align_of::<Inner<T>>() <= align_of::<usize>());
        Layout::new::<Inner<T>>()
    };
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
        self.inner().header.count.inc();
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
        self.inner().header.count.as_atomic().load(Acquire)
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
        self.inner().header.count.inc();
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
        if self.inner().header.count.dec_and_test() {
            // SAFETY:
            // - By the type invariants the value exists, and the count is 0, so there is no other
            //   reference.
            // - The value is dropped in place, as pinning requires.
            unsafe { core::ptr::drop_in_place(&raw mut (*self.ptr.as_ptr()).value) };
            // SAFETY: By the type invariants the header begins the `Inner`, whose value was dropped
            // above.
            unsafe { Header::free(self.ptr.cast()) };
        }
    }
}

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
#[kunit_tests(iommufd_rs_shared)]
mod tests {
    use super::*;
    use crate::kapi::sync::room::{
        Room,
        RoomSize, //
    };
    use kernel::sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    };

    const TAIL: usize = 192;

    /// Counts how many were dropped, and writes to its tail then.
    struct Guest {
        tail: Tail,
        dropped: Arc<Atomic<i32>>,
    }

    impl Drop for Guest {
        fn drop(&mut self) {
            // SAFETY: The tail has `TAIL` bytes, and exists as long as this.
            unsafe { self.tail.as_ptr().write_bytes(1, TAIL) };
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    // SAFETY: The tail is accessed by `drop` alone.
    unsafe impl Send for Guest {}
    // SAFETY: A shared reference gives no access to the tail but by a raw pointer.
    unsafe impl Sync for Guest {}

    /// Makes a guest in a room. Its tail must be zeroes, and aligned as one of kmalloc().
    fn guest(room: Room, dropped: &Arc<Atomic<i32>>) -> Result<Shared<Guest>> {
        let init = |tail: Tail| {
            let start = tail.as_ptr();
            assert_eq!(start.addr() % 64, 0);
            // SAFETY: The tail has as many bytes.
            assert!((0..TAIL).all(|at| unsafe { start.add(at).read() } == 0));
            Ok::<_, Error>(Guest {
                tail,
                dropped: dropped.clone(),
            })
        };
        Shared::with_tail(TAIL, room, init, GFP_KERNEL_ACCOUNT)
    }

    fn host(
        size: RoomSize,
        dropped: &Arc<Atomic<i32>>,
    ) -> Result<(Shared<u64>, Option<Shared<Guest>>)> {
        let mut made = None;
        let init = |room| {
            made = Some(guest(room, dropped)?);
            Ok::<u64, Error>(7)
        };
        let host = Shared::with_room(size, init, GFP_KERNEL_ACCOUNT)?;
        Ok((host, made))
    }

    /// Whether a value is in the memory of another one.
    fn is_in(host: &Shared<u64>, guest: &Shared<Guest>) -> bool {
        (1..1024).contains(&guest.ptr.addr().get().wrapping_sub(host.ptr.addr().get()))
    }

    #[test]
    fn a_value_in_a_room_is_dropped_first_or_last() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let size = Shared::<Guest>::room_for(TAIL);
        let (first, guest) = host(size, &dropped)?;
        assert!(guest.as_ref().is_some_and(|guest| is_in(&first, guest)));
        drop(guest);
        assert_eq!((dropped.load(Relaxed), *first), (1, 7));
        drop(first);

        let (first, guest) = host(size, &dropped)?;
        let again = guest.clone();
        drop(first);
        drop(guest);
        assert_eq!(dropped.load(Relaxed), 1);
        drop(again);
        assert_eq!(dropped.load(Relaxed), 2);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_allocated() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let sizes = [
            RoomSize::NONE,
            Shared::<Guest>::room_for(TAIL - 64),
            Shared::<Guest>::room_for(TAIL - 1),
        ];
        for size in sizes {
            let (host, guest) = host(size, &dropped)?;
            let guest = guest.ok_or(EINVAL)?;
            assert!(!is_in(&host, &guest));
            drop(host);
            drop(guest);
        }
        assert_eq!(dropped.load(Relaxed), 3);
        Ok(())
    }

    #[test]
    fn a_host_that_cannot_be_made_leaves_what_is_in_its_room() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let size = Shared::<Guest>::room_for(TAIL);
        let mut made = None;
        let init = |room| {
            made = Some(guest(room, &dropped)?);
            Err::<u64, Error>(EIO)
        };
        let host = Shared::with_room(size, init, GFP_KERNEL_ACCOUNT);
        assert_eq!(host.err(), Some(EIO));
        assert_eq!(dropped.load(Relaxed), 0);
        drop(made);
        assert_eq!(dropped.load(Relaxed), 1);

        // A room that nothing is put into.
        let init = |room: Room| {
            drop(room);
            Ok::<u64, Error>(7)
        };
        drop(Shared::<u64>::with_room::<Error, _>(
            size,
            init,
            GFP_KERNEL_ACCOUNT,
        )?);
        Ok(())
    }
}
