// SPDX-License-Identifier: GPL-2.0-only

//! HW queues: an IOMMU driver's part of a queue that the hardware reads in a guest's memory.
//!
//! The driver and this module share a `struct iommufd_hw_queue`. The driver reads its fields
//! `viommu`, `type`, `base_addr` and `length`, and sets `destroy`. `access` is private to iommufd:
//! here it is the address of the [`HwQueue`].
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)

use core::ffi::c_void;

use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        iommu::{
            driver_struct::DriverStruct,
            viommu::{
                Identity,
                Viommu,
                ViommuRef, //
            }, //
        },
        sync::shared::SharedAny,
        units::to_usize, //
    }, //
};

/// Memory that hardware may read by its physical address.
///
/// # Safety
///
/// As long as a value exists, the `len()` bytes from the physical address `phys()` must be pinned.
pub(crate) unsafe trait ContiguousMemory: Send + Sync {
    /// Returns the physical address of the first byte.
    fn phys(&self) -> u64;

    /// Returns the length in bytes.
    fn len(&self) -> u64;
}

/// A request for a HW queue.
pub(crate) struct Request {
    /// The identity of the object that the queue is going to belong to, which exists already. The
    /// queue has a reference to it until [`HwQueue::disown`].
    pub(crate) identity: Identity,
    /// The kind of queue: an `enum iommu_hw_queue_type`.
    pub(crate) kind: u32,
    /// The index of the queue among those of its kind on the vIOMMU.
    pub(crate) index: u32,
    /// The guest's address of the queue.
    pub(crate) iova: u64,
    /// The length of the queue in bytes.
    pub(crate) length: u64,
    /// The memory of the queue.
    pub(crate) memory: KBox<dyn ContiguousMemory>,
}

/// Returns the size of the driver's struct for a queue in bytes, or `None` if the driver of the
/// vIOMMU has no queues of that kind.
fn size_for(viommu: &Viommu, kind: u32) -> Option<usize> {
    let ops = viommu.ops().ok()?;
    ops.hw_queue_init_phys?;
    // SAFETY: The operation belongs to the driver of the vIOMMU, which is initialised.
    let size = unsafe { ops.get_hw_queue_size?(viommu.as_ptr(), kind) };
    (size != 0).then_some(size)
}

/// Returns whether the driver of a vIOMMU has queues of a kind (`enum iommu_hw_queue_type`).
pub(crate) fn has_hw_queue(viommu: &Viommu, kind: u32) -> bool {
    size_for(viommu, kind).is_some()
}

/// A HW queue.
///
/// # Invariants
///
/// iommufd's part of `raw` is initialised: `access` is the address of `self`, which does not move.
#[pin_data(PinnedDrop)]
pub(crate) struct HwQueue {
    // The driver's `destroy`, which `drop` calls, stops the hardware. What the hardware and the
    // driver refer to is dropped after that, and the vIOMMU last.
    raw: DriverStruct<bindings::iommufd_hw_queue>,
    memory: KBox<dyn ContiguousMemory>,
    #[pin]
    links: Mutex<Links>,
    _viommu: ViommuRef,
}

// SAFETY: IOMMU drivers lock what they change in their queues, and the other fields are `Send`.
unsafe impl Send for HwQueue {}
// SAFETY: IOMMU drivers lock what they change in their queues, and the other fields are `Sync`.
unsafe impl Sync for HwQueue {}

/// How a queue and other queues of its vIOMMU refer to each other.
struct Links {
    /// The objects of queues that this one depends on.
    needs: KVec<SharedAny>,
    /// The object of this queue, until [`HwQueue::disown`].
    object: Option<SharedAny>,
}

