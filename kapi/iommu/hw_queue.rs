// SPDX-License-Identifier: GPL-2.0-only

//! HW queues: what an IOMMU driver has for a queue that the hardware reads out of a guest's memory.
//!
//! The driver and we share a `struct iommufd_hw_queue`. Of its fields the driver reads `viommu`,
//! `type`, `base_addr` and `length`, and sets `destroy`. `access` is private to iommufd: it leads
//! to our [`HwQueue`].
//!
//! C header: `include/linux/iommufd.h`.

use core::ffi::c_void;

use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            driver_struct::DriverStruct,
            viommu::{
                Identity,
                Viommu, //
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

/// What a HW queue is asked for.
pub(crate) struct Request {
    /// What it will be.
    pub(crate) identity: Identity,
    /// A reference to the object that the queue is about to belong to, see [`HwQueue::disown`].
    pub(crate) object: SharedAny,
    /// One of `enum iommu_hw_queue_type`.
    pub(crate) kind: u32,
    /// Which one of its kind on the vIOMMU.
    pub(crate) index: u32,
    /// Where the guest has it.
    pub(crate) iova: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// The memory it is in.
    pub(crate) memory: KBox<dyn ContiguousMemory>,
}

/// What the vIOMMU's driver wants for a queue, in bytes. `None` where it has none of that kind.
fn size_for(viommu: &Viommu, kind: u32) -> Option<usize> {
    let ops = viommu.ops().ok()?;
    ops.hw_queue_init_phys?;
    // SAFETY: The vIOMMU is initialised.
    let size = unsafe { ops.get_hw_queue_size?(viommu.as_ptr(), kind) };
    (size != 0).then_some(size)
}

/// Whether the driver of a vIOMMU has queues of a kind (`enum iommu_hw_queue_type`).
pub(crate) fn has_hw_queue(viommu: &Viommu, kind: u32) -> bool {
    size_for(viommu, kind).is_some()
}

/// A HW queue, owned.
///
/// # Invariants
///
/// The struct is initialised, and its `access` leads to `self`, which does not move.
#[pin_data(PinnedDrop)]
pub(crate) struct HwQueue {
    // Field order: what it needs goes after it, the vIOMMU last. The hardware does not read the
    // memory any more when `drop` has returned.
    raw: DriverStruct<bindings::iommufd_hw_queue>,
    memory: KBox<dyn ContiguousMemory>,
    #[pin]
    links: Mutex<Links>,
    _viommu: Arc<Viommu>,
}

/// How a queue and other queues of its vIOMMU refer to each other.
struct Links {
    /// The objects of queues that this one depends on.
    needs: KVec<SharedAny>,
    /// The object of this queue, until [`HwQueue::disown`].
    object: Option<SharedAny>,
}

impl HwQueue {
    /// Has the vIOMMU's driver make a queue. Returns `EOPNOTSUPP` if it has none of that kind,
    /// `EINVAL` if the memory is shorter than the queue, `ENOMEM`, or the driver's error.
    pub(crate) fn new(viommu: &Arc<Viommu>, request: Request) -> Result<Pin<KBox<Self>>> {
        let size = size_for(viommu, request.kind).ok_or(EOPNOTSUPP)?;
        let init = viommu.ops()?.hw_queue_init_phys.ok_or(EOPNOTSUPP)?;
        if request.memory.len() < request.length {
            return Err(EINVAL);
        }
        let queue = KBox::try_pin_init(
            try_pin_init!(Self {
                raw: DriverStruct::zeroed(size)?,
                memory: request.memory,
                links <- new_mutex!(
                    Links {
                        needs: KVec::new(),
                        object: Some(request.object),
                    },
                    "HwQueue::links"
                ),
                _viommu: viommu.clone(),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        let raw = queue.raw.as_ptr();
        // SAFETY: The memory is ours alone and stays in place, and has the size that the driver
        // asked for; it is initialised as the driver expects.
        to_result(unsafe {
            (*raw).obj = request
                .identity
                .object(bindings::iommufd_object_type_IOMMUFD_OBJ_HW_QUEUE);
            (*raw).viommu = viommu.as_ptr();
            (*raw).access = core::ptr::from_ref(&*queue).cast_mut().cast();
            (*raw).base_addr = request.iova;
            (*raw).length = to_usize(request.length);
            (*raw).type_ = request.kind;
            init(raw, request.index, queue.memory.phys())
        })?;
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
        // SAFETY: The driver has set it or not, and is not using the struct any more.
        if let Some(destroy) = unsafe { (*raw).destroy } {
            // SAFETY: As above; the driver wants to see the struct a last time.
            unsafe { destroy(raw) };
        }
    }
}

// SAFETY: Drivers lock what they keep; our fields are locked or only read.
unsafe impl Send for HwQueue {}
// SAFETY: As above.
unsafe impl Sync for HwQueue {}

/// Where a public object of a driver is: the context, as [`Identity::new`] was given it, and the
/// id. `None` where it is no HW queue: no other objects depend on each other.
///
/// # Safety
///
/// `object` is the public part of an object that was made here.
pub(crate) unsafe fn owner_of(object: *mut bindings::iommufd_object) -> Option<(*mut c_void, u32)> {
    // SAFETY: The caller's promise; every object begins with its public part, and a queue is
    // initialised before its driver sees it.
    unsafe {
        if (*object).type_ != bindings::iommufd_object_type_IOMMUFD_OBJ_HW_QUEUE {
            return None;
        }
        let queue: *mut bindings::iommufd_hw_queue = object.cast();
        Some(((*(*queue).viommu).ictx.cast(), (*object).id))
    }
}

/// # Safety
///
/// `object` is the public part of a queue that was made here and has not gone.
unsafe fn links_of<'a>(object: *mut bindings::iommufd_object) -> &'a Mutex<Links> {
    let queue: *mut bindings::iommufd_hw_queue = object.cast();
    // SAFETY: By the invariant of `HwQueue`, whose `access` is set before its driver sees it.
    let queue = unsafe { &*(*queue).access.cast::<HwQueue>() };
    &queue.links
}

/// Returns the object of a queue that cannot be found by its id yet.
///
/// # Safety
///
/// `object` is the public part of a queue that was made here and has not gone.
pub(crate) unsafe fn own_object(object: *mut bindings::iommufd_object) -> Option<SharedAny> {
    // SAFETY: The caller's promise is the same.
    let links = unsafe { links_of(object) };
    links.lock().object.clone()
}

/// Keeps a reference to what a queue depends on until the queue is dropped. Returns `ENOMEM` if there
/// is no memory for it.
///
/// # Safety
///
/// `object` is the public part of a queue that was made here and has not gone.
pub(crate) unsafe fn add_dependency(
    object: *mut bindings::iommufd_object,
    needed: SharedAny,
) -> Result {
    // SAFETY: The caller's promise is the same.
    let links = unsafe { links_of(object) };
    Ok(links.lock().needs.push(needed, GFP_KERNEL_ACCOUNT)?)
}
