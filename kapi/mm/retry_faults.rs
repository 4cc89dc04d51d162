// SPDX-License-Identifier: GPL-2.0-only

//! Access to user memory while something is held that others wait for.
//!
//! User memory may come as late as its owner likes, with userfaultfd or from a file of FUSE for
//! instance. So no reference and no lock that another process waits for may be held over an access
//! that waits. [`retry_faults`] makes such accesses with page faults disabled.
//!
//! C headers: `include/linux/uaccess.h`, `include/linux/pagemap.h`.

use core::marker::PhantomData;

use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

use crate::{
    ffi::bindings,
    kapi::sync::signal, //
};

/// How often the caller's memory may be gone again before it is used.
const MAX_ATTEMPTS: u32 = 16;
/// Bytes that are faulted in between two looks at whether the task is being killed.
const CHUNK: usize = 1 << 20;

/// What is done with user memory while page faults are disabled.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Read,
    /// It is read. If the memory permits it, it may be written to as well.
    ReadAndAnswer,
    Write,
}

/// User memory that is accessed while page faults are disabled.
#[derive(Clone, Copy)]
pub(crate) struct UserRange {
    ptr: UserPtr,
    len: usize,
    used: Use,
}

impl UserRange {
    /// `len` bytes that are read.
    pub(crate) fn read(ptr: UserPtr, len: usize) -> Self {
        let used = Use::Read;
        Self { ptr, len, used }
    }

    /// `len` bytes that are read. If the memory permits it, they may be written to as well, as far
    /// as the first MiB goes.
    pub(crate) fn read_and_answer(ptr: UserPtr, len: usize) -> Self {
        let used = Use::ReadAndAnswer;
        Self { ptr, len, used }
    }

    /// `len` bytes that are written to.
    pub(crate) fn write(ptr: UserPtr, len: usize) -> Self {
        let used = Use::Write;
        Self { ptr, len, used }
    }

    /// Waits until the memory is there. It may be gone again at once.
    ///
    /// Returns `EFAULT` if it cannot be accessed, `EINTR` if the task is being killed.
    fn fault_in(&self) -> Result {
        let mut done = 0;
        while done < self.len {
            signal::check_killed()?;
            let len = CHUNK.min(self.len - done);
            let at = self.ptr.wrapping_byte_add(done).as_const_ptr().cast();
            // SAFETY: It accesses user memory only, and says how much it could not.
            let unreadable = unsafe { bindings::iommufd_rs_fault_in_readable(at, len) };
            let is_written = match self.used {
                Use::Read => false,
                // What a driver answers is at the beginning of what it reads.
                Use::ReadAndAnswer => done == 0,
                Use::Write => true,
            };
            let unwriteable = if is_written {
                // SAFETY: It accesses user memory only, whose contents it does not change, and says
                // how much it could not.
                unsafe { bindings::iommufd_rs_fault_in_writeable(at, len) }
            } else {
                0
            };
            if unreadable != 0 || (self.used == Use::Write && unwriteable != 0) {
                return Err(EFAULT);
            }
            done += len;
        }
        Ok(())
    }
}

/// Disables page faults of the current task's accesses to user memory until it is dropped.
struct FaultsDisabled(PhantomData<NotThreadSafe>);

impl FaultsDisabled {
    fn new() -> Self {
        // SAFETY: `Drop` enables them again, in the same task.
        unsafe { bindings::iommufd_rs_pagefault_disable() };
        Self(PhantomData)
    }
}

impl Drop for FaultsDisabled {
    fn drop(&mut self) {
        // SAFETY: `new` disabled them, in the same task.
        unsafe { bindings::iommufd_rs_pagefault_enable() };
    }
}

/// Calls `attempt` with page faults disabled, again and again while it returns `EFAULT`, with
/// `ranges` faulted in between.
///
/// With page faults disabled, an access to user memory that is not there fails with `EFAULT` and
/// does not wait. So `attempt` may hold what others wait for. When it returns `EFAULT` it must have
/// released that and undone everything else.
///
/// Returns what `attempt` returns. Returns `EFAULT` if a range cannot be accessed, or if it is gone
/// again each time; `EINTR` if the task is being killed.
pub(crate) fn retry_faults<T, E: PartialEq<Error> + From<Error>>(
    ranges: &[UserRange],
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 0..MAX_ATTEMPTS {
        let disabled = FaultsDisabled::new();
        let result = attempt();
        drop(disabled);
        match result {
            Err(error) if error == EFAULT => {}
            result => return result,
        }
        ranges.iter().try_for_each(UserRange::fault_in)?;
    }
    Err(EFAULT.into())
}
