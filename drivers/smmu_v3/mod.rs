// SPDX-License-Identifier: GPL-2.0-only

//! Arm's SMMUv3, natively: the nesting of a guest is this module's, on a kernel whose driver has a
//! door for it.
//!
//! A guest's stream table entries are validated and made by `ste`, its commands by `command`,
//! `merge`, `pending` and `batch`; these are pure and know neither the kernel nor user memory.
//! `raw` calls the door. The driver keeps what is not a guest's: page tables of the second stage,
//! vIOMMUs, events, and the sequence of an attach. Types of vIOMMU other than SMMUv3 are served by
//! [`in_tree`](super::in_tree).
//!
//! The section numbers in these files are those of the Arm System Memory Management Unit
//! Architecture Specification, IHI 0070.
//!
//! Takes no lock of its own.

#[forbid(unsafe_code)]
mod batch;
#[forbid(unsafe_code)]
mod command;
#[forbid(unsafe_code)]
mod features;
#[forbid(unsafe_code)]
mod merge;
#[forbid(unsafe_code)]
mod pending;
mod raw;
#[forbid(unsafe_code)]
mod ste;
#[forbid(unsafe_code)]
mod viommu;

use kernel::prelude::*;

use crate::{
    drivers::{
        in_tree,
        Backend,
        Share,
        ViommuBox, //
    },
    kapi::{
        iommu::{
            device::IommuDevice,
            viommu::{
                Identity,
                Request, //
            }, //
        },
        uapi, //
    }, //
};

pub(super) use self::raw::{
    owns,
    Door, //
};

/// See the module.
pub(crate) struct SmmuV3;

impl Backend for SmmuV3 {
    fn name(&self) -> &'static str {
        "smmu_v3"
    }

    fn alloc_viommu(&self, dev: &IommuDevice, request: Request) -> Result<ViommuBox> {
        if request.kind != uapi::viommu::TYPE_ARM_SMMUV3 {
            return in_tree::alloc_viommu(dev, request);
        }
        ViommuBox::native(viommu::NativeViommu::new(dev, request)?)
    }

    fn has_viommu_over(&self, dev: &IommuDevice, kind: u32) -> bool {
        kind == uapi::viommu::TYPE_ARM_SMMUV3_MANY
            && self.has_viommu(dev, uapi::viommu::TYPE_ARM_SMMUV3)
    }

    fn alloc_viommu_over(&self, identity: Identity, iommus: &[Share<'_>]) -> Result<ViommuBox> {
        ViommuBox::native(viommu::NativeViommu::over(identity, iommus)?)
    }
}
