// SPDX-License-Identifier: GPL-2.0-only

//! The mock IOMMU's driver. Its page tables are real ones, but no hardware walks them.

use kernel::{
    device::Device,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic,
        AtomicFlag, //
    }, //
};

use crate::kapi::{
    iommu::{
        domain::UserData,
        group::Capability, //
    },
    iommu_driver::{
        Amdv1Mock,
        Driver,
        Geometry,
        IommuSlot,
        Paging,
        PagingDomain,
        Probed, //
    },
    uapi::{
        hw_info,
        hwpt,
        test::{
            mock,
            HwInfo,
            HwptSelftest, //
        }, //
    },
    units::{
        IovaRange,
        PAGE_SIZE, //
    }, //
};

use super::nested::{
    MockNested,
    MockViommu, //
};

/// The only mock IOMMU.
pub(super) static MOCK: IommuSlot<Mock> = IommuSlot::new();

/// The driver.
pub(super) enum Mock {}

/// What it knows of a device.
pub(super) struct MockDevice {
    /// The IOMMU cannot track what the device writes to.
    pub(super) no_dirty: bool,
    /// What the device has cached of translations.
    pub(super) cache: [Atomic<u32>; mock::CACHES],
    /// The next attachment of [`mock::PASID_FAILING`] fails.
    fails_next: AtomicFlag,
}

impl MockDevice {
    /// A device that has cached something.
    pub(super) fn new(no_dirty: bool) -> Self {
        Self {
            no_dirty,
            cache: [const { Atomic::new(mock::CACHED) }; mock::CACHES],
            fails_next: AtomicFlag::new(false),
        }
    }
}

impl MockDevice {
    /// Whether `pasid` can be attached this time: `ENOMEM` where not. Called with the group's lock
    /// held.
    pub(super) fn check_pasid(&self, pasid: u32) -> Result {
        if pasid != mock::PASID_FAILING {
            return Ok(());
        }
        let fails = self.fails_next.load(Relaxed);
        self.fails_next.store(!fails, Relaxed);
        if fails {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }
}

/// What it keeps with page tables.
pub(super) struct MockDomain {
    tracking: AtomicFlag,
}

impl MockDomain {
    /// Whether dirty pages are tracked at this moment.
    pub(super) fn is_tracking(&self) -> bool {
        self.tracking.load(Relaxed)
    }
}

/// A device's page tables that notice what is written to do not fit one that is not tracked.
fn check_fit(domain: &PagingDomain<MockDomain>, dev: &MockDevice) -> Result {
    if domain.has_dirty() && dev.no_dirty {
        Err(EINVAL)
    } else {
        Ok(())
    }
}

impl Driver for Mock {
    type Device = MockDevice;
    type Domain = MockDomain;
    type Nested = MockNested;
    type Viommu = MockViommu;
    type Info = HwInfo;

    const MAX_PASIDS: u32 = 1 << mock::PASID_BITS;

    fn probe(dev: &Device) -> Result<Probed<'_, Self>> {
        MOCK.get().ok_or(ENODEV)?.probe(dev)
    }

    fn capable(dev: &MockDevice, capability: Capability) -> bool {
        match capability {
            Capability::CacheCoherency => true,
            Capability::DirtyTracking => !dev.no_dirty,
            Capability::EnforceCacheCoherency | Capability::PciAts => false,
        }
    }

    fn hw_info(_dev: &MockDevice, wanted: u32) -> Result<(u32, HwInfo)> {
        if ![hw_info::TYPE_DEFAULT, mock::HW_INFO].contains(&wanted) {
            return Err(EOPNOTSUPP);
        }
        let info = HwInfo {
            flags: 0,
            test_reg: mock::HW_INFO_REGISTER,
        };
        Ok((mock::HW_INFO, info))
    }

    fn alloc_paging(
        dev: &MockDevice,
        flags: u32,
        data: Option<UserData>,
    ) -> Result<Pin<KBox<PagingDomain<MockDomain>>>> {
        const KNOWN: u32 = hwpt::DIRTY_TRACKING | hwpt::NEST_PARENT | hwpt::PASID;
        const GEOMETRY: Geometry = Geometry {
            address_bits: 56,
            output_bits: 51,
            top_level: 2,
            features: 0,
        };

        let dirty = flags & hwpt::DIRTY_TRACKING != 0;
        if flags & !KNOWN != 0 || (dirty && dev.no_dirty) {
            return Err(EOPNOTSUPP);
        }
        let kind = match data {
            None => mock::PT_DEFAULT,
            Some(data) if data.kind != mock::HWPT_DATA => return Err(EOPNOTSUPP),
            Some(data) => {
                let first = core::mem::offset_of!(HwptSelftest, iotlb) + size_of::<u32>();
                let config: HwptSelftest = data.read(mock::HWPT_DATA, first)?;
                config.pagetable_type
            }
        };
        if kind != mock::PT_DEFAULT && kind != mock::PT_HUGE {
            return Err(EOPNOTSUPP);
        }
        let state = MockDomain {
            tracking: AtomicFlag::new(false),
        };
        let mut domain = PagingDomain::new(state, &GEOMETRY, dirty)?;
        if kind == mock::PT_HUGE {
            // Without a page of the CPU's size no address space would have it.
            let sizes = mock::HUGE_PAGE_SIZE | PAGE_SIZE;
            domain.as_mut().set_page_sizes(sizes);
        } else {
            let aperture = IovaRange::new(mock::APERTURE_START, mock::APERTURE_LAST);
            domain.as_mut().limit_aperture(aperture.ok_or(EINVAL)?);
        }
        Ok(domain)
    }

    fn alloc_nested(_dev: &MockDevice, flags: u32, data: UserData) -> Result<MockNested> {
        MockNested::new(flags, data)
    }

    fn block(_dev: &MockDevice) -> Result {
        Ok(())
    }

    fn block_pasid(dev: &MockDevice, pasid: u32) -> Result {
        if pasid == mock::PASID_FAILING {
            dev.fails_next.store(false, Relaxed);
        }
        Ok(())
    }
}

impl Paging for MockDomain {
    type Driver = Mock;
    type Format = Amdv1Mock;

    fn attach(domain: &PagingDomain<Self>, dev: &MockDevice) -> Result {
        check_fit(domain, dev)
    }

    fn attach_pasid(domain: &PagingDomain<Self>, dev: &MockDevice, pasid: u32) -> Result {
        check_fit(domain, dev)?;
        dev.check_pasid(pasid)
    }

    fn track_dirty(&self, enable: bool) -> Result {
        self.tracking.store(enable, Relaxed);
        Ok(())
    }
}
