// SPDX-License-Identifier: GPL-2.0-only

//! The door of the AMD-Vi driver: what the driver does for this backend.
//!
//! The driver keeps the sequence of an attach, the second stage, the host's domain IDs, the command
//! buffer and the event log, its lists and its locks. It calls back for the guest's fields of a
//! device table entry, and for the events of a device.
//!
//! C header: `include/linux/amd-iommu-door.h`.

use core::{
    ffi::c_void,
    slice, //
};

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    drivers::amd_vi::{
        command::{
            Device,
            Physical,
            Words, //
        },
        dte::{
            Dte,
            GuestDte, //
        },
        event::{
            self,
            Event, //
        },
        hardware::Hardware, //
    },
    ffi::bindings,
    kapi::{
        iommu::{
            device::{
                self,
                IommuDevice, //
            },
            nested::NestedDomain,
            provider,
            viommu::{
                Request,
                Viommu,
                ViommuRef, //
            }, //
        },
        uapi, //
    }, //
};

// The pure files know a command and an event as two words.
const _: () = {
    assert!(size_of::<bindings::iommufd_rs_viommu_amd_invalidate>() == size_of::<Words>());
    assert!(size_of::<bindings::iommufd_rs_vevent_amd>() == size_of::<Event>());
};

/// The driver's table of functions, held until it is dropped.
pub(crate) struct Door(());

impl Door {
    /// Looks the table up. Returns `None` where the kernel has none. Called once, when the module
    /// is loaded.
    pub(crate) fn open() -> Option<Self> {
        // SAFETY:
        // - The module is being loaded, so no other function of the door is called before this
        //   returns.
        // - The callbacks are static.
        if !unsafe { bindings::iommufd_rs_amd_vi_open(&CALLBACKS) } {
            return None;
        }
        Some(Self(()))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // SAFETY:
        // - `open` succeeded.
        // - The module is being unloaded, so no device is bound, and no vIOMMU or domain of this
        //   backend is left that calls the door.
        unsafe { bindings::iommufd_rs_amd_vi_close() };
    }
}

/// Returns whether the driver that has the door translates for `dev`.
pub(crate) fn owns(dev: &IommuDevice) -> bool {
    if !device::is_managed(dev) {
        return false;
    }
    // SAFETY:
    // - The module makes an `IommuDevice` after `Door::open` has returned, and the function accepts
    //   a door that is not open.
    // - An IOMMU driver manages the device, as was checked, and the core does not release it from that,
    //   as `IommuDevice::new` requires.
    unsafe { bindings::iommufd_rs_amd_vi_owns(device::as_raw(dev)) }
}

/// Returns what the IOMMUs of the driver implement, or `None` if `dev` is another driver's or they
/// cannot nest.
pub(crate) fn hardware(dev: &IommuDevice) -> Option<Hardware> {
    if !owns(dev) {
        return None;
    }
    let mut efr = 0;
    // SAFETY: The door is open, since `owns` has returned true, and the number can be written.
    let nests = unsafe { bindings::iommufd_rs_amd_vi_info(&mut efr) };
    nests.then(|| Hardware::new(efr))
}

/// A vIOMMU of the driver that has the door.
///
/// # Invariants
///
/// The driver initialised the vIOMMU with the type `TYPE_AMD`, and the door was open then. It stays
/// open as long as the module is loaded.
#[derive(Clone)]
pub(crate) struct AmdViommu(ViommuRef);

impl AmdViommu {
    /// Has the driver make a vIOMMU on the IOMMU of `dev`, whose events go where those of `like`
    /// go, if there is one. Returns `EOPNOTSUPP` if `dev` is another driver's, if the type is not
    /// this driver's, or if what the door calls would not find the module's objects, and the
    /// driver's own errors.
    pub(crate) fn new(dev: &IommuDevice, request: Request, like: Option<&Self>) -> Result<Self> {
        if !owns(dev) || request.kind != uapi::viommu::TYPE_AMD || !provider::is_registered() {
            return Err(EOPNOTSUPP);
        }
        let viommu = match like {
            Some(like) => Viommu::another(&like.0, dev, request)?,
            None => Viommu::new(dev, request)?,
        };
        // INVARIANT: Owner and type were just checked, and the driver initialised the vIOMMU.
        Ok(Self(viommu))
    }

