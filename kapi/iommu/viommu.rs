// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs: an IOMMU driver's part of the virtual IOMMU of a guest.
//!
//! The driver and this module share a `struct iommufd_viommu`. The driver reads its fields
//! `iommu_dev` and `type`, sets `ops`, passes `ictx` and the address of the struct back, and
//! reaches `vdevs` and `obj` by functions of the kernel. `hwpt` is private to iommufd: here it is
//! the address of the [`Viommu`]. `veventqs` and its semaphore are not used: [`Receivers`] takes
//! their place.
//!
//! This module compares `iommu_dev` with other addresses and does not read what is there. The driver
//! may read it: its IOMMUs are its own, and it is referenced ([`DriverRef`]).
//!
//! C headers: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h),
//! [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use core::{
    any::Any,
    ffi::c_void, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device::{
                self,
                IommuDevice, //
            },
            domain::{
                Domain,
                UserData, //
            },
            driver_ref::DriverRef,
            driver_struct::DriverTail,
            invalidate::{
                Invalidated,
                Requests, //
            },
            provider,
            vevent::{
                new_receivers,
                EventReceiver,
                Receivers, //
            }, //
        },
        sync::{
            members::{
                Member,
                SetRef, //
            },
            raw_ref::RawRef,
            room::{
                Room,
                RoomSize, //
            },
            shared::{
                Shared,
                SharedAny, //
            }, //
        }, //
    }, //
};

/// The context of an object that is being made, and its id in it.
///
/// # Safety
///
/// - `Context` must be the type for which the functions that the kernel calls for drivers take a
///   `struct iommufd_ctx *`: what `as_raw` of a [`Shared`] of it returns.
/// - The object that gets the id in that context must own what is made for the place, and `object`,
///   if it returns one, must return that object.
pub(crate) unsafe trait Place {
    /// What drivers know as a `struct iommufd_ctx`. They do not look into it.
    type Context: Any + Send + Sync;

    /// Returns the context.
    fn context(&self) -> &Shared<Self::Context>;

    /// Returns the id.
    fn id(&self) -> u32;

    /// Returns the object, if there is one already.
    fn object(&self) -> Option<&SharedAny>;
}

/// A [`Place`] as C code knows it. It owns a reference to the context.
#[derive(Clone)]
pub(crate) struct Identity {
    raw: *mut c_void,
    context: SharedAny,
    id: u32,
    object: Option<SharedAny>,
}

impl Identity {
    /// Returns that of a place.
    pub(crate) fn new(place: &impl Place) -> Self {
        Self {
            raw: place.context().as_raw(),
            context: place.context().clone().erase(),
            id: place.id(),
            object: place.object().cloned(),
        }
    }

    /// Returns the object, if there was one when this was made.
    pub(super) fn object_ref(&self) -> Option<&SharedAny> {
        self.object.as_ref()
    }

    /// Makes the public part of an object of type `kind`.
    pub(super) fn object(&self, kind: bindings::iommufd_object_type) -> bindings::iommufd_object {
        let one = bindings::refcount_t {
            refs: bindings::atomic_t { counter: 1 },
        };
        bindings::iommufd_object {
            wait_cnt: one,
            // Not used: `object::Table` counts the references to an object.
            users: one,
            type_: kind,
            id: self.id,
        }
    }
}

/// A request for a vIOMMU.
pub(crate) struct Request {
    /// The identity of the object that the vIOMMU is going to be.
    pub(crate) identity: Identity,
    /// The kind of vIOMMU: an `enum iommu_viommu_type`.
    pub(crate) kind: u32,
    /// The page tables of the second stage, which translate the guest's physical addresses.
    pub(crate) parent: Arc<Domain>,
    /// The driver-specific data of the request, if any.
    pub(crate) data: Option<UserData>,
    /// Memory for the vIOMMU, which [`room_for`] says the size of. It is allocated otherwise.
    pub(crate) room: Room,
}

/// Whether no built-in IOMMU driver calls functions of the kernel that look into the objects of
/// iommufd. The drivers of x86 do not, except behind AMD-Vi's door, which the native backend uses
/// only if such calls come to this module. On other architectures they always must.
const DRIVERS_NEVER_CALL: bool = cfg!(CONFIG_X86);

/// Returns the size of the driver's struct for a vIOMMU in bytes, or `None` if the driver of `dev`
/// has no vIOMMUs of that kind.
fn size_for(dev: &IommuDevice, kind: u32) -> Option<usize> {
    if !DRIVERS_NEVER_CALL && !provider::is_registered() {
        return None;
    }
    let ops = device::iommu_ops(dev).ok()?;
    ops.viommu_init?;
    // SAFETY: The operation belongs to the driver of this device.
    let size = unsafe { ops.get_viommu_size?(device::as_raw(dev), kind) };
    (size != 0).then_some(size)
}

