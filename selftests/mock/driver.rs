// SPDX-License-Identifier: GPL-2.0-only

//! The mock IOMMU's driver: capabilities, and paging page tables. These have the format of AMD's
//! version 1 tables, and no hardware walks them.

use kernel::{
    device::Device,
    prelude::*, //
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

use super::state::{
    first_version,
    Mock,
    MockDevice,
    MockDomain,
    MockNested,
    MockViommu, //
};

/// The mock IOMMU. There is one.
pub(super) static MOCK: IommuSlot<Mock> = IommuSlot::new();

/// Returns `EINVAL` if the page tables track dirty pages and the device does not support that.
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
                let first = first_version!(HwptSelftest, iotlb);
                let config: HwptSelftest = data.read(mock::HWPT_DATA, first)?;
                config.pagetable_type
            }
        };
        if kind != mock::PT_DEFAULT && kind != mock::PT_HUGE {
            return Err(EOPNOTSUPP);
        }
        let mut domain = PagingDomain::new(MockDomain::new(), &GEOMETRY, dirty)?;
        if kind == mock::PT_HUGE {
            // An IOAS accepts only page tables that support pages of the CPU's size.
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
        dev.reset_pasid(pasid);
        Ok(())
    }
}

impl Paging for MockDomain {
    type Driver = Mock;
    type Format = Amdv1Mock;

    fn attach(domain: &PagingDomain<Self>, dev: &MockDevice) -> Result {
        check_fit(domain, dev)
    }

    // Dirty tracking is not checked here: the kernel's own mock does not check it either.
    fn attach_pasid(_domain: &PagingDomain<Self>, dev: &MockDevice, pasid: u32) -> Result {
        dev.check_pasid(pasid)
    }

    fn track_dirty(&self, enable: bool) -> Result {
        self.set_tracking(enable);
        Ok(())
    }
}
