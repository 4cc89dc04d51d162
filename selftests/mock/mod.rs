// SPDX-License-Identifier: GPL-2.0-only

//! The mock: devices made by software, behind an IOMMU made by software, for the kernel's own
//! iommufd selftests (`tools/testing/selftests/iommu`). Part of the test module only.
//!
//! Tests make devices and check page tables by `IOMMU_TEST_CMD` of `/dev/iommu`, which does what
//! vfio and hardware do, through the same functions. `MOCK_FLAGS_ACCESS_SYZ`, by which fuzzers
//! write addresses, is not supported.
//!
//! A mock device has page faults only while nobody attaches or detaches it (rank 16, see
//! `kapi/iommu/fault_lock.rs`). The lock `Held::inner` (rank 3) is held while an emulated device
//! pins pages and gives them back.

mod access;
mod check;
mod device;
mod dmabuf;
mod driver;
mod nested;
mod state;

use kernel::prelude::*;

use crate::{
    kapi::{
        fault_injection,
        file::file_ref::FileRef,
        iommu_driver,
        mm::user::UserStruct,
        reason::Result,
        uapi::test::{
            op,
            Cmd, //
        }, //
    },
    object::Ctx, //
};

pub(crate) use device::destroy;

/// The registered mock. Dropped when the module is unloaded.
pub(crate) struct Mock {
    _iommu: iommu_driver::Registration<state::Mock>,
    _fault: fault_injection::Control,
}

impl Mock {
    /// Registers the mock IOMMU and its bus. Returns `ENOMEM`, and `EEXIST` if there is a bus of
    /// this name.
    pub(crate) fn register(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _fault: fault_injection::Control::new(),
            _iommu: iommu_driver::Registration::new(module, &driver::MOCK, c"iommufd_mock")?,
        })
    }
}

/// Handles IOMMU_TEST_CMD. Returns `EOPNOTSUPP` for an unknown operation, or its errors.
pub(crate) fn ioctl(ctx: &FileRef<Ctx>, cmd: Cmd, user: &UserStruct) -> Result<u32> {
    let id = cmd.id;
    let done = match cmd.op {
        op::ADD_RESERVED => check::add_reserved(ctx, id, cmd.add_reserved()),
        op::MOCK_DOMAIN => device::make(ctx, cmd, 0, user),
        op::MOCK_DOMAIN_FLAGS => {
            let flags = cmd.mock_domain_flags().dev_flags;
            device::make(ctx, cmd, flags, user)
        }
        op::MOCK_DOMAIN_REPLACE => device::replace(ctx, cmd, user),
        op::MD_CHECK_MAP => check::map(ctx, id, cmd.check_map()),
        op::MD_CHECK_REFS => check::pins(cmd.check_refs()),
        op::TRIGGER_IOPF => check::fault(ctx, cmd.trigger_iopf()),
        op::TRIGGER_VEVENT => check::event(ctx, cmd.trigger_vevent()),
        op::MD_CHECK_IOTLB => check::iotlb(ctx, id, cmd.check_iotlb()),
        op::DEV_CHECK_CACHE => check::cache(ctx, id, cmd.check_dev_cache()),
        op::CREATE_ACCESS => access::create(ctx, cmd, user),
        op::ACCESS_REPLACE_IOAS => access::replace(id, cmd.access_replace_ioas()),
        op::ACCESS_PAGES => access::pin(cmd, user),
        op::DESTROY_ACCESS_PAGES => access::unpin(id, cmd.destroy_access_pages()),
        op::ACCESS_RW => access::copy(id, cmd.access_rw()),
        op::SET_TEMP_MEMORY_LIMIT => limit_memory(cmd.memory_limit().limit),
        op::DIRTY => check::dirty(ctx, cmd, user),
        // The ioctl returns the descriptor.
        op::DMABUF_GET => return Ok(dmabuf::get(cmd.dmabuf_get())?),
        op::DMABUF_REVOKE => dmabuf::revoke(cmd.dmabuf_revoke()).map_err(Into::into),
        op::PASID_ATTACH => device::attach_pasid(ctx, cmd, user),
        op::PASID_REPLACE => device::replace_pasid(ctx, cmd, user),
        op::PASID_DETACH => device::detach_pasid(ctx, id, cmd.pasid_detach()),
        op::PASID_CHECK_HWPT => device::check_pasid(ctx, id, cmd.pasid_check()),
        _ => Err(EOPNOTSUPP.into()),
    };
    done.map(|()| 0)
}

/// Limits the memory of a batch of pages. Returns `EINVAL` if it does not suffice for one element.
fn limit_memory(limit: u32) -> Result {
    const ELEMENT: usize = size_of::<u64>() + size_of::<u32>();

    let limit = limit as usize;
    if limit < ELEMENT {
        return Err(EINVAL.into());
    }
    fault_injection::limit_temp_memory(limit);
    Ok(())
}
