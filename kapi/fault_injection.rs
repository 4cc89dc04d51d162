// SPDX-License-Identifier: GPL-2.0-only

//! Fault injection: places that fail when a test says so, beyond the kernel's own allocators.
//!
//! Made for the test module only; in any other nothing here costs anything.
//!
//! C header: `include/linux/fault-inject.h`.

use kernel::prelude::*;

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::ffi::bindings;

/// Fails with `error` when the test says so.
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
    // SAFETY: The attribute is static.
    unsafe { bindings::iommufd_rs_should_fail() }
}

/// How many bytes a batch of pages may take while it is worked on.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
static TEMP_MEMORY: Atomic<usize> = Atomic::new(65536);

/// How many bytes a batch of pages may take while it is worked on.
#[inline]
pub(crate) fn temp_memory() -> usize {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    return TEMP_MEMORY.load(Relaxed);
    #[cfg(not(CONFIG_IOMMUFD_RS_TEST))]
    65536
}

/// Makes batches small, for tests to have many of them.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn limit_temp_memory(bytes: usize) {
    TEMP_MEMORY.store(bytes, Relaxed);
}

/// `/sys/kernel/debug/fail_iommufd`, as long as it lives.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) struct Control(*mut bindings::dentry);

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: It is only removed, which any task may do.
unsafe impl Send for Control {}
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: As above.
unsafe impl Sync for Control {}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Control {
    /// Makes it appear. Without debugfs there is none, which is no failure.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once for each time that it is removed.
        Self(unsafe { bindings::iommufd_rs_fault_init() })
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: `new` made it; an error instead of it is ignored.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}
