// SPDX-License-Identifier: GPL-2.0-only

//! Structs that an IOMMU driver and this module share. The driver chooses their size, and they
//! begin with a struct of `include/linux/iommufd.h`.

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::{
    ffi::bindings,
    kapi::sync::{
        room::{
            Room,
            RoomSize,
            Tail, //
        },
        shared::Shared, //
    }, //
};

/// A struct of iommufd with which a struct of a driver begins.
///
/// # Safety
///
/// Zero must be a valid value.
pub(super) unsafe trait Core {}

// SAFETY: Its fields are integers, pointers that may be NULL, and C structs for which zero is
// valid.
unsafe impl Core for bindings::iommufd_viommu {}
// SAFETY: Its fields are integers and pointers that may be NULL.
unsafe impl Core for bindings::iommufd_vdevice {}
// SAFETY: Its fields are integers and pointers that may be NULL.
unsafe impl Core for bindings::iommufd_hw_queue {}

/// The memory of a struct that begins with a `C` and is followed by a driver's part. It does not
/// move.
///
/// # Invariants
///
/// `memory` has at least `size_of::<C>()` bytes.
pub(super) struct DriverStruct<C> {
    /// `u64` for its alignment: a driver expects that of kmalloc() for a struct of its size.
    memory: KVec<u64>,
    _core: PhantomData<*mut C>,
}

// SAFETY: It is memory that only `as_ptr` gives access to; the types that contain it say who uses
// it.
unsafe impl<C> Send for DriverStruct<C> {}
// SAFETY: A `&DriverStruct` gives no access to the memory but by a raw pointer.
unsafe impl<C> Sync for DriverStruct<C> {}

/// Returns the words of a struct that begins with a `C` and has `size` bytes. Returns `EOPNOTSUPP` if
/// a `C` has more, which is a bug of the driver.
fn words<C: Core>(size: usize) -> Result<usize> {
    const { assert!(align_of::<C>() <= align_of::<u64>()) };
    if size < size_of::<C>() {
        kernel::do_once_lite! {
            pr_err!("an IOMMU driver wants objects of {size} bytes, which is too small\n");
        }
        return Err(EOPNOTSUPP);
    }
    Ok(size.div_ceil(size_of::<u64>()))
}

impl<C: Core> DriverStruct<C> {
    /// Allocates `size` bytes of zeroes. Returns `EOPNOTSUPP` if that is less than a `C` has, which
    /// is a bug of the driver, and `ENOMEM` if there is no memory.
    pub(super) fn zeroed(size: usize) -> Result<Self> {
        let words = words::<C>(size)?;
        // INVARIANT: The size was checked.
        Ok(Self {
            memory: KVec::from_elem(0, words, GFP_KERNEL_ACCOUNT)?,
            _core: PhantomData,
        })
    }

    /// Returns the struct. It is zero until it is written.
    pub(super) fn as_ptr(&self) -> *mut C {
        self.memory.as_ptr().cast_mut().cast()
    }
}

/// As [`DriverStruct`], in the memory of a value that owns it.
///
/// # Invariants
///
/// `tail` has at least `size_of::<C>()` bytes, which are aligned for a `C`.
pub(super) struct DriverTail<C> {
    tail: Tail,
    _core: PhantomData<*mut C>,
}

// SAFETY: It is memory that only `as_ptr` gives access to; the types that contain it say who uses
// it.
unsafe impl<C> Send for DriverTail<C> {}
// SAFETY: A `&DriverTail` gives no access to the memory but by a raw pointer.
unsafe impl<C> Sync for DriverTail<C> {}

impl<C: Core> DriverTail<C> {
    /// Returns the size of a room in which there can be a `T` with `size` bytes for a driver.
    pub(super) fn room_for<T>(size: usize) -> RoomSize {
        let words = size.div_ceil(size_of::<u64>());
        Shared::<T>::room_for(words * size_of::<u64>())
    }

    /// Makes a value, in `room` if it fits there, that has `size` bytes of zeroes for a driver, which
    /// `init` is given. Returns `EOPNOTSUPP` if that is less than a `C` has, which is a bug of the
    /// driver, `ENOMEM` if there is no memory, or the error of `init`.
    pub(super) fn with<T, I: PinInit<T, Error>>(
        size: usize,
        room: Room,
        init: impl FnOnce(Self) -> I,
    ) -> Result<Shared<T>> {
        let bytes = words::<C>(size)? * size_of::<u64>();
        // INVARIANT: The size was checked. It is one of words, so the tail is aligned to words.
        let init = |tail| {
            init(Self {
                tail,
                _core: PhantomData,
            })
        };
        Shared::with_tail(bytes, room, init, GFP_KERNEL_ACCOUNT)
    }

    /// Returns the struct. It is zero until it is written. It exists as long as the value's memory.
    pub(super) fn as_ptr(&self) -> *mut C {
        self.tail.as_ptr().cast()
    }
}
