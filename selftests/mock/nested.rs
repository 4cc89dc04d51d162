// SPDX-License-Identifier: GPL-2.0-only

//! The mock IOMMU's nested page tables and vIOMMUs: attaching devices, and invalidating caches.

use core::ops::ControlFlow;

use kernel::{
    device::Device,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::kapi::{
    iommu::domain::UserData,
    iommu_driver::{
        Array,
        DriverPages,
        Nested,
        NestedTables,
        NewViommu,
        ViommuRef,
        VirtualIommu, //
    },
    uapi::test::{
        mock,
        HwptInvalidateSelftest,
        ViommuInvalidateSelftest,
        ViommuSelftest, //
    }, //
};

use super::state::{
    first_version,
    Mock,
    MockDevice,
    MockNested,
    MockViommu, //
};

/// A flag of invalidation requests that the kernel's own mock does not have: the request is carried
/// out, and the driver returns without looking at the next one. Drivers may do that.
const STOP_HERE: u32 = 1 << 31;

/// Returns `EOPNOTSUPP` for unknown flags, and `EINVAL` if a cache of so many entries has no `id`.
fn check_request(flags: u32, id: u32, entries: usize) -> Result {
    if flags & !(mock::INVALIDATE_ALL | STOP_HERE) != 0 {
        return Err(EOPNOTSUPP);
    }
    if (id as usize) < entries {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Invalidates entry `id` of a cache, or all of them, as the flags say.
fn invalidate_cache(caches: &[Atomic<u32>], flags: u32, id: u32) {
    let all = flags & mock::INVALIDATE_ALL != 0;
    for (cache, at) in caches.iter().zip(0..) {
        if all || at == id {
            cache.store(0, Relaxed);
        }
    }
}

/// Returns what the flags say of the requests that follow.
fn next(flags: u32) -> ControlFlow<()> {
    if flags & STOP_HERE != 0 {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

impl Nested for MockNested {
    type Driver = Mock;

    /// Returns `ENOENT` if the page tables are on a vIOMMU that has no vDEVICE of the device.
    fn attach(tables: &NestedTables<Self>, dev: &Device, data: &MockDevice) -> Result {
        if let Some(viommu) = tables.viommu() {
            data.virt_id.store(viommu.virt_id(dev)? as u64, Relaxed);
        }
        Ok(())
    }

    fn attach_pasid(_tables: &NestedTables<Self>, data: &MockDevice, pasid: u32) -> Result {
        data.check_pasid(pasid)
    }

    fn invalidate(&self, requests: Array<'_>) -> Result {
        requests.for_each(
            mock::HWPT_INVALIDATE_DATA,
            first_version!(HwptInvalidateSelftest, iotlb_id)..=size_of::<HwptInvalidateSelftest>(),
            |request: HwptInvalidateSelftest| {
                check_request(request.flags, request.iotlb_id, mock::IOTLBS)?;
                invalidate_cache(&self.iotlb, request.flags, request.iotlb_id);
                Ok(next(request.flags))
            },
        )
    }
}

impl VirtualIommu for MockViommu {
    type Driver = Mock;

    const KIND: u32 = mock::VIOMMU;
    const QUEUE_KIND: Option<u32> = Some(mock::HW_QUEUE);

    fn new(viommu: &mut NewViommu<'_>, data: Option<UserData>) -> Result<Self> {
        let Some(data) = data else {
            return Ok(Self);
        };
        let first = first_version!(ViommuSelftest, out_data);
        let mut config: ViommuSelftest = data.read(mock::VIOMMU, first)?;
        let mut pages = DriverPages::zeroed(1)?;
        pages.put(config.in_data);
        let offer = viommu.offer(pages)?;
        config.out_data = config.in_data;
        config.out_mmap_offset = offer.offset;
        config.out_mmap_length = offer.len;
        data.write(&config)?;
        Ok(Self)
    }

    fn alloc_nested(&self, flags: u32, data: UserData) -> Result<MockNested> {
        MockNested::new(flags, data)
    }

    fn invalidate(viommu: ViommuRef<'_, Mock>, requests: Array<'_>) -> Result {
        requests.for_each_of_all(
            mock::VIOMMU_INVALIDATE_DATA,
            |request: &ViommuInvalidateSelftest| {
                check_request(request.flags, request.cache_id, mock::CACHES)?;
                viommu
                    .with_device(request.vdev_id as usize, |dev: &MockDevice| {
                        invalidate_cache(&dev.cache, request.flags, request.cache_id)
                    })
                    .ok_or(EINVAL)?;
                Ok(next(request.flags))
            },
        )
    }
}
