// SPDX-License-Identifier: GPL-2.0-only

//! Invalidation requests of user space, which an IOMMU driver carries out.
//!
//! C header: `include/linux/iommu.h` (`struct iommu_user_data_array`).

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        sync::signal,
        units::to_usize, //
    }, //
};

/// An array of requests in user memory, in a format of the driver.
#[derive(Clone, Copy)]
pub(crate) struct Requests {
    /// The type of the requests, of `enum iommu_hwpt_invalidate_data_type`.
    pub(crate) kind: u32,
    /// The address of the array in user memory.
    pub(crate) ptr: UserPtr,
    /// The length of a request in bytes.
    pub(crate) entry_len: u32,
    /// The number of requests. With 0 the driver is asked whether it supports the type.
    pub(crate) count: u32,
}

/// The outcome of [`Requests`].
pub(crate) struct Invalidated {
    /// How many requests were carried out, from the first on.
    pub(crate) done: u32,
    /// The error of the next request, if it failed.
    pub(crate) result: Result,
    /// How many times the IOMMU was given commands, or `None` if the kernel's driver did that,
    /// which does not tell.
    pub(crate) submissions: Option<u32>,
}

impl Invalidated {
    /// No request was carried out.
    pub(crate) fn nothing(error: Error) -> Self {
        Self {
            done: 0,
            result: Err(error),
            submissions: Some(0),
        }
    }
}

/// The largest number of requests in a call of a driver. Some drivers allocate memory for all of
/// them.
const BLOCK: u32 = 1024;

impl Requests {
    /// Carries out the requests by a driver's operation, at most [`BLOCK`] in a call.
    ///
    /// A driver may return without an error although it has carried out only a part of a block; it
    /// is called again with the rest. Stops at the first error, and if a driver carries out
    /// nothing. One that fails has not carried out the last request. If its number says so, the
    /// driver failed before it set it, as where it has no memory for a copy of the requests, and
    /// has carried out none of the block. Fails with `EINTR` before a further block if the current
    /// task is being killed.
    pub(super) fn carry_out(
        &self,
        op: impl Fn(*mut bindings::iommu_user_data_array) -> c_int,
    ) -> Invalidated {
        let mut done = 0;
        loop {
            let asked = BLOCK.min(self.count - done);
            // The product of two `u32` fits. If the sum wraps it is no address of user memory.
            let offset = to_usize(u64::from(self.entry_len) * u64::from(done));
            let mut array = bindings::iommu_user_data_array {
                type_: self.kind,
                uptr: self.ptr.wrapping_byte_add(offset).as_mut_ptr(),
                entry_len: self.entry_len as usize,
                entry_num: asked,
            };
            let result = to_result(op(&mut array));
            let answered = if warn_on_once!(array.entry_num > asked) {
                asked
            } else if result.is_err() && array.entry_num == asked {
                0
            } else {
                array.entry_num
            };
            done += answered;
            let is_last = answered == 0 || done == self.count;
            let result = result.and_then(|()| {
                if is_last {
                    Ok(())
                } else {
                    signal::check_killed()
                }
            });
            if is_last || result.is_err() {
                return Invalidated {
                    done,
                    result,
                    submissions: None,
                };
            }
        }
    }
}
