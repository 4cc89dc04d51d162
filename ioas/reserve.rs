// SPDX-License-Identifier: GPL-2.0-only

//! IOVAs that are reserved for devices, and those that user space allows.

use kernel::{
    device::Device,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ioas::{
        interval::IntervalMap,
        space::Owner,
        Ioas, //
    },
    kapi::{
        fault_injection,
        iommu::{
            device::IommuDevice,
            resv::{
                resv_regions,
                ResvKind, //
            }, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        units::{
            to_u64,
            IovaUnit, //
        }, //
    },
    object::Ref, //
};

impl Ioas {
    /// Replaces the allowed ranges. Returns `EADDRINUSE` if one of them is reserved.
    pub(crate) fn allow(&self, allowed: IntervalMap<IovaUnit, ()>) -> Result {
        // The old ranges are dropped after the lock.
        let result = self.space.write().allow(allowed);
        result.map(drop)
    }

    /// Reserves a range as long as the address space exists. Returns `EADDRINUSE` if part of it is
    /// mapped or allowed, and `ENOMEM`.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn reserve_range(&self, range: crate::kapi::units::IovaRange) -> Result {
        self.space.write().reserve(range, Owner::of(self))
    }

    /// Reserves the IOVAs that a device cannot use until the result is dropped. Returns
    /// `EADDRINUSE` if part of them is mapped or allowed, `EINVAL` if the IOMMU's driver reports
    /// MSI windows that exclude each other, and `ENOMEM`.
    pub(crate) fn reserve_for(ioas: &Ref<Ioas>, dev: &IommuDevice) -> Result<ReservedIovas> {
        fault_injection::point(EINVAL)?;
        let regions = resv_regions(dev).because(Reason::AttachRegions, 0)?;
        let dev: &Device = dev;
        let reserved = ReservedIovas {
            ioas: ioas.clone(),
            dev: dev.into(),
        };
        let owner = Owner::of(dev);
        let count = |kind| regions.iter().filter(|region| region.kind == kind).count();
        let (hw_msi, sw_msi) = (count(ResvKind::HwMsi), count(ResvKind::SwMsi));

        let mut space = ioas.space.write();
        let result = regions
            .iter()
            .filter(|region| region.kind != ResvKind::DirectRelaxable)
            .try_for_each(|region| space.reserve(region.range, owner));
        drop(space);
        result?;
        // A driver has a hardware MSI window or one for software, and one of these at most.
        if (sw_msi != 0 && hw_msi != 0) || sw_msi > 1 {
            return Err(Reason::AttachMsi.with(to_u64(sw_msi + hw_msi)));
        }
        Ok(reserved)
    }
}

/// The IOVAs that a device cannot use, reserved in an address space. Dropping it ends that.
pub(crate) struct ReservedIovas {
    ioas: Ref<Ioas>,
    dev: ARef<Device>,
}

impl Drop for ReservedIovas {
    fn drop(&mut self) {
        self.ioas.space.write().unreserve(Owner::of(&*self.dev));
    }
}
