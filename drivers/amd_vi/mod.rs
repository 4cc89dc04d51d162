// SPDX-License-Identifier: GPL-2.0-only

//! AMD-Vi, natively: the nesting of a guest is this module's, on a kernel whose driver has a door
//! for it.
//!
//! A guest's device table entries are validated and made by `dte`, its commands by `command` and
//! `batch`, its events by `event`; these are pure and know neither the kernel nor user memory. `raw`
//! calls the door. The driver keeps what is not a guest's: page tables of the second stage, domain
//! IDs, the command buffer and the event log, and the sequence of an attach.
//!
//! The kernel's user API has no vIOMMU of this kind: type and data are those of
//! `uapi/iommufd_rs.h`. All other types are the driver's.
//!
//! The section numbers in these files are those of the AMD I/O Virtualization Technology (IOMMU)
//! Specification, 48882.
//!
//! Takes no lock of its own.

#[forbid(unsafe_code)]
mod batch;
#[forbid(unsafe_code)]
mod command;
#[forbid(unsafe_code)]
mod dte;
#[forbid(unsafe_code)]
mod event;
#[forbid(unsafe_code)]
mod hardware;
mod raw;
#[forbid(unsafe_code)]
mod viommu;

use kernel::prelude::*;

use crate::{
    drivers::{
        Backend,
        Share,
        ViommuBox, //
    },
    kapi::{
        iommu::{
            device::IommuDevice,
            viommu::Identity, //
        },
        uapi, //
    }, //
};

pub(super) use self::raw::{
    owns,
    Door, //
};

/// See the module.
pub(crate) struct AmdVi;

impl Backend for AmdVi {
    fn name(&self) -> &'static str {
        "amd_vi"
    }

    fn has_viommu_over(&self, dev: &IommuDevice, kind: u32) -> bool {
        kind == uapi::viommu::TYPE_AMD && self.has_viommu(dev, kind)
    }

    fn alloc_viommu_over(&self, identity: Identity, iommus: &[Share<'_>]) -> Result<ViommuBox> {
        ViommuBox::native(viommu::NativeViommu::new(identity, iommus)?)
    }
}