/// Returns whether the driver of a device has vIOMMUs of a kind (`enum iommu_viommu_type`).
pub(crate) fn has_viommu(dev: &IommuDevice, kind: u32) -> bool {
    size_for(dev, kind).is_some()
}

/// Returns the size of the memory for a vIOMMU of a kind on the IOMMU of `dev`.
pub(crate) fn room_for(dev: &IommuDevice, kind: u32) -> RoomSize {
    size_for(dev, kind).map_or(RoomSize::NONE, |size| {
        DriverTail::<bindings::iommufd_viommu>::room_for::<Viommu>(size)
    })
}

/// Returns the IOMMU that translates for a device, or NULL if there is none.
fn iommu_of(dev: &IommuDevice) -> *mut bindings::iommu_device {
    // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    unsafe { bindings::iommufd_rs_dev_iommu_device(device::as_raw(dev)) }
}

/// A vIOMMU, with the driver's struct.
///
/// # Invariants
///
/// - iommufd's part of `raw` is initialised: `hwpt` is the address of `self`, which does not move.
/// - Once [`Viommu::new`] has returned, the driver's part is initialised too, and `ops` is not
///   NULL.
/// - `first` does not change.
#[pin_data(PinnedDrop)]
pub(crate) struct Viommu {
    raw: DriverTail<bindings::iommufd_viommu>,
    parent: Arc<Domain>,
    #[pin]
    receivers: Receivers,
    /// The vIOMMU whose receivers receive the events of this one instead.
    first: Option<ViommuRef>,
    // The driver's operations are called when the struct is dropped, so this is dropped last.
    driver: DriverRef,
    /// What `ictx` is the address of. The driver passes that back until its operations have been
    /// called for the last time.
    _context: SharedAny,
}

/// A reference to a vIOMMU. All that is made on it has one.
pub(crate) type ViommuRef = Shared<Viommu>;

/// A receiver `R` that is connected to the events of a type of a vIOMMU, until it is dropped.
pub(crate) type Connection<R> = Member<R, ViommuRef>;

// SAFETY:
// - The set is a part of the vIOMMU or of the one that `first` refers to, which does not change.
// - The references to both are counted.
unsafe impl SetRef for ViommuRef {
    type Value = dyn EventReceiver;

    fn set(&self) -> &Receivers {
        self.receivers()
    }
}

// SAFETY: IOMMU drivers lock what they change in their vIOMMUs, and the other fields are `Send`.
unsafe impl Send for Viommu {}
// SAFETY: IOMMU drivers lock what they change in their vIOMMUs, and the other fields are `Sync`.
unsafe impl Sync for Viommu {}

impl Viommu {
    /// Makes a vIOMMU on the IOMMU of `dev`.
    ///
    /// Returns `EOPNOTSUPP` if the driver has no vIOMMUs of that kind, `EINVAL` if the parent is
    /// another driver's or no nest parent, `ENODEV` if no IOMMU driver manages the device, `ENOMEM`
    /// if there is no memory, or the error of the driver.
    pub(crate) fn new(dev: &IommuDevice, request: Request) -> Result<ViommuRef> {
        Self::make(dev, request, None)
    }

    /// Makes a vIOMMU whose events are received by the receivers of `first`. Fails as
    /// [`Viommu::new`].
    #[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_AMD_IOMMU_IOMMUFD))]
    pub(crate) fn another(
        first: &ViommuRef,
        dev: &IommuDevice,
        request: Request,
    ) -> Result<ViommuRef> {
        Self::make(dev, request, Some(first.clone()))
    }

    fn make(dev: &IommuDevice, request: Request, first: Option<ViommuRef>) -> Result<ViommuRef> {
        let size = size_for(dev, request.kind).ok_or(EOPNOTSUPP)?;
        let driver = DriverRef::of(dev)?;
        let init = driver.ops().viommu_init.ok_or(EOPNOTSUPP)?;
        if !request.parent.is_parent_of(driver.ops()) {
            return Err(EINVAL);
        }
        let context = request.identity.context.clone();
        // INVARIANT: iommufd's part is initialised below, before anything can fail.
        let viommu = DriverTail::with(size, request.room, |raw| {
            try_pin_init!(Self {
                raw,
                parent: request.parent,
                receivers <- new_receivers(),
                first,
                driver,
                _context: context,
            }? Error)
        })?;
        let raw = viommu.as_ptr();
        // SAFETY: The struct is zero, and nothing else refers to it yet.
        let core = unsafe { &mut *raw };
        core.obj = request
            .identity
            .object(bindings::iommufd_object_type_IOMMUFD_OBJ_VIOMMU);
        core.ictx = request.identity.raw.cast();
        core.iommu_dev = iommu_of(dev);
        core.hwpt = core::ptr::from_ref(&*viommu).cast_mut().cast();
        core.type_ = request.kind;
        init_lists(core);

        let data = request.data.map(UserData::as_raw);
        let data = data.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY:
        // - The struct has the size that the driver asked for, and iommufd's part of it is
        //   initialised above.
        // - The parent is one of the driver's nest parents, which was checked above, and exists as
        //   long as the vIOMMU, which has it in `parent`.
        to_result(unsafe { init(raw.cast(), viommu.parent.as_ptr(), data) })?;
        // INVARIANT: The driver has initialised its part. Its operations are checked here.
        viommu.ops()?;
        Ok(viommu)
    }