    /// Returns the vIOMMU as any driver's.
    pub(crate) fn viommu(&self) -> &ViommuRef {
        &self.0
    }

    /// Returns the guest's first domain ID from `from` on that has a domain ID of the host, and
    /// that one.
    pub(crate) fn domain(&self, from: u16) -> Option<(u16, u16)> {
        let (mut guest, mut host) = (from, 0);
        // SAFETY: By the type invariants it is a vIOMMU of the driver whose door is open, and the
        // numbers can be written.
        let found =
            unsafe { bindings::iommufd_rs_amd_vi_domain(self.0.as_ptr(), &mut guest, &mut host) };
        found.then_some((guest, host))
    }

    /// Returns the first device whose vDEVICE has an id that is not less than `from`, and that id.
    pub(crate) fn device(&self, from: u16) -> Option<(u16, Device)> {
        self.find(from, true)
    }

    /// As [`AmdViommu::device`]. Whether the device uses ATS is looked up if `asks_ats`, by a read of
    /// its configuration space, and is false otherwise.
    fn find(&self, from: u16, asks_ats: bool) -> Option<(u16, Device)> {
        let mut id = u64::from(from);
        let mut device = bindings::iommufd_rs_amd_vi_device {
            ats: asks_ats,
            ..Default::default()
        };
        // SAFETY: By the type invariants it is a vIOMMU of the driver whose door is open, and both
        // can be written.
        let found =
            unsafe { bindings::iommufd_rs_amd_vi_device(self.0.as_ptr(), &mut id, &mut device) };
        if !found {
            return None;
        }
        // `make_vdevice` of the backend refuses larger ids.
        let id = u16::try_from(id).ok()?;
        let device = Device {
            device_id: device.devid,
            queue_depth: device.qdep,
            ats: device.ats,
        };
        Some((id, device))
    }

    /// Returns the guest's id of the device that the IOMMU knows by `device_id`.
    fn id_of(&self, device_id: u16) -> Option<u16> {
        let mut next = Some(0);
        while let Some((id, device)) = next.and_then(|from| self.find(from, false)) {
            if device.device_id == device_id {
                return Some(id);
            }
            next = id.checked_add(1);
        }
        None
    }

    /// Submits commands and a COMPLETION_WAIT, which takes the last place of `commands`; there are
    /// at most [`MAX`](super::batch::MAX) before it. Returns the number that [`AmdViommu::wait`]
    /// takes, `EIO` if the half of the command buffer that guests may use stays full.
    pub(crate) fn submit(&self, commands: &mut [Physical]) -> Result<u64> {
        let count = commands.len().checked_sub(1).ok_or(EINVAL)?;
        let count = u32::try_from(count).map_err(|_| EINVAL)?;
        let words = commands.as_mut_ptr().cast::<[u64; 2]>();
        let mut submission = 0;
        // SAFETY:
        // - By the type invariants it is a vIOMMU of the driver whose door is open.
        // - A `Physical` is two words, and there is one more than `count`, in which the driver puts
        //   its own command.
        // - The commands invalidate what the IOMMU or a device has cached, and do nothing else:
        //   `drivers/amd_vi/command.rs` makes no other `Physical` that is submitted.
        to_result(unsafe {
            bindings::iommufd_rs_amd_vi_submit(self.0.as_ptr(), words, count, &mut submission)
        })?;
        Ok(submission)
    }

    /// Waits until the submission is complete. Returns `EIO` if that takes too long.
    pub(crate) fn wait(&self, submission: u64) -> Result {
        // SAFETY: By the type invariants it is a vIOMMU of the driver whose door is open.
        to_result(unsafe { bindings::iommufd_rs_amd_vi_wait(self.0.as_ptr(), submission) })
    }

