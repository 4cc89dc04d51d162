// SPDX-License-Identifier: GPL-2.0-only

//! The door of the SMMUv3 driver: what the driver does for this backend.
//!
//! The driver keeps the sequence of an attach, the lists of domains and devices, the command queue
//! and all of their locks. It calls back for one thing, the stream table entry of a device that is
//! being attached.
//!
//! C header: `include/linux/arm-smmu-v3-door.h`.

use core::ffi::c_void;

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    drivers::smmu_v3::{
        command::Physical,
        features::Features,
        pending::{
            Stream,
            MAX_ISSUED, //
        },
        ste::{
            SmmuVste,
            Ste,
            Vste, //
        }, //
    },
    ffi::bindings,
    kapi::{
        iommu::{
            device::{
                self,
                IommuDevice, //
            },
            nested::NestedDomain,
            vdevice::Vdevice,
            viommu::{
                Identity,
                Request,
                Viommu,
                ViommuRef, //
            }, //
        },
        uapi::viommu, //
    }, //
};

/// The driver's table of functions, held until it is dropped.
pub(crate) struct Door(());

impl Door {
    /// Looks the table up. Returns `None` where the kernel has none. Called once, when the module
    /// is loaded.
    pub(crate) fn open() -> Option<Self> {
        // SAFETY: No other function of the door is called before it returns.
        if !unsafe { bindings::iommufd_rs_smmu_v3_open() } {
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
        unsafe { bindings::iommufd_rs_smmu_v3_close() };
    }
}

/// Whether the driver that has the door translates for `dev`.
pub(crate) fn owns(dev: &IommuDevice) -> bool {
    if !device::is_managed(dev) {
        return false;
    }
    // SAFETY:
    // - The module makes an `IommuDevice` after `Door::open` has returned, and the function accepts
    //   a door that is not open.
    // - An IOMMU driver manages the device, as was checked, and the core does not release it from that,
    //   as `IommuDevice::new` requires.
    unsafe { bindings::iommufd_rs_smmu_v3_owns(device::as_raw(dev)) }
}

/// A vIOMMU of the driver that has the door.
///
/// # Invariants
///
/// The driver initialised the vIOMMU with the type `TYPE_ARM_SMMUV3`, and the door was open then.
/// It stays open as long as the module is loaded.
pub(crate) struct SmmuViommu(ViommuRef);

impl SmmuViommu {
    /// Has the driver make a vIOMMU on the SMMU of `dev`. Returns `EOPNOTSUPP` if `dev` is another
    /// driver's or the type is not an SMMUv3's, and the driver's own errors.
    pub(crate) fn new(dev: &IommuDevice, request: Request) -> Result<Self> {
        if !owns(dev) || request.kind != viommu::TYPE_ARM_SMMUV3 {
            return Err(EOPNOTSUPP);
        }
        // INVARIANT: Both were just checked, and `Viommu::new` returns what the driver initialised.
        Ok(Self(Viommu::new(dev, request)?))
    }

    /// As [`SmmuViommu::new`], with events that go where those of `self` go.
    pub(crate) fn another(&self, dev: &IommuDevice, request: Request) -> Result<Self> {
        if !owns(dev) || request.kind != viommu::TYPE_ARM_SMMUV3 {
            return Err(EOPNOTSUPP);
        }
        // INVARIANT: Both were just checked, and `another` returns what the driver initialised.
        Ok(Self(Viommu::another(&self.0, dev, request)?))
    }

    /// The vIOMMU as any driver's.
    pub(crate) fn viommu(&self) -> &ViommuRef {
        &self.0
    }

    /// The features of the SMMU, and the VMID that it knows the guest by.
    pub(crate) fn info(&self) -> (Features, u16) {
        let mut info = bindings::iommufd_rs_smmu_v3_info::default();
        // SAFETY: By the type's invariants it is a vIOMMU of the driver whose door is open.
        unsafe { bindings::iommufd_rs_smmu_v3_info(self.0.as_ptr(), &mut info) };
        let features = Features {
            ats: info.ats,
            two_level_cds: info.two_level_cds,
            stall_configurable: info.stall_configurable,
            range_invalidation: info.range_invalidation,
            ds: info.ds,
            asid_bits: u32::from(info.asid_bits),
            ssid_bits: u32::from(info.ssid_bits),
            repeat_erratum: info.repeat_erratum,
        };
        (features, info.vmid)
    }

    /// Stream number `nth` of the device whose vDEVICE has the id `vsid`. Returns `None` if there
    /// is no such vDEVICE or stream.
    pub(crate) fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        let nth = u32::try_from(nth).ok()?;
        let mut sid = 0;
        // SAFETY: By the type's invariants it is a vIOMMU of the driver whose door is open.
        let count =
            unsafe { bindings::iommufd_rs_smmu_v3_stream(self.0.as_ptr(), vsid, nth, &mut sid) };
        let count = u32::try_from(count).ok()?;
        Some(Stream {
            smmu: 0,
            sid,
            last: nth + 1 >= count,
        })
    }