    /// Returns the C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommufd_viommu {
        self.raw.as_ptr()
    }

    /// Returns the receivers of the events that the driver reports.
    fn receivers(&self) -> &Receivers {
        self.first
            .as_ref()
            .map_or(&self.receivers, |first| first.receivers())
    }

    /// Passes an event to the receiver of its type, as [`report`] does for drivers.
    #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
    pub(crate) fn report(&self, kind: u32, event: &[u8]) -> Result {
        self.receivers().report(kind, event)
    }

    /// Returns the IOMMU driver.
    pub(super) fn driver(&self) -> &DriverRef {
        &self.driver
    }

    /// Returns the operations of the vIOMMU. Returns `EOPNOTSUPP` if the driver has set none; a
    /// vIOMMU that [`Viommu::new`] returned has some.
    pub(super) fn ops(&self) -> Result<&bindings::iommufd_viommu_ops> {
        // SAFETY:
        // - The field is NULL, or operations that are part of the driver, to which `driver` is a
        //   reference.
        // - `viommu_init` alone sets it.
        unsafe { (*self.as_ptr()).ops.as_ref() }.ok_or(EOPNOTSUPP)
    }

    /// Returns whether the vIOMMU is on the IOMMU that translates for `dev`.
    pub(crate) fn serves(&self, dev: &IommuDevice) -> bool {
        // SAFETY: By the type invariants the field is initialised, and it is not written again.
        core::ptr::eq(unsafe { (*self.as_ptr()).iommu_dev }, iommu_of(dev))
    }

    /// Invalidates what the IOMMU and the guest's devices have cached. Fails with `EOPNOTSUPP` if
    /// the driver has no such operation, or with the error of the driver.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        match self.ops().map(|ops| ops.cache_invalidate) {
            // SAFETY: By the type invariants the driver has initialised the vIOMMU.
            Ok(Some(op)) => requests.carry_out(|array| unsafe { op(self.as_ptr(), array) }),
            _ => Invalidated::nothing(EOPNOTSUPP),
        }
    }
}

/// Initialises the array of vDEVICEs, and the list of event queues, which stays empty.
fn init_lists(core: &mut bindings::iommufd_viommu) {
    // SAFETY: The array can be written, and does not move: it is part of a `Viommu`.
    unsafe { bindings::xa_init_flags(&mut core.vdevs, 0) };
    let list = &raw mut core.veventqs;
    core.veventqs.next = list;
    core.veventqs.prev = list;
    // SAFETY:
    // - The semaphore can be written, and does not move, since it is in the memory of a `Viommu`.
    // - Name and lock class are static.
    unsafe {
        bindings::__init_rwsem(
            &mut core.veventqs_rwsem,
            c"iommufd_viommu::veventqs_rwsem".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        )
    };
}

/// Passes an event that a driver reports to its receiver. Returns `EOPNOTSUPP` if there is none, or
/// the error of the receiver.
///
/// # Safety
///
/// `viommu` must be the struct of a [`Viommu`] that [`Viommu::new`] has returned, and its driver's
/// `destroy` must not have returned.
pub(crate) unsafe fn report(
    viommu: *mut bindings::iommufd_viommu,
    kind: u32,
    event: &[u8],
) -> Result {
    // SAFETY: By the type invariants the field is the address of the `Viommu`, which is not freed
    // before `destroy` has returned.
    let viommu = unsafe { &*(*viommu).hwpt.cast::<Viommu>() };
    viommu.receivers().report(kind, event)
}

#[pinned_drop]
impl PinnedDrop for Viommu {
    fn drop(self: Pin<&mut Self>) {
        let raw = self.as_ptr();
        // A driver whose `viommu_init` failed after it had set its operations wants this too.
        if let Ok(Some(destroy)) = self.ops().map(|ops| ops.destroy) {
            // SAFETY: The driver has set the operation, and all that was made on the vIOMMU was
            // dropped.
            unsafe { destroy(raw) };
        }
        // SAFETY:
        // - By the type invariants the array is initialised.
        // - Each vDEVICE has a reference to the vIOMMU, and removes itself before it drops that.
        unsafe { bindings::xa_destroy(&raw mut (*raw).vdevs) };
    }
}