    /// Makes the domain of a guest's entry. Returns `ENOSPC` if the host has no domain ID left, and
    /// `ENOMEM`.
    pub(crate) fn alloc_nested(&self, guest: GuestDte) -> Result<NestedDomain> {
        let private = Private {
            guest,
            viommu: self.clone(),
        };
        let private = KBox::new(private, GFP_KERNEL_ACCOUNT)?;
        let alloc = |private| {
            // SAFETY: By the type invariants it is a vIOMMU of the driver whose door is open, and
            // `OPS` is static.
            unsafe {
                bindings::iommufd_rs_amd_vi_alloc_nested(
                    self.0.as_ptr(),
                    guest.domain_id(),
                    &OPS,
                    guest.permits_ats(),
                    private,
                )
            }
        };
        // SAFETY:
        // - The driver returns a new domain or an `ERR_PTR`.
        // - `free` of `OPS` takes `private` back.
        let alloc = || unsafe { NestedDomain::with_private(private, alloc) };
        // SAFETY: The driver returns a new domain, which refers to the vIOMMU and to `private`
        // only; that is freed with it.
        unsafe { NestedDomain::alloc_by(&self.0, alloc) }
    }
}

/// What a domain of this backend is made of. The domain owns it.
struct Private {
    guest: GuestDte,
    viommu: AmdViommu,
}

impl Private {
    /// Passes an event of a device that is attached to the domain to the guest. Returns whether it
    /// is the guest's and has a receiver, which also counts those that are lost.
    fn report(&self, event: Event) -> bool {
        let Some(device) = self.viommu.id_of(event::device_id(event)) else {
            return false;
        };
        let Some(told) = event::for_guest(event, device, &self.guest) else {
            return false;
        };
        let told = told.map(u64::to_le);
        let result = self
            .viommu
            .0
            .report(uapi::veventq::TYPE_AMD, told.as_bytes());
        result != Err(EOPNOTSUPP)
    }
}

/// The operations of the domains that [`AmdViommu::alloc_nested`] makes.
static OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
    attach_dev: Some(bindings::iommufd_rs_amd_vi_attach_nested),
    free: Some(free),
    ..pin_init::zeroed()
};

/// What the driver calls back for.
static CALLBACKS: bindings::iommufd_rs_amd_vi_callbacks = bindings::iommufd_rs_amd_vi_callbacks {
    fill: Some(fill),
    report: Some(report),
};

/// Sets the guest's fields of an entry. The driver calls it with spinlocks held.
///
/// # Safety
///
/// `private` must be what [`AmdViommu::alloc_nested`] passed, and `dte` an entry of the driver that
/// nothing else accesses.
unsafe extern "C" fn fill(private: *const c_void, dte: *mut u64) {
    // SAFETY: `alloc_nested` passed a `Private`, which is valid as long as the domain.
    let private = unsafe { &*private.cast::<Private>() };
    // SAFETY: The driver passes an entry of its own, which is this long.
    private.guest.fill(unsafe { &mut *dte.cast::<Dte>() });
}

/// Takes an event of a device that is attached to the domain. The driver calls it in process
/// context, with the mutex of the device held.
///
/// # Safety
///
/// `private` must be what [`AmdViommu::alloc_nested`] passed, and `event` an entry of an event log.
unsafe extern "C" fn report(private: *mut c_void, event: *const u32) -> bool {
    // SAFETY: `alloc_nested` passed a `Private`, which is valid as long as the domain.
    let private = unsafe { &*private.cast::<Private>() };
    // SAFETY: The driver passes an entry, which is this long.
    let words = unsafe { slice::from_raw_parts(event, 4) };
    let [first, second, third, fourth] = words else {
        return false;
    };
    let word = |low: &u32, high: &u32| u64::from(*low) | u64::from(*high) << 32;
    private.report([word(first, second), word(third, fourth)])
}

/// `free` of `OPS`.
///
/// # Safety
///
/// `domain` must have these operations, and nothing may use it any more.
unsafe extern "C" fn free(domain: *mut bindings::iommu_domain) {
    // SAFETY: The domain came from `alloc_nested` of the door, which is open as long as domains
    // exist.
    let private = unsafe { bindings::iommufd_rs_amd_vi_free_nested(domain) };
    // SAFETY: `alloc_nested` of this file passed it, from `KBox::into_raw`.
    drop(unsafe { KBox::from_raw(private.cast::<Private>()) });
}
