// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs: what an IOMMU driver has for the virtual IOMMU of a guest.
//!
//! The driver and we share a `struct iommufd_viommu`. Of its fields the driver reads `iommu_dev`,
//! `type`, and by functions of the kernel `vdevs` and `obj`; it sets `ops`; and it hands `ictx` and
//! the address of the struct back to us. `hwpt` is private to iommufd: it leads to our [`Viommu`].
//! `veventqs` is always empty, and its semaphore unused: [`Receivers`] takes their place.
//!
//! C headers: `include/linux/iommufd.h`, `include/linux/iommu.h`.

use core::ffi::c_void;

use kernel::{
    device::Device,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        device,
        domain::{
            Domain,
            UserData, //
        },
        driver_ref::DriverRef,
        driver_struct::DriverStruct,
        invalidate::{
            Invalidated,
            Requests, //
        },
        provider,
        vevent::{
            Connection,
            EventReceiver,
            Receivers, //
        }, //
    }, //
};

/// A reference to a context: the owner of objects that drivers know.
///
/// # Safety
///
/// Where a driver passes the pointer back as a `struct iommufd_ctx *`, it must be accepted. It must
/// remain valid until the objects of the context have been dropped.
pub(crate) unsafe trait Context {
    /// Returns the pointer that drivers are given as a `struct iommufd_ctx *`.
    fn as_raw(&self) -> *mut c_void;
}

/// The context of an object and the id of the object in it, as C code knows them.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    /// Drivers pass it back. They do not look into it.
    ctx: *mut c_void,
    id: u32,
}

impl Identity {
    /// Returns that of an object that will have the id `id` in `ctx`.
    pub(crate) fn new(ctx: &impl Context, id: u32) -> Self {
        Self {
            ctx: ctx.as_raw(),
            id,
        }
    }

    /// The public part of an object.
    pub(super) fn object(&self, kind: bindings::iommufd_object_type) -> bindings::iommufd_object {
        let one = bindings::refcount_t {
            refs: bindings::atomic_t { counter: 1 },
        };
        bindings::iommufd_object {
            wait_cnt: one,
            // Users are counted by us alone, elsewhere.
            users: one,
            type_: kind,
            id: self.id,
        }
    }
}

/// What a vIOMMU is asked for.
pub(crate) struct Request {
    /// What it will be.
    pub(crate) identity: Identity,
    /// One of `enum iommu_viommu_type`.
    pub(crate) kind: u32,
    /// The second stage of all translation.
    pub(crate) parent: Arc<Domain>,
    /// The driver's own data.
    pub(crate) data: Option<UserData>,
}

/// Whether built-in IOMMU drivers never call functions of the kernel that look into our objects.
/// Intel's and AMD's do not; elsewhere they must reach us.
const DRIVERS_NEVER_CALL: bool = cfg!(CONFIG_X86);

/// What the driver of `dev` wants for a vIOMMU, in bytes. `None` where it has none of that kind.
fn size_for(dev: &Device, kind: u32) -> Option<usize> {
    if !DRIVERS_NEVER_CALL && !provider::is_registered() {
        return None;
    }
    let ops = device::iommu_ops(dev).ok()?;
    ops.viommu_init?;
    // SAFETY: The operation belongs to the driver of this device.
    let size = unsafe { ops.get_viommu_size?(device::as_raw(dev), kind) };
    (size != 0).then_some(size)
}

/// Whether the driver of a device has vIOMMUs of a kind (`enum iommu_viommu_type`).
pub(crate) fn has_viommu(dev: &Device, kind: u32) -> bool {
    size_for(dev, kind).is_some()
}

/// The IOMMU that translates for a device, to be compared. NULL where there is none.
fn iommu_of(dev: &Device) -> *mut bindings::iommu_device {
    // SAFETY: The device is alive.
    unsafe { bindings::iommufd_rs_dev_iommu_device(device::as_raw(dev)) }
}

/// A vIOMMU, owned. It goes after everything that was made on it.
///
/// # Invariants
///
/// The struct is initialised, and its `hwpt` leads to `self`, which does not move.
#[pin_data(PinnedDrop)]
pub(crate) struct Viommu {
    raw: DriverStruct<bindings::iommufd_viommu>,
    parent: Arc<Domain>,
    receivers: Arc<Receivers>,
    /// The IOMMU of the device exists as long as the device.
    _dev: ARef<Device>,
    // The driver's operations are called when the struct is dropped, so this is dropped last.
    _driver: DriverRef,
}

