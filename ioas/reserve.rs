// SPDX-License-Identifier: GPL-2.0-only

//! IOVAs that are reserved for devices, and those that user space allows.

use kernel::prelude::*;

use crate::{
    ioas::{
        allowed::Allowed,
        Ioas, //
    },
    kapi::{
        fault_injection,
        iommu::{
            device::IommuDevice,
            resv::{
                resv_regions,
                ResvKind,
                ResvRegion, //
            }, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        units::{
            to_u64,
            IovaRange, //
        }, //
    },
    object::Ref, //
};

impl Ioas {
    /// Replaces the allowed ranges. Returns `EADDRINUSE` if one of them is reserved.
    pub(crate) fn allow(&self, allowed: Allowed) -> Result {
        // The old ranges are dropped after the lock.
        let result = self.space.write().allow(allowed);
        result.map(drop)
    }

    /// Reserves a range as long as the address space exists. Returns `EADDRINUSE` if part of it is
    /// mapped or allowed, and `ENOMEM`.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn reserve_range(&self, range: IovaRange) -> Result {
        self.space.write().reserve_for_good(range)
    }

    /// Reserves the IOVAs that a device cannot use until the result is dropped. Returns
    /// `EADDRINUSE` if part of them is mapped or allowed, `EINVAL` if the IOMMU's driver reports
    /// MSI windows that exclude each other, and `ENOMEM`.
    pub(crate) fn reserve_for(ioas: &Ref<Ioas>, dev: &IommuDevice) -> Result<ReservedIovas> {
        fault_injection::point(EINVAL)?;
        let regions = resv_regions(dev).because(Reason::AttachRegions, 0)?;
        let count = |kind| regions.iter().filter(|region| region.kind == kind).count();
        let (hw_msi, sw_msi) = (count(ResvKind::HwMsi), count(ResvKind::SwMsi));

        ioas.space.write().reserve(ranges(&regions))?;
        let reserved = ReservedIovas {
            ioas: ioas.clone(),
            regions,
        };
        // A driver has a hardware MSI window or one for software, and one of these at most.
        if (sw_msi != 0 && hw_msi != 0) || sw_msi > 1 {
            return Err(Reason::AttachMsi.with(to_u64(sw_msi + hw_msi)));
        }
        Ok(reserved)
    }
}

/// Returns the ranges that a device cannot use when a driver is bound to it.
fn ranges(regions: &[ResvRegion]) -> impl Iterator<Item = IovaRange> + Clone + '_ {
    regions
        .iter()
        .filter(|region| region.kind != ResvKind::DirectRelaxable)
        .map(|region| region.range)
}

/// The IOVAs that a device cannot use, reserved in an address space. Dropping it ends that.
pub(crate) struct ReservedIovas {
    ioas: Ref<Ioas>,
    regions: KVec<ResvRegion>,
}

impl Drop for ReservedIovas {
    fn drop(&mut self) {
        self.ioas.space.write().unreserve(ranges(&self.regions));
    }
}
