// SPDX-License-Identifier: GPL-2.0-only

//! The lock between attaching and page faults, for the mock IOMMU of the test module.
//!
//! The IOMMU core looks up the handle of an attachment without a lock when a driver reports a page
//! fault. A driver must report none from before an attachment changes until its handle is freed.
//! The drivers of hardware do so by draining the hardware's queue of page requests. The mock IOMMU
//! has no queue; it reports a fault with this lock (rank 16) held for reading, and an attachment
//! changes with it held for writing. Without the test module the lock does not exist.

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::ffi::bindings;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use kernel::types::NotThreadSafe;

/// Proof that no mock device reports a page fault.
#[must_use = "faults are reported again as soon as the guard is dropped"]
pub(super) struct WriteGuard {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    _not_send: NotThreadSafe,
}

/// Waits until no mock device reports a page fault, and keeps them from reporting one.
pub(super) fn write() -> WriteGuard {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    // SAFETY: The lock is static.
    unsafe {
        bindings::iommufd_rs_fault_lock_write()
    };
    WriteGuard {
        #[cfg(CONFIG_IOMMUFD_RS_TEST)]
        _not_send: NotThreadSafe,
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Drop for WriteGuard {
    fn drop(&mut self) {
        // SAFETY: `write` took the lock, and the guard cannot be sent to another task.
        unsafe { bindings::iommufd_rs_fault_unlock_write() };
    }
}

/// Proof that no attachment changes.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
#[must_use = "attachments change again as soon as the guard is dropped"]
pub(in crate::kapi) struct ReadGuard(NotThreadSafe);

/// Waits until no attachment changes, and keeps them as they are.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(in crate::kapi) fn read() -> ReadGuard {
    // SAFETY: The lock is static.
    unsafe { bindings::iommufd_rs_fault_lock_read() };
    ReadGuard(NotThreadSafe)
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Drop for ReadGuard {
    fn drop(&mut self) {
        // SAFETY: `read` took the lock, and the guard cannot be sent to another task.
        unsafe { bindings::iommufd_rs_fault_unlock_read() };
    }
}