impl Viommu {
    /// Has the driver of `dev` make a vIOMMU on the IOMMU of that device. `EOPNOTSUPP` where it has
    /// none of that kind, `EINVAL` where the parent is another driver's, `ENOMEM`, or the driver's
    /// own errors.
    pub(crate) fn new(dev: &Device, request: Request) -> Result<Arc<Self>> {
        let size = size_for(dev, request.kind).ok_or(EOPNOTSUPP)?;
        let ops = device::iommu_ops(dev)?;
        if !request.parent.is_of(ops) {
            return Err(EINVAL);
        }
        let viommu = Arc::pin_init(
            try_pin_init!(Self {
                raw: DriverStruct::zeroed(size)?,
                parent: request.parent,
                receivers: Arc::pin_init(Receivers::new(), GFP_KERNEL_ACCOUNT)?,
                _dev: dev.into(),
                _driver: DriverRef::get(ops)?,
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        let raw = viommu.as_ptr();
        let iommu = iommu_of(dev);
        // SAFETY: The memory is ours alone, zero, and stays in place; the lock class is static.
        unsafe {
            (*raw).obj = request
                .identity
                .object(bindings::iommufd_object_type_IOMMUFD_OBJ_VIOMMU);
            (*raw).ictx = request.identity.ctx.cast();
            (*raw).iommu_dev = iommu;
            (*raw).hwpt = Arc::as_ptr(&viommu).cast_mut().cast();
            (*raw).type_ = request.kind;
            bindings::xa_init_flags(&raw mut (*raw).vdevs, 0);
            let list = &raw mut (*raw).veventqs;
            (*list).next = list;
            (*list).prev = list;
            bindings::__init_rwsem(
                &raw mut (*raw).veventqs_rwsem,
                c"iommufd_viommu::veventqs_rwsem".as_char_ptr(),
                kernel::static_lock_class!().as_ptr(),
            );
        }
        let init = ops.viommu_init.ok_or(EOPNOTSUPP)?;
        let data = request.data.map(UserData::as_raw);
        let data = data.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: The struct has the size that the driver asked for and is initialised as it
        // expects; the parent stays as long as the vIOMMU, `data` as long as the call.
        to_result(unsafe { init(raw.cast(), viommu.parent.as_ptr(), data) })?;
        // SAFETY: The driver has set it, and will not change it.
        if unsafe { (*raw).ops.is_null() } {
            return Err(EOPNOTSUPP);
        }
        Ok(viommu)
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommufd_viommu {
        self.raw.as_ptr()
    }

    /// Connects `receiver` to the events of type `kind` (`enum iommu_veventq_type`) that the driver
    /// reports. Returns `EEXIST` if the type has a receiver, `ENOMEM` if there is no memory.
    pub(crate) fn connect(
        &self,
        kind: u32,
        receiver: Arc<dyn EventReceiver>,
    ) -> Result<Connection> {
        Connection::new(&self.receivers, kind, receiver)
    }

    /// Returns the operations of the IOMMU driver.
    pub(super) fn iommu_ops(&self) -> &bindings::iommu_ops {
        // SAFETY: `new` set `iommu_dev` to the IOMMU of `dev`, which exists as long as `dev`; its
        // operations exist as long as `_driver`.
        unsafe { &*(*(*self.as_ptr()).iommu_dev).ops }
    }

    /// The driver's operations. `EOPNOTSUPP` never happens once it is made.
    pub(super) fn ops(&self) -> Result<&bindings::iommufd_viommu_ops> {
        // SAFETY: They are set once, by `viommu_init`, and live as long as the driver.
        unsafe { (*self.as_ptr()).ops.as_ref() }.ok_or(EOPNOTSUPP)
    }

    /// Whether it is on the IOMMU that translates for `dev`.
    pub(crate) fn serves(&self, dev: &Device) -> bool {
        // SAFETY: It does not change once it is made.
        core::ptr::eq(unsafe { (*self.as_ptr()).iommu_dev }, iommu_of(dev))
    }

    /// Makes the IOMMU and its devices forget what they have cached. `EOPNOTSUPP` where the driver
    /// has no use for that, or its own errors.
    pub(crate) fn invalidate(&self, requests: Requests) -> Invalidated {
        match self.ops().map(|ops| ops.cache_invalidate) {
            // SAFETY: The vIOMMU is initialised, and the array is the caller's during the call.
            Ok(Some(op)) => requests.carry_out(|array| unsafe { op(self.as_ptr(), array) }),
            _ => Invalidated::nothing(EOPNOTSUPP),
        }
    }
}

/// Passes an event that a driver reports to its receiver. Returns `EOPNOTSUPP` if there is none.
///
/// # Safety
///
/// `viommu` came from [`Viommu::new`], which has returned, and its driver was not told that it
/// goes.
pub(crate) unsafe fn report(
    viommu: *mut bindings::iommufd_viommu,
    kind: u32,
    event: &[u8],
) -> Result {
    // SAFETY: By the invariant, and it stays until its driver has been told that it goes.
    let viommu = unsafe { &*(*viommu).hwpt.cast::<Viommu>() };
    viommu.receivers.report(kind, event)
}

#[pinned_drop]
impl PinnedDrop for Viommu {
    fn drop(self: Pin<&mut Self>) {
        let raw = self.as_ptr();
        // A driver may have failed after it had set its operations, and then wants this too.
        if let Ok(Some(destroy)) = self.ops().map(|ops| ops.destroy) {
            // SAFETY: The driver has seen the struct, and nothing made on the vIOMMU is left.
            unsafe { destroy(raw) };
        }
        // SAFETY: It was initialised, and has no vDEVICEs any more.
        unsafe { bindings::xa_destroy(&raw mut (*raw).vdevs) };
    }
}

// SAFETY: Drivers lock what they keep; our fields are only read.
unsafe impl Send for Viommu {}
// SAFETY: As above.
unsafe impl Sync for Viommu {}
