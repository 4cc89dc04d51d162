// SPDX-License-Identifier: GPL-2.0-only

//! Intel's VT-d, natively: the nesting of a guest is this module's, on a kernel whose driver has a
//! door for it.
//!
//! A guest's first stage is validated by `first_stage`, its invalidations by `range`, `batch` and
//! `descriptor`; these are pure and know neither the kernel nor user memory. `raw` calls the door.
//! The driver keeps the second stage, domain IDs, the list of caches, and the sequence of an
//! attach, of devices and of PASIDs.
//!
//! The section numbers in these files are those of the Intel Virtualization Technology for Directed
//! I/O Architecture Specification, revision 5.0.
//!
//! Takes no lock of its own.

#[forbid(unsafe_code)]
mod batch;
#[forbid(unsafe_code)]
mod descriptor;
#[forbid(unsafe_code)]
mod first_stage;
#[forbid(unsafe_code)]
mod hardware;
#[forbid(unsafe_code)]
mod range;
mod raw;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use self::{
    batch::{
        Batch,
        Source, //
    },
    first_stage::FirstStage,
    range::Request,
    raw::NestedVtd, //
};
use crate::{
    drivers::{
        in_tree::InTree,
        Backend,
        ViommuOps, //
    },
    kapi::{
        iommu::{
            device::IommuDevice,
            domain::{
                Domain,
                UserData, //
            },
            hwinfo::HwInfo,
            invalidate::{
                Invalidated,
                Requests, //
            },
            nested::NestedDomain,
            viommu, //
        },
        mm::user::UserStruct,
        uapi, //
    }, //
};

pub(super) use self::raw::{
    owns,
    Door, //
};

/// See the module.
pub(crate) struct Vtd;

impl Backend for Vtd {
    fn name(&self) -> &'static str {
        "vtd"
    }

    fn alloc_paging(
        &self,
        dev: &IommuDevice,
        flags: u32,
        data: Option<UserData>,
    ) -> Result<Domain> {
        InTree.alloc_paging(dev, flags, data)
    }

    fn has_nested(&self, dev: &IommuDevice) -> bool {
        InTree.has_nested(dev)
    }

    /// Returns `EOPNOTSUPP` if the IOMMU cannot nest, for flags other than `IOMMU_HWPT_ALLOC_PASID`
    /// and for data of another type, `EINVAL` for data shorter than `struct iommu_hwpt_vtd_s1`,
    /// `E2BIG` for longer data whose further bytes are not zero, `EFAULT`, the errors of
    /// [`FirstStage::new`], `EINVAL` for a parent that cannot be nested on, and `ENOMEM`.
    fn alloc_nested(
        &self,
        dev: &IommuDevice,
        parent: Arc<Domain>,
        flags: u32,
        data: UserData,
    ) -> Result<NestedDomain> {
        let hardware = raw::hardware(dev).ok_or(EOPNOTSUPP)?;
        if flags & !uapi::hwpt::PASID != 0 || data.kind != uapi::hwpt::DATA_VTD_S1 {
            return Err(EOPNOTSUPP);
        }
        if data.len < size_of::<uapi::HwptVtdS1>() {
            return Err(EINVAL);
        }
        let len = u32::try_from(data.len).map_err(|_| E2BIG)?;
        let s1: uapi::HwptVtdS1 = UserStruct::with_size(data.ptr, len).read()?;
        let stage = FirstStage::new(
            s1.flags,
            s1.pgtbl_addr,
            s1.addr_width,
            s1.__reserved,
            &hardware,
        )?;
        raw::alloc_nested(dev, parent, stage, hardware)
    }

    /// Returns `EOPNOTSUPP` if the domain is not this backend's, `EINVAL` for requests of another
    /// type or shorter than `struct iommu_hwpt_vtd_s1_invalidate`, and otherwise what
    /// [`batch::carry_out`] says.
    fn invalidate(&self, domain: &NestedDomain, requests: Requests) -> Invalidated {
        let Some(domain) = NestedVtd::of(domain) else {
            return domain.invalidate(requests);
        };
        if requests.kind != uapi::invalidate::DATA_VTD_S1 {
            return Invalidated::nothing(EINVAL);
        }
        let mut source = UserRequests {
            next: requests.ptr,
            entry_len: requests.entry_len,
        };
        // Most calls have one request.
        if requests.count <= 1 {
            let mut batch = Batch::<2>::new();
            return batch::carry_out(
                &mut batch,
                &domain,
                domain.hardware(),
                &mut source,
                requests.count,
            );
        }
        match KBox::new(Batch::<{ batch::MAX }>::new(), GFP_KERNEL) {
            Ok(mut batch) => batch::carry_out(
                &mut *batch,
                &domain,
                domain.hardware(),
                &mut source,
                requests.count,
            ),
            Err(error) => Invalidated::nothing(error.into()),
        }
    }

    fn has_viommu(&self, dev: &IommuDevice, kind: u32) -> bool {
        InTree.has_viommu(dev, kind)
    }

    fn alloc_viommu(
        &self,
        dev: &IommuDevice,
        request: viommu::Request,
    ) -> Result<KBox<dyn ViommuOps>> {
        InTree.alloc_viommu(dev, request)
    }

    fn hw_info(&self, dev: &IommuDevice, wanted: u32) -> Result<HwInfo> {
        InTree.hw_info(dev, wanted)
    }
}

/// A guest's requests in user memory.
struct UserRequests {
    /// Where the next one is.
    next: UserPtr,
    /// Bytes from one to the next.
    entry_len: u32,
}

impl Source for UserRequests {
    /// `EINVAL` for entries that are shorter than a request, `EFAULT`, `E2BIG` for entries that are
    /// longer and whose further bytes are not zero, and the errors of [`Request::new`].
    fn next(&mut self) -> Result<Request> {
        if (self.entry_len as usize) < size_of::<uapi::HwptVtdS1Invalidate>() {
            return Err(EINVAL);
        }
        let entry = UserStruct::with_size(self.next, self.entry_len);
        let entry: uapi::HwptVtdS1Invalidate = entry.read()?;
        self.next = self.next.wrapping_byte_add(self.entry_len as usize);
        Request::new(entry.addr, entry.npages, entry.flags, entry.__reserved)
    }
}