impl HwQueue {
    /// Makes a queue.
    ///
    /// Returns `EOPNOTSUPP` if the driver of the vIOMMU has no queues of that kind, `EINVAL` if the
    /// memory is shorter than the queue, `ENOMEM` if there is no memory for the struct, or the
    /// error of the driver.
    pub(crate) fn new(viommu: &ViommuRef, request: Request) -> Result<Pin<KBox<Self>>> {
        let size = size_for(viommu, request.kind).ok_or(EOPNOTSUPP)?;
        let init = viommu.ops()?.hw_queue_init_phys.ok_or(EOPNOTSUPP)?;
        if request.memory.len() < request.length {
            return Err(EINVAL);
        }
        let object = request.identity.object_ref().cloned();
        // INVARIANT: iommufd's part is initialised below, before anything can fail.
        let queue = KBox::try_pin_init(
            try_pin_init!(Self {
                raw: DriverStruct::zeroed(size)?,
                memory: request.memory,
                links <- new_mutex!(
                    Links {
                        needs: KVec::new(),
                        object,
                    },
                    "HwQueue::links"
                ),
                _viommu: viommu.clone(),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        let raw = queue.raw.as_ptr();
        // SAFETY: The struct is zero, and nothing else refers to it yet.
        let core = unsafe { &mut *raw };
        core.obj = request
            .identity
            .object(bindings::iommufd_object_type_IOMMUFD_OBJ_HW_QUEUE);
        core.viommu = viommu.as_ptr();
        core.access = core::ptr::from_ref(&*queue).cast_mut().cast();
        core.base_addr = request.iova;
        core.length = to_usize(request.length);
        core.type_ = request.kind;
        // SAFETY:
        // - The struct has the size that the driver asked for, and iommufd's part of it is
        //   initialised above.
        // - The memory stays pinned until `destroy` has returned, because `memory` is dropped after
        //   `PinnedDrop::drop`.
        to_result(unsafe { init(raw, request.index, queue.memory.phys()) })?;
        Ok(queue)
    }

    /// Drops the reference to its own object. The caller has another one.
    ///
    /// The driver knows a queue before its object can be found by its id, and may be asked at that
    /// time for another queue that depends on it. Until now the queue itself knew its object then.
    pub(crate) fn disown(&self) {
        let object = self.links.lock().object.take();
        drop(object);
    }
}

#[pinned_drop]
impl PinnedDrop for HwQueue {
    fn drop(self: Pin<&mut Self>) {
        let raw = self.raw.as_ptr();
        // SAFETY: The struct is dropped after this, and the driver sets the field only in
        // `hw_queue_init_phys`.
        if let Some(destroy) = unsafe { (*raw).destroy } {
            // SAFETY: The driver has set the operation for this struct.
            unsafe { destroy(raw) };
        }
    }
}

/// Returns the context of an object, as [`Place::context`] has named it, and the id of the object.
/// Returns `None` if the object is not a HW queue; other objects do not depend on each other.
///
/// # Safety
///
/// `object` must be the public part of an object that this module gave to a driver, and that is not
/// freed during the call.
pub(crate) unsafe fn owner_of(object: *mut bindings::iommufd_object) -> Option<(*mut c_void, u32)> {
    // SAFETY: The caller guarantees that the object is valid, and its public part does not change
    // once it is made.
    let (kind, id) = unsafe { ((*object).type_, (*object).id) };
    if kind != bindings::iommufd_object_type_IOMMUFD_OBJ_HW_QUEUE {
        return None;
    }
    let queue: *mut bindings::iommufd_hw_queue = object.cast();
    // SAFETY: The public part is the first field of the struct of a queue, whose vIOMMU exists as
    // long as the queue.
    Some((unsafe { (*(*queue).viommu).ictx.cast() }, id))
}

/// Returns the links of a queue.
///
/// # Safety
///
/// `object` must be the public part of a [`HwQueue`] that is not freed during `'a`.
unsafe fn links_of<'a>(object: *mut bindings::iommufd_object) -> &'a Mutex<Links> {
    let queue: *mut bindings::iommufd_hw_queue = object.cast();
    // SAFETY: By the type invariant the field is the address of the `HwQueue`.
    let queue = unsafe { &*(*queue).access.cast::<HwQueue>() };
    &queue.links
}

/// Returns the object of a queue that cannot be found by its id yet.
///
/// # Safety
///
/// `object` must be the public part of a [`HwQueue`] that is not freed during the call.
pub(crate) unsafe fn own_object(object: *mut bindings::iommufd_object) -> Option<SharedAny> {
    // SAFETY: The caller guarantees that it is the public part of a `HwQueue` that exists.
    let links = unsafe { links_of(object) };
    links.lock().object.clone()
}

/// Makes room for one more dependency of a queue. Returns `ENOMEM`.
///
/// # Safety
///
/// `object` must be the public part of a [`HwQueue`] that is not freed during the call.
pub(crate) unsafe fn reserve_dependency(object: *mut bindings::iommufd_object) -> Result {
    // SAFETY: The caller guarantees that it is the public part of a `HwQueue` that exists.
    let links = unsafe { links_of(object) };
    Ok(links.lock().needs.reserve(1, GFP_KERNEL_ACCOUNT)?)
}

/// Keeps a reference to what a queue depends on until the queue is dropped. There must be room for
/// it. So nothing can fail when the reference is there, which may have become the last one: the
/// driver may hold a lock that dropping it takes.
///
/// # Safety
///
/// `object` must be the public part of a [`HwQueue`] that is not freed during the call.
pub(crate) unsafe fn add_dependency(object: *mut bindings::iommufd_object, needed: SharedAny) {
    // SAFETY: The caller guarantees that it is the public part of a `HwQueue` that exists.
    let links = unsafe { links_of(object) };
    let added = links.lock().needs.push_within_capacity(needed);
    warn_on_once!(added.is_err());
}
