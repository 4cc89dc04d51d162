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
        Source,
        BLOCK, //
    },
    first_stage::FirstStage,
    range::Words,
    raw::NestedVtd, //
};
use crate::{
    drivers::Backend,
    kapi::{
        array_vec::ArrayVec,
        iommu::{
            device::IommuDevice,
            domain::{
                Domain,
                UserData, //
            },
            invalidate::{
                Invalidated,
                Requests, //
            },
            native::RequestReader,
            nested::NestedDomain, //
        },
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

    /// Returns `EOPNOTSUPP` if the IOMMU cannot nest, for flags other than `IOMMU_HWPT_ALLOC_PASID`
    /// and for data of another type, `EINVAL` for data shorter than `struct iommu_hwpt_vtd_s1`,
    /// `E2BIG` as [`UserData::read_longer`], `EFAULT`, the errors of
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
        let s1: uapi::HwptVtdS1 = data.read_longer()?;
        let stage = FirstStage::new(
            s1.flags,
            s1.pgtbl_addr,
            s1.addr_width,
            s1.__reserved,
            parent.aperture().last(),
            &hardware,
        )?;
        raw::alloc_nested(dev, parent, stage)
    }

    /// Returns `EOPNOTSUPP` if the domain is not this backend's, `EINVAL` for requests of another
    /// type or shorter than `struct iommu_hwpt_vtd_s1_invalidate`, and otherwise what
    /// [`batch::carry_out`] says.
    fn invalidate(&self, domain: &NestedDomain, requests: Requests) -> Invalidated {
        let Some(domain) = NestedVtd::of(domain) else {
            return domain.invalidate(requests);
        };
        let mut reader = match requests.reader(uapi::invalidate::DATA_VTD_S1) {
            Ok(reader) => reader,
            Err(error) => return Invalidated::nothing(error),
        };
        // Most calls have one request.
        if requests.count == 1 {
            return match reader.read() {
                Ok(words) => batch::carry_out_one(&domain, words),
                Err(error) => Invalidated::nothing(error),
            };
        }
        let mut source = UserRequests(reader);
        batch::carry_out(&domain, &mut source, requests.count)
    }
}

/// A guest's requests in user memory.
struct UserRequests(RequestReader<Words>);

impl Source for UserRequests {
    /// As [`RequestReader`].
    #[inline]
    fn read(&mut self, block: &mut ArrayVec<Words, BLOCK>, len: usize) -> Result {
        self.0.read_vec(block, len)
    }
}
