// SPDX-License-Identifier: GPL-2.0-only

//! HW queues of an IOMMU driver: `struct iommufd_hw_queue`. Each needs the one before it, so a
//! guest makes them in order and takes them down the other way round.
//!
//! C header: `include/linux/iommufd.h`.

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    ffi::bindings,
    kapi::iommu_driver::{
        ops::errno,
        viommu::{
            queues_of,
            VirtualIommu, //
        }, //
    }, //
};

/// The most queues that a vIOMMU may have.
pub(super) const MAX_QUEUES: usize = 2;

/// A queue's memory. iommufd's part comes first.
#[repr(C)]
struct Memory {
    core: bindings::iommufd_hw_queue,
    index: usize,
    needs: Option<NonNull<bindings::iommufd_hw_queue>>,
}

/// The queues of a vIOMMU.
#[pin_data]
pub(super) struct Queues {
    /// What the guest's addresses mean.
    parent: NonNull<bindings::iommu_domain>,
    #[pin]
    made: Mutex<[Option<NonNull<bindings::iommufd_hw_queue>>; MAX_QUEUES]>,
}

impl Queues {
    /// No queues, of a vIOMMU on `parent`.
    pub(super) fn new(parent: NonNull<bindings::iommu_domain>) -> impl PinInit<Self> {
        pin_init!(Self {
            parent,
            made <- new_mutex!([None; MAX_QUEUES], "Queues::made"),
        })
    }

    /// Puts a queue in its place. `EINVAL` where there is no such place, `EEXIST` where it is
    /// taken, `EIO` where the queue before it is missing, `EFAULT` where `phys` is not the memory
    /// that the guest means.
    fn add(&self, queue: NonNull<bindings::iommufd_hw_queue>, index: u32, phys: u64) -> Result {
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
        // SAFETY: The queue is initialised by iommufd and ours alone; the one before it goes only
        // when it has been taken out, for which the lock is needed; the parent stays as long as the
        // vIOMMU.
        unsafe {
            let base = (*queue.as_ptr()).base_addr;
            if bindings::iommu_iova_to_phys(self.parent.as_ptr(), base) != phys {
                return Err(EFAULT);
            }
            if let Some(before) = before {
                to_result(bindings::_iommufd_object_depend(
                    &raw mut (*queue.as_ptr()).obj,
                    &raw mut (*before.as_ptr()).obj,
                ))?;
            }
            let memory: *mut Memory = queue.as_ptr().cast();
            (*memory).index = at;
            (*memory).needs = before;
        }
        if let Some(place) = made.get_mut(at) {
            *place = Some(queue);
        }
        Ok(())
    }

    /// Takes a queue out that [`Queues::add`] put in.
    ///
    /// # Safety
    ///
    /// It has been put in, and was not taken out.
    unsafe fn remove(&self, queue: *mut bindings::iommufd_hw_queue) {
        let mut made = self.made.lock();
        let memory: *mut Memory = queue.cast();
        // SAFETY: `add` has set these fields; the queue that is needed goes after this one.
        unsafe {
            if let Some(place) = made.get_mut((*memory).index) {
                *place = None;
            }
            if let Some(needs) = (*memory).needs {
                bindings::_iommufd_object_undepend(
                    &raw mut (*queue).obj,
                    &raw mut (*needs.as_ptr()).obj,
                );
            }
        }
    }
}

/// # Safety
///
/// As `get_hw_queue_size` of `struct iommufd_viommu_ops`, for a vIOMMU of `V`.
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
/// As `hw_queue_init_phys` of `struct iommufd_viommu_ops`, for a vIOMMU of `V`.
pub(super) unsafe extern "C" fn hw_queue_init_phys<V: VirtualIommu>(
    queue: *mut bindings::iommufd_hw_queue,
    index: u32,
    phys: bindings::phys_addr_t,
) -> c_int {
    let Some(queue) = NonNull::new(queue) else {
        return EINVAL.to_errno();
    };
    // SAFETY: The queue is initialised, with a vIOMMU of `V`.
    let result = unsafe { queues_of::<V>((*queue.as_ptr()).viommu) }.add(queue, index, phys);
    if result.is_ok() {
        // SAFETY: The queue is ours to initialise.
        unsafe { (*queue.as_ptr()).destroy = Some(destroy::<V>) };
    }
    errno(result)
}

/// # Safety
///
/// As `destroy` of `struct iommufd_hw_queue`, of a vIOMMU of `V`.
unsafe extern "C" fn destroy<V: VirtualIommu>(queue: *mut bindings::iommufd_hw_queue) {
    // SAFETY: Only `hw_queue_init_phys` sets this operation, once the queue is in its place.
    unsafe { queues_of::<V>((*queue).viommu).remove(queue) };
}
