// SPDX-License-Identifier: GPL-2.0-only

//! Page faults of devices that software makes.
//!
//! The IOMMU core finds out by whom a fault is taken without a lock: it is the driver's to let none
//! through while what a device is attached to changes. Here whoever changes it blocks the device's
//! faults (`Faulting::blocked`, rank 4).

use core::ptr::NonNull;

use kernel::{
    device::Device,
    error::to_result,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device,
            iopf::PageRequest, //
        },
        sync::rwsem::{
            new_rwsem,
            RwSem,
            WriteGuard, //
        }, //
    }, //
};

/// Where the IOMMU core keeps faults that are not complete.
pub(super) struct Queue(NonNull<bindings::iopf_queue>);

impl Queue {
    /// A queue for no device yet. `ENOMEM`.
    pub(super) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name lives for ever.
        let raw = unsafe { bindings::iopf_queue_alloc(name.as_char_ptr()) };
        Ok(Self(NonNull::new(raw).ok_or(ENOMEM)?))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: It is ours to free, and devices keep their IOMMU.
        unsafe { bindings::iopf_queue_free(self.0.as_ptr()) };
    }
}

/// A device has no page faults as long as this is held.
pub(crate) struct FaultsBlocked<'a>(#[expect(dead_code, reason = "held")] WriteGuard<'a, ()>);

/// Whether a device can have page faults.
pub(super) struct Faulting {
    /// How many domains it is attached to that take them. Changed under the group's lock.
    domains: Atomic<u32>,
    /// Read while the device has a fault.
    blocked: Pin<KBox<RwSem<()>>>,
}

impl Faulting {
    /// It cannot. `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            domains: Atomic::new(0),
            blocked: KBox::pin_init(new_rwsem!((), "Faulting::blocked"), GFP_KERNEL)?,
        })
    }

    /// See [`BusIommu::block_faults`](super::bus::BusIommu::block_faults).
    pub(super) fn block_faults(&self) -> FaultsBlocked<'_> {
        FaultsBlocked(self.blocked.write())
    }

    /// Follows a change of what the device is attached to. `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `self` is that of `dev`, which is probed; the group's lock is held; the domains are valid or
    /// NULL.
    pub(super) unsafe fn change(
        &self,
        queue: &Queue,
        dev: *mut bindings::device,
        new: *mut bindings::iommu_domain,
        old: *mut bindings::iommu_domain,
    ) -> Result {
        // SAFETY: The caller's promise.
        let takes = |domain: *mut bindings::iommu_domain| unsafe {
            domain
                .as_ref()
                .is_some_and(|domain| domain.iopf_handler.is_some())
        };
        if takes(new) {
            let domains = self.domains.load(Relaxed);
            if domains == 0 {
                // SAFETY: The device is probed, and is not in the queue.
                to_result(unsafe { bindings::iopf_queue_add_device(queue.0.as_ptr(), dev) })?;
            }
            self.domains.store(domains + 1, Relaxed);
        }
        if takes(old) {
            let domains = self.domains.load(Relaxed) - 1;
            self.domains.store(domains, Relaxed);
            if domains == 0 {
                // SAFETY: It was added when the first such domain was attached.
                unsafe { bindings::iopf_queue_remove_device(queue.0.as_ptr(), dev) };
            }
        }
        Ok(())
    }

    /// Tells the core of a fault, with `last` of the last one of its group.
    ///
    /// # Safety
    ///
    /// `self` is that of `dev`, which is probed, and whoever attaches or detaches it holds
    /// [`Faulting::blocked`] until what was attached is gone.
    pub(super) unsafe fn report(&self, dev: &Device, request: &PageRequest, last: bool) {
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
        let _reporting = self.blocked.read();
        // SAFETY: The device is probed; what it is attached to stays meanwhile. The event is
        // copied. A fault that nobody takes is answered at once, and there is nobody to tell.
        let _ = unsafe { bindings::iommu_report_device_fault(device::as_raw(dev), &mut event) };
    }
}
