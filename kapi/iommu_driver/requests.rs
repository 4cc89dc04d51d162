// SPDX-License-Identifier: GPL-2.0-only

//! Reading the invalidation requests of user space, for drivers that carry them out.
//!
//! C header: `include/linux/iommu.h` (`struct iommu_user_data_array`).

use core::ops::{
    ControlFlow,
    RangeInclusive, //
};

use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

use crate::{
    ffi::bindings,
    kapi::mm::user::UserStruct, //
};

/// An array of requests in user memory.
pub(crate) struct Array<'a>(&'a mut bindings::iommu_user_data_array);

impl<'a> Array<'a> {
    /// Wraps the array that the IOMMU core passes.
    pub(super) fn new(raw: &'a mut bindings::iommu_user_data_array) -> Self {
        Self(raw)
    }

    /// Returns the number of requests, after setting the number of those carried out to 0. Returns
    /// `EINVAL` if they are not of type `kind`.
    fn begin(&mut self, kind: u32) -> Result<u32> {
        let count = core::mem::replace(&mut self.0.entry_num, 0);
        if self.0.type_ == kind {
            Ok(count)
        } else {
            Err(EINVAL)
        }
    }

    /// Reads a request. Fields that an older program does not have are zero. Returns `E2BIG` if
    /// bytes beyond the end of `T` are not zero, and `EFAULT` if the request cannot be read.
    fn read<T: FromBytes>(&self, index: u32) -> Result<T> {
        let len = u32::try_from(self.0.entry_len).map_err(|_| EINVAL)?;
        let offset = self.0.entry_len.wrapping_mul(index as usize);
        let at = UserPtr::from_ptr(self.0.uptr).wrapping_byte_add(offset);
        Ok(UserStruct::with_size(at, len).read()?)
    }

    /// Carries out the requests one by one by `f`, until it fails or breaks, and counts those that
    /// it carried out. Each is read once, right before it is carried out.
    ///
    /// Returns `EINVAL` if the requests are not of type `kind` or the length of one is not in
    /// `lengths`, as [`Array::read`], or as `f`.
    pub(crate) fn for_each<T: FromBytes>(
        mut self,
        kind: u32,
        lengths: RangeInclusive<usize>,
        mut f: impl FnMut(T) -> Result<ControlFlow<()>>,
    ) -> Result {
        let count = self.begin(kind)?;
        if count != 0 && !lengths.contains(&self.0.entry_len) {
            return Err(EINVAL);
        }
        for index in 0..count {
            let next = f(self.read(index)?)?;
            self.0.entry_num += 1;
            if next.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// As [`Array::for_each`], but reads all requests, which may have any length, before it carries
    /// out the first. Returns `ENOMEM` in addition.
    pub(crate) fn for_each_of_all<T: FromBytes>(
        mut self,
        kind: u32,
        mut f: impl FnMut(&T) -> Result<ControlFlow<()>>,
    ) -> Result {
        let count = self.begin(kind)?;
        let mut requests = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for index in 0..count {
            requests.push(self.read(index)?, GFP_KERNEL)?;
        }
        for request in &requests {
            let next = f(request)?;
            self.0.entry_num += 1;
            if next.is_break() {
                break;
            }
        }
        Ok(())
    }
}
