// SPDX-License-Identifier: GPL-2.0-only

//! Fault injection: places that fail when a test asks for it, besides the kernel's allocators.
//!
//! Only the test module can make them fail. Elsewhere they cost nothing.
//!
//! C header: [`include/linux/fault-inject.h`](srctree/include/linux/fault-inject.h)

use kernel::prelude::*;

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::ffi::bindings;

/// Fails with `error` if a test asks for it.
#[inline]
pub(crate) fn point(error: Error) -> Result {
    if should_fail() {
        Err(error)
    } else {
        Ok(())
    }
}

#[cfg(not(CONFIG_IOMMUFD_RS_TEST))]
#[inline]
const fn should_fail() -> bool {
    false
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
fn should_fail() -> bool {
    // SAFETY: The function uses a static variable.
    unsafe { bindings::iommufd_rs_should_fail() }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
static TEMP_MEMORY: Atomic<usize> = Atomic::new(65536);

/// Returns the largest size, in bytes, of a temporary array for a batch of pages.
#[inline]
pub(crate) fn temp_memory() -> usize {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    return TEMP_MEMORY.load(Relaxed);
    #[cfg(not(CONFIG_IOMMUFD_RS_TEST))]
    65536
}

/// Sets what [`temp_memory`] returns, so that tests have many small batches.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn limit_temp_memory(bytes: usize) {
    TEMP_MEMORY.store(bytes, Relaxed);
}

/// The directory `/sys/kernel/debug/fail_iommufd`. It is removed when this is dropped.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) struct Control(*mut bindings::dentry);

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: Any task may remove the directory.
unsafe impl Send for Control {}
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: A shared reference cannot be used for anything.
unsafe impl Sync for Control {}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Control {
    /// Creates the directory. Without debugfs this does nothing.
    pub(crate) fn new() -> Self {
        // SAFETY: The function uses a static variable, and returns a directory or an error pointer,
        // both of which `drop` accepts.
        Self(unsafe { bindings::iommufd_rs_fault_init() })
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: `new` stored what the kernel returned, and debugfs_remove() ignores error
        // pointers.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}
