// SPDX-License-Identifier: GPL-2.0-only

//! The mock IOMMU's nested page tables and vIOMMUs. What they have cached are numbers that tests
//! choose, look at and invalidate; nothing is ever translated by them.

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
        OfferedPages,
        ViommuRef,
        VirtualIommu, //
    },
    uapi::{
        hwpt,
        test::{
            mock,
            HwptInvalidateSelftest,
            HwptSelftest,
            ViommuInvalidateSelftest,
            ViommuSelftest, //
        }, //
    }, //
};

use super::driver::{
    Mock,
    MockDevice, //
};

/// Bytes that every version of `$struct` has: those up to its field `$last`, a `u32`.
macro_rules! first_version {
    ($struct:ident, $last:ident) => {
        core::mem::offset_of!($struct, $last) + size_of::<u32>()
    };
}

/// `EOPNOTSUPP` for unknown flags, `EINVAL` where there is no entry `id` among so many.
fn check_request(flags: u32, id: u32, entries: usize) -> Result {
    if flags & !mock::INVALIDATE_ALL != 0 {
        return Err(EOPNOTSUPP);
    }
    if (id as usize) < entries {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Forgets what `caches` has: all of it, or the entry `id`.
fn forget(caches: &[Atomic<u32>], flags: u32, id: u32) {
    let all = flags & mock::INVALIDATE_ALL != 0;
    for (cache, at) in caches.iter().zip(0..) {
        if all || at == id {
            cache.store(0, Relaxed);
        }
    }
}

/// What the mock keeps with nested page tables.
pub(super) struct MockNested {
    iotlb: [Atomic<u32>; mock::IOTLBS],
}

impl MockNested {
    /// Page tables of which something is cached that `data` say.
    pub(super) fn new(flags: u32, data: UserData) -> Result<Self> {
        if flags & !hwpt::PASID != 0 || data.kind != mock::HWPT_DATA {
            return Err(EOPNOTSUPP);
        }
        let first = first_version!(HwptSelftest, iotlb);
        let config: HwptSelftest = data.read(mock::HWPT_DATA, first)?;
        Ok(Self {
            iotlb: core::array::from_fn(|_| Atomic::new(config.iotlb)),
        })
    }

    /// Whether `iotlb` is cached in the entry `id`.
    pub(super) fn has_cached(&self, id: u32, iotlb: u32) -> bool {
        let entry = self.iotlb.get(id as usize);
        entry.is_some_and(|entry| entry.load(Relaxed) == iotlb)
    }
}

impl Nested for MockNested {
    type Driver = Mock;

    fn attach(tables: &NestedTables<Self>, dev: &Device, _data: &MockDevice) -> Result {
        // A guest's IOMMU translates for devices only that the guest knows.
        match tables.viommu() {
            Some(viommu) => viommu.virt_id(dev).map(|_| ()),
            None => Ok(()),
        }
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
                forget(&self.iotlb, request.flags, request.iotlb_id);
                Ok(())
            },
        )
    }
}

/// What the mock has for the virtual IOMMU of a guest.
pub(super) struct MockViommu {
    /// Where the guest asked for something to map.
    _pages: Option<OfferedPages>,
}

impl VirtualIommu for MockViommu {
    type Driver = Mock;

    const KIND: u32 = mock::VIOMMU;
    const QUEUE_KIND: Option<u32> = Some(mock::HW_QUEUE);

    fn new(viommu: NewViommu<'_>, data: Option<UserData>) -> Result<Self> {
        let Some(data) = data else {
            return Ok(Self { _pages: None });
        };
        let first = first_version!(ViommuSelftest, out_data);
        let mut config: ViommuSelftest = data.read(mock::VIOMMU, first)?;
        let mut pages = DriverPages::zeroed(1)?;
        pages.put(config.in_data);
        let pages = viommu.offer(pages)?;
        config.out_data = config.in_data;
        config.out_mmap_offset = pages.offset();
        config.out_mmap_length = pages.len();
        data.write(&config)?;
        Ok(Self {
            _pages: Some(pages),
        })
    }

    fn alloc_nested(&self, flags: u32, data: UserData) -> Result<MockNested> {
        MockNested::new(flags, data)
    }

    fn invalidate(viommu: ViommuRef<'_, Mock>, requests: Array<'_>) -> Result {
        requests.for_each(
            mock::VIOMMU_INVALIDATE_DATA,
            1..=usize::MAX,
            |request: ViommuInvalidateSelftest| {
                check_request(request.flags, request.cache_id, mock::CACHES)?;
                let forget = |dev: &MockDevice| forget(&dev.cache, request.flags, request.cache_id);
                let found = viommu.with_device(request.vdev_id as usize, forget);
                found.ok_or(EINVAL)
            },
        )
    }
}