    /// Makes the vDEVICE of a device. Returns `EINVAL` if another SMMU translates for it, `EEXIST`
    /// if the id is used, `ENOMEM`.
    pub(crate) fn make_vdevice(
        &self,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<Pin<KBox<Vdevice>>> {
        // SAFETY:
        // - By the type's invariants the driver is that of the door, whose `vdevice_init` refuses
        //   devices with several StreamIDs and changes nothing otherwise.
        // - Nothing uses what it would have checked: commands name the StreamIDs that `stream`
        //   returns, not the one of `cache_invalidate`.
        unsafe { Vdevice::without_init(&self.0, dev, virt_id, identity) }
    }

    /// Puts commands on the command queue. With `sync` they and all that the caller submitted before
    /// are complete when it returns. Returns `EINVAL` for more than [`MAX_ISSUED`] commands,
    /// `ETIMEDOUT` if the SMMU does not complete them.
    pub(crate) fn submit(&self, commands: &[Physical], sync: bool) -> Result {
        // The driver would wait forever for room for more than the queue holds.
        if commands.len() > MAX_ISSUED {
            return Err(EINVAL);
        }
        let words = commands.as_ptr().cast_mut().cast::<[u64; 2]>();
        let count = c_int::try_from(commands.len()).map_err(|_| EINVAL)?;
        // SAFETY:
        // - By the type's invariants it is a vIOMMU of the driver whose door is open.
        // - A `Physical` is two words, and the driver only reads them.
        // - The commands invalidate what the SMMU or a device has cached, and do nothing else:
        //   `drivers/smmu_v3/command.rs` makes no other `Physical`.
        to_result(unsafe {
            bindings::iommufd_rs_smmu_v3_issue(self.0.as_ptr(), words, count, sync)
        })
    }

    /// Makes the domain of a guest's entry. `ENOMEM`.
    pub(crate) fn alloc_nested(&self, vste: Vste) -> Result<NestedDomain> {
        let words = [vste.config_word(), 0];
        let ats = vste.enables_ats();
        let (features, _) = self.info();
        let vste = KBox::new(vste.on_smmu(&features), GFP_KERNEL_ACCOUNT)?;
        let alloc = |vste| {
            // SAFETY: By the type's invariants it is a vIOMMU of the driver whose door is open, and
            // `OPS` is static.
            unsafe {
                bindings::iommufd_rs_smmu_v3_alloc_nested(
                    self.0.as_ptr(),
                    &OPS,
                    words.as_ptr(),
                    ats,
                    vste,
                )
            }
        };
        // SAFETY:
        // - The driver returns a new domain or an `ERR_PTR`.
        // - `free` of `OPS` takes `vste` back.
        let alloc = || unsafe { NestedDomain::with_private(vste, alloc) };
        // SAFETY: The driver returns a new domain, which refers to the vIOMMU and to `vste` only;
        // that is freed with it.
        unsafe { NestedDomain::alloc_by(&self.0, alloc) }
    }
}

/// The operations of the domains that [`SmmuViommu::alloc_nested`] makes.
static OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
    attach_dev: Some(attach),
    free: Some(free),
    ..pin_init::zeroed()
};

/// `attach_dev` of `OPS`. It may be called again for a device that is attached already, as after a
/// reset.
///
/// # Safety
///
/// As `struct iommu_domain_ops` says; `domain` has these operations.
unsafe extern "C" fn attach(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: The domain came from the door, which is open as long as domains exist.
    unsafe { bindings::iommufd_rs_smmu_v3_attach_nested(domain, dev, old, Some(make)) }
}

/// Makes the entry of a device that is being attached. The driver calls it with locks held.
///
/// # Safety
///
/// `vste` is what `alloc_nested` was given, and `ste` is an entry for the second stage alone.
unsafe extern "C" fn make(vste: *const c_void, ste: *mut u64) {
    // SAFETY: `alloc_nested` of this file passed an `SmmuVste`, which lives as long as the domain.
    let vste = unsafe { &*vste.cast::<SmmuVste>() };
    // SAFETY: The driver passes an entry of its own, which is this long.
    let ste = unsafe { &mut *ste.cast::<Ste>() };
    *ste = vste.encode(&ste.map(u64::from_le)).map(u64::to_le);
}

/// `free` of `OPS`.
///
/// # Safety
///
/// `domain` has these operations, and is used by nobody any more.
unsafe extern "C" fn free(domain: *mut bindings::iommu_domain) {
    // SAFETY: The domain came from `alloc_nested` of the door.
    let vste = unsafe { bindings::iommufd_rs_smmu_v3_free_nested(domain) };
    // SAFETY: `alloc_nested` of this file passed it, from `KBox::into_raw`.
    drop(unsafe { KBox::from_raw(vste.cast::<SmmuVste>()) });
}
