// SPDX-License-Identifier: GPL-2.0-only

//! A user's requests to make an IOMMU forget what it has cached.
//!
//! C header: `include/linux/iommu.h` (`struct iommu_user_data_array`).

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::units::to_usize, //
};

/// An array of requests in user memory. What they are is the driver's to know.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    /// One of `enum iommu_hwpt_invalidate_data_type`.
    pub(crate) kind: u32,
    /// Where the array is in user memory.
    pub(crate) ptr: UserPtr,
    /// The length of a request in bytes.
    pub(crate) entry_len: u32,
    /// How many there are. Without any it is asked whether the driver knows the type.
    pub(crate) count: u32,
}

/// What came of requests.
pub(crate) struct Invalidated {
    /// How many have taken effect, from the first on.
    pub(crate) done: u32,
    /// What the next one failed with.
    pub(crate) result: Result,
}

impl Invalidated {
    /// Not one has taken effect.
    pub(crate) fn nothing(error: Error) -> Self {
        Self {
            done: 0,
            result: Err(error),
        }
    }
}

/// The most requests that a driver is given at once. Some allocate memory for all of them.
const BLOCK: u32 = 1024;

impl Requests {
    /// Has a driver's operation carry out the requests, a block at a time, until one fails.
    pub(super) fn carry_out(
        &self,
        op: impl Fn(*mut bindings::iommu_user_data_array) -> c_int,
    ) -> Invalidated {
        let mut done = 0;
        loop {
            let asked = BLOCK.min(self.count - done);
            // It cannot overflow: both are `u32`. A sum that wraps is no user address.
            let offset = to_usize(u64::from(self.entry_len) * u64::from(done));
            let mut array = bindings::iommu_user_data_array {
                type_: self.kind,
                uptr: self.ptr.wrapping_byte_add(offset).as_mut_ptr(),
                entry_len: self.entry_len as usize,
                entry_num: asked,
            };
            let result = to_result(op(&mut array));
            done += array.entry_num.min(asked);
            if result.is_err() || array.entry_num != asked || done == self.count {
                return Invalidated { done, result };
            }
        }
    }
}
