// SPDX-License-Identifier: GPL-2.0-only

//! Objects that a C driver and we share: it says how large they are, and they begin with a struct
//! of `include/linux/iommufd.h`.

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::ffi::bindings;

/// A struct that a driver's own begins with.
///
/// # Safety
///
/// All zeroes are a valid value.
pub(super) unsafe trait Core {}

// SAFETY: Integers, pointers and C structs that are initialised in place.
unsafe impl Core for bindings::iommufd_viommu {}
// SAFETY: As above.
unsafe impl Core for bindings::iommufd_vdevice {}
// SAFETY: As above.
unsafe impl Core for bindings::iommufd_hw_queue {}

/// Memory of a size that a driver chose, which begins with a `C`. It does not move.
pub(super) struct DriverStruct<C> {
    /// Aligned as what kmalloc() returns.
    memory: KVec<u64>,
    _core: PhantomData<*mut C>,
}

// SAFETY: It is memory; who uses what is in it says how.
unsafe impl<C> Send for DriverStruct<C> {}
// SAFETY: As above.
unsafe impl<C> Sync for DriverStruct<C> {}

impl<C: Core> DriverStruct<C> {
    /// Zeroes. `EOPNOTSUPP` where the driver wants less than what its struct must begin with, which
    /// is a bug in it; `ENOMEM`.
    pub(super) fn zeroed(size: usize) -> Result<Self> {
        const { assert!(align_of::<C>() <= align_of::<u64>()) };
        if size < size_of::<C>() {
            kernel::do_once_lite! {
                pr_err!("an IOMMU driver wants objects of {size} bytes, which is too small\n");
            }
            return Err(EOPNOTSUPP);
        }
        let words = size.div_ceil(size_of::<u64>());
        Ok(Self {
            memory: KVec::from_elem(0, words, GFP_KERNEL_ACCOUNT)?,
            _core: PhantomData,
        })
    }

    /// The struct. It is zero until somebody writes to it.
    pub(super) fn as_ptr(&self) -> *mut C {
        self.memory.as_ptr().cast_mut().cast()
    }
}
