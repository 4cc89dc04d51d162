// SPDX-License-Identifier: GPL-2.0-only

//! Carrying out a user's requests to forget what is cached.

use core::ops::RangeInclusive;

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
    pub(super) fn new(raw: &'a mut bindings::iommu_user_data_array) -> Self {
        Self(raw)
    }

    /// Has `f` carry out the requests one by one until it fails, each read once, and notes how many
    /// it has. Their type is `kind`, and each has as many bytes as `lengths` allows. What an older
    /// program leaves out is zero. `EINVAL` for another type or length, `E2BIG` where a newer
    /// program says more than we understand, `EFAULT`, or as `f`.
    pub(crate) fn for_each<T: FromBytes>(
        self,
        kind: u32,
        lengths: RangeInclusive<usize>,
        mut f: impl FnMut(T) -> Result,
    ) -> Result {
        let array = self.0;
        let count = core::mem::replace(&mut array.entry_num, 0);
        if array.type_ != kind {
            return Err(EINVAL);
        }
        if count == 0 {
            return Ok(());
        }
        if !lengths.contains(&array.entry_len) {
            return Err(EINVAL);
        }
        let len = u32::try_from(array.entry_len).map_err(|_| EINVAL)?;
        let mut at = UserPtr::from_ptr(array.uptr);
        for _ in 0..count {
            f(UserStruct::with_size(at, len).read()?)?;
            array.entry_num += 1;
            at = at.wrapping_byte_add(array.entry_len);
        }
        Ok(())
    }
}
