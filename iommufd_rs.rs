// SPDX-License-Identifier: GPL-2.0-only

//! iommufd in Rust: `/dev/iommu`, the user API to I/O page tables.
//!
//! `Documentation/architecture.rst` says what the parts are and who may know whom.

mod abi;
#[forbid(unsafe_code)]
mod compat;
#[forbid(unsafe_code)]
mod device;
mod drivers;
mod ffi;
#[forbid(unsafe_code)]
mod hwpt;
#[forbid(unsafe_code)]
mod ioas;
mod kapi;
#[forbid(unsafe_code)]
mod object;
#[forbid(unsafe_code)]
mod observe;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
#[forbid(unsafe_code)]
mod selftests;
#[forbid(unsafe_code)]
mod uapi;
#[forbid(unsafe_code)]
mod viommu;

kernel::prelude::module! {
    type: abi::Module,
    name: "iommufd_rs",
    authors: ["The iommufd_rs developers"],
    description: "I/O address space management for passthrough devices, in Rust",
    license: "GPL",
    imports_ns: ["IOMMUFD", "IOMMUFD_INTERNAL", "DMA_BUF", "GENERIC_PT_IOMMU"],
}
