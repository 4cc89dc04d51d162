// SPDX-License-Identifier: GPL-2.0-only

//! The HW queues of an IOMMU driver: `struct iommufd_hw_queue`. Each queue depends on the one with
//! the index before, so a guest allocates them in order and destroys them in the reverse order.
//!
//! C header: `include/linux/iommufd.h`.

use core::ptr::NonNull;

use kernel::{
    error::{
        from_result,
        to_result, //
    },
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    ffi::bindings,
    kapi::iommu_driver::driver::{
        Driver,
        PagingDomain,
        VirtualIommu, //
    }, //
};

/// The data of the page tables that the driver of a vIOMMU makes.
type Tables<V> = <<V as VirtualIommu>::Driver as Driver>::Domain;

/// The number of queues that a vIOMMU can have.
const MAX_QUEUES: usize = 2;

/// The struct of a queue: iommufd's part, and the driver's.
#[repr(C)]
struct Memory {
    core: bindings::iommufd_hw_queue,
    index: usize,
    /// The queue that this one depends on.
    needs: Option<NonNull<bindings::iommufd_hw_queue>>,
}

/// The first parts of a vIOMMU's struct: iommufd's part, and the queues.
#[repr(C)]
pub(super) struct ViommuBase {
    pub(super) core: bindings::iommufd_viommu,
    pub(super) queues: Queues,
}

/// The queues of a vIOMMU.
#[pin_data]
pub(super) struct Queues {
    /// The domain that translates the guest's addresses. It exists as long as the vIOMMU.
    parent: NonNull<bindings::iommu_domain>,
    /// By index. A queue is in the list from the end of its initialisation until it is destroyed.
    #[pin]
    made: Mutex<[Option<NonNull<bindings::iommufd_hw_queue>>; MAX_QUEUES]>,
}

impl Queues {
    /// Makes the list of a vIOMMU on `parent`, without queues.
    ///
    /// # Safety
    ///
    /// `parent` must be a domain that exists as long as the list.
    pub(super) unsafe fn new(parent: NonNull<bindings::iommu_domain>) -> impl PinInit<Self> {
        pin_init!(Self {
            parent,
            made <- new_mutex!([None; MAX_QUEUES], "Queues::made"),
        })
    }

    /// Adds a queue. Returns `EINVAL` for an index that is too large, `EEXIST` for one that is
    /// used, `EIO` if the queue before it is missing, `EFAULT` if the guest's address is not mapped
    /// to `phys`.
    ///
    /// # Safety
    ///
    /// iommufd must have initialised its part of the queue, and nothing else may refer to the
    /// queue. The vIOMMU must be one of `V`.
    unsafe fn add<V: VirtualIommu>(
        &self,
        queue: NonNull<bindings::iommufd_hw_queue>,
        index: u32,
        phys: u64,
    ) -> Result {
        let memory: *mut Memory = queue.as_ptr().cast();
        let mut made = self.made.lock();
        let at = index as usize;
        if made.get(at).ok_or(EINVAL)?.is_some() {
            return Err(EEXIST);
        }
        let before = match at.checked_sub(1).and_then(|before| made.get(before)) {
            Some(None) => return Err(EIO),
            Some(before) => *before,
            None => None,
        };
        // SAFETY: The caller guarantees that iommufd's part is initialised.
        let base = unsafe { (*queue.as_ptr()).base_addr };
        // SAFETY:
        // - The parent exists as long as the vIOMMU.
        // - It is page tables of the driver: `Viommu::make` in `kapi/iommu/viommu.rs` accepts no others.
        let parent = unsafe { PagingDomain::<Tables<V>>::borrow(self.parent.as_ptr()) };
        if parent.phys(base) != phys {
            return Err(EFAULT);
        }
        if let Some(before) = before {
            // SAFETY: The queue before is in the list, so it is not destroyed: that takes the lock.
            to_result(unsafe {
                bindings::_iommufd_object_depend(
                    &raw mut (*queue.as_ptr()).obj,
                    &raw mut (*before.as_ptr()).obj,
                )
            })?;
        }
        // SAFETY: The queue has the size that `get_hw_queue_size` returned: that of a `Memory`.
        unsafe {
            (*memory).index = at;
            (*memory).needs = before;
        }
        if let Some(entry) = made.get_mut(at) {
            *entry = Some(queue);
        }
        Ok(())
    }

    /// Removes a queue.
    ///
    /// # Safety
    ///
    /// [`Queues::add`] must have added the queue, and it must not have been removed.
    unsafe fn remove(&self, queue: *mut bindings::iommufd_hw_queue) {
        // SAFETY: `add` has initialised the driver's part.
        let (index, needs) = unsafe {
            let memory: *mut Memory = queue.cast();
            ((*memory).index, (*memory).needs)
        };
        let mut made = self.made.lock();
        if let Some(entry) = made.get_mut(index) {
            *entry = None;
        }
        if let Some(needs) = needs {
            // SAFETY: The queue that is needed is destroyed after this one.
            unsafe {
                bindings::_iommufd_object_undepend(
                    &raw mut (*queue).obj,
                    &raw mut (*needs.as_ptr()).obj,
                )
            };
        }
    }
}

/// Returns the queues of a vIOMMU.
///
/// # Safety
///
/// `viommu_init()` must have initialised the vIOMMU, and it must not be destroyed during `'a`.
unsafe fn queues_of<'a>(viommu: *mut bindings::iommufd_viommu) -> &'a Queues {
    // SAFETY: The struct of every vIOMMU of this folder begins with a `ViommuBase`.
    unsafe { &(*viommu.cast::<ViommuBase>()).queues }
}

/// # Safety
///
/// Must be called as `get_hw_queue_size` of `struct iommufd_viommu_ops`.
pub(super) unsafe extern "C" fn get_hw_queue_size<V: VirtualIommu>(
    _viommu: *mut bindings::iommufd_viommu,
    kind: bindings::iommu_hw_queue_type,
) -> usize {
    if V::QUEUE_KIND == Some(kind) {
        size_of::<Memory>()
    } else {
        0
    }
}

/// # Safety
///
/// Must be called as `hw_queue_init_phys` of `struct iommufd_viommu_ops`, for a vIOMMU that
/// `viommu_init()` has initialised for `V`.
pub(super) unsafe extern "C" fn hw_queue_init_phys<V: VirtualIommu>(
    queue: *mut bindings::iommufd_hw_queue,
    index: u32,
    phys: bindings::phys_addr_t,
) -> c_int {
    from_result(|| {
        let raw = NonNull::new(queue).ok_or(EINVAL)?;
        // SAFETY: iommufd has initialised its part of the queue, whose vIOMMU exists during the
        // call.
        let queues = unsafe { queues_of((*queue).viommu) };
        // SAFETY:
        // - Nothing else refers to the queue while it is being initialised.
        // - Its vIOMMU has the operations for `V`, of which this is one.
        unsafe { queues.add::<V>(raw, index, phys) }?;
        // SAFETY: The field is the driver's to set during the call.
        unsafe { (*queue).destroy = Some(destroy) };
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `destroy` of a queue that [`hw_queue_init_phys`] has initialised.
unsafe extern "C" fn destroy(queue: *mut bindings::iommufd_hw_queue) {
    // SAFETY: The vIOMMU of a queue is destroyed after it.
    let queues = unsafe { queues_of((*queue).viommu) };
    // SAFETY: `hw_queue_init_phys` added the queue before it set this operation.
    unsafe { queues.remove(queue) };
}
