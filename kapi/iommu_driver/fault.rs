// SPDX-License-Identifier: GPL-2.0-only

//! Page faults of devices that software makes.
//!
//! The IOMMU core looks up what takes a fault without a lock. The driver must report none while the
//! attachment of the device changes: [`report`] holds the lock of
//! [`fault_lock`](crate::kapi::iommu::fault_lock) for reading.

use core::ptr::NonNull;

use kernel::{
    device::Device,
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        device,
        fault_lock,
        iopf::PageRequest, //
    }, //
};

/// A queue in which the IOMMU core collects the faults of a group until the last one comes.
pub(super) struct Queue(NonNull<bindings::iopf_queue>);

// SAFETY: The IOMMU core locks its queues, so any task may use and free them.
unsafe impl Send for Queue {}
// SAFETY: The IOMMU core locks its queues.
unsafe impl Sync for Queue {}

impl Queue {
    /// Allocates a queue without devices. Returns `ENOMEM` if there is no memory.
    pub(super) fn new(name: &'static CStr) -> Result<Arc<Self>> {
        // SAFETY: `name` is a NUL-terminated string.
        let raw = unsafe { bindings::iopf_queue_alloc(name.as_char_ptr()) };
        let queue = Self(NonNull::new(raw).ok_or(ENOMEM)?);
        Ok(Arc::new(queue, GFP_KERNEL)?)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY:
        // - `new` allocated it.
        // - No device is in it any more, as each that was had a reference.
        unsafe { bindings::iopf_queue_free(self.0.as_ptr()) };
    }
}

/// The most faults of a device that are not the last one of their group, from when it can have faults
/// until it cannot. The core keeps each until the last one of its group comes, and no longer than
/// that.
const MOST_PARTIAL: u32 = 1 << 17;

/// Whether a device can have page faults.
pub(super) struct Faulting {
    queue: Arc<Queue>,
    /// The number of attached domains that take page faults. Changed with the group's mutex held.
    domains: Atomic<u32>,
    /// The number of faults that were reported since the first of these came, and were not the last
    /// one of their group.
    partial: Atomic<u32>,
}

impl Faulting {
    /// The state of a device that is attached to nothing.
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self {
            queue,
            domains: Atomic::new(0),
            partial: Atomic::new(0),
        }
    }

    /// Puts the device into the queue if `new`, which is being attached in place of `old`, is the
    /// first of its domains that takes page faults; removes it if `old` was the last. Returns
    /// `ENOMEM` if there is no memory.
    ///
    /// # Safety
    ///
    /// `self` must be the state of `dev`, which was probed. The group's mutex must be held. `new`
    /// and `old` must each be NULL or a valid domain.
    pub(super) unsafe fn change(
        &self,
        dev: *mut bindings::device,
        new: *mut bindings::iommu_domain,
        old: *mut bindings::iommu_domain,
    ) -> Result {
        // SAFETY: The caller guarantees that it is NULL or valid.
        let (new, old) = unsafe { (new.as_ref(), old.as_ref()) };
        let takes = |domain: &bindings::iommu_domain| domain.iopf_handler.is_some();

        if new.is_some_and(takes) {
            let domains = self.domains.load(Relaxed);
            if domains == 0 {
                // SAFETY:
                // - The device was probed, as the caller guarantees.
                // - No domain takes its faults, so it is in no queue.
                to_result(unsafe { bindings::iopf_queue_add_device(self.queue.0.as_ptr(), dev) })?;
            }
            self.domains.store(domains + 1, Relaxed);
        }
        if old.is_some_and(takes) {
            let domains = self.domains.load(Relaxed) - 1;
            self.domains.store(domains, Relaxed);
            if domains == 0 {
                // SAFETY: The device was added when the first such domain was attached.
                unsafe { bindings::iopf_queue_remove_device(self.queue.0.as_ptr(), dev) };
                // The core has freed them, and none is reported now: `fault_lock` is held for writing.
                self.partial.store(0, Relaxed);
            }
        }
        Ok(())
    }

    /// Counts a fault that is not the last one of its group, which the core keeps. Returns `EBUSY` if
    /// these are too many. The caller holds `fault_lock`.
    fn count_partial(&self) -> Result {
        if self.domains.load(Relaxed) == 0 || self.partial.fetch_add(1, Relaxed) < MOST_PARTIAL {
            return Ok(());
        }
        self.partial.fetch_sub(1, Relaxed);
        Err(EBUSY)
    }
}

/// Reports a page fault to the IOMMU core. `last` says that it is the last one of its group; then
/// the group has been delivered when this returns. A fault that nothing takes is answered at once.
/// `faulting` is the state of `dev`. Returns `EBUSY` if the device has had too many faults that are
/// not the last one of their group.
///
/// # Safety
///
/// The IOMMU core must have probed the device.
pub(super) unsafe fn report(
    dev: &Device,
    faulting: &Faulting,
    request: &PageRequest,
    last: bool,
) -> Result {
    let mut flags = request.flags;
    if last {
        flags |= bindings::IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
    }
    if request.pasid != bindings::IOMMU_NO_PASID {
        flags |= bindings::IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
    }
    let mut event = bindings::iopf_fault {
        fault: bindings::iommu_fault {
            type_: bindings::iommu_fault_type_IOMMU_FAULT_PAGE_REQ,
            prm: bindings::iommu_fault_page_request {
                flags,
                pasid: request.pasid,
                grpid: request.group,
                perm: request.perm,
                addr: request.addr,
                ..Default::default()
            },
        },
        ..Default::default()
    };
    let _attached = fault_lock::read();
    if !last {
        faulting.count_partial()?;
    }
    // SAFETY:
    // - The caller guarantees that the device was probed.
    // - `_attached` keeps its attachments as they are during the call.
    // - The core copies the event.
    let _ = unsafe { bindings::iommu_report_device_fault(device::as_raw(dev), &mut event) };
    Ok(())
}
