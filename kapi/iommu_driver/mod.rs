// SPDX-License-Identifier: GPL-2.0-only

//! Implementing an IOMMU driver. Only the test module has one, for its mock IOMMU.
//!
//! A driver is a type that implements [`Driver`]. Its page tables are types that implement
//! [`Paging`] or [`Nested`], and its vIOMMUs a type that implements [`VirtualIommu`]. All of them
//! work on references only. The generic page table code of the kernel keeps the page tables that
//! the kernel fills, in one of its [`Format`](format::Format)s. [`BusIommu`](bus::BusIommu) is an
//! IOMMU with a bus of its own, whose devices software makes.
//!
//! Every file is private to this module: no driver of hardware has used them.
//!
//! C headers: `include/linux/iommu.h`, `include/linux/generic_pt/iommu.h`,
//! `drivers/iommu/iommu-priv.h`.

mod bus;
mod device;
mod driver;
mod fault;
mod format;
mod hw_queue;
mod nested;
mod ops;
mod paging;
mod requests;
mod shared_pages;
mod unflushed;
mod user_data;
mod viommu;

pub(crate) use bus::{
    IommuSlot,
    Registration, //
};
pub(crate) use driver::{
    Driver,
    Nested,
    NestedTables,
    Paging,
    PagingDomain,
    Probed,
    ViommuRef,
    VirtualIommu, //
};
pub(crate) use format::{
    Amdv1Mock,
    Geometry, //
};
pub(crate) use requests::Array;
pub(crate) use shared_pages::{
    DriverPages,
    NewViommu, //
};
