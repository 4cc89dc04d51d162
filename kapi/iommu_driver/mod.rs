// SPDX-License-Identifier: GPL-2.0-only

//! Implementing an IOMMU driver: what stands behind `struct iommu_ops`.
//!
//! A driver is a type with a [`Driver`] implementation, its page tables one with [`Paging`]; both
//! deal in references only. Page tables are kept by the kernel's generic page table code in one of
//! its [`Format`](format::Format)s. Page tables that user space fills are a type with a [`Nested`]
//! implementation, vIOMMUs one with [`VirtualIommu`]. [`BusIommu`](bus::BusIommu) is an IOMMU in
//! front of a bus of its own whose devices software makes.
//!
//! C headers: `include/linux/iommu.h`, `include/linux/generic_pt/iommu.h`,
//! `drivers/iommu/iommu-priv.h`.

mod bus;
mod fault;
mod format;
mod hw_queue;
mod nested;
mod ops;
mod paging;
mod requests;
mod shared_pages;
mod user_data;
mod viommu;

pub(crate) use bus::{
    IommuSlot,
    Registration, //
};
pub(crate) use format::{
    Amdv1Mock,
    Geometry, //
};
pub(crate) use nested::{
    Nested,
    NestedTables, //
};
pub(crate) use ops::{
    Driver,
    Probed, //
};
pub(crate) use paging::{
    Paging,
    PagingDomain, //
};
pub(crate) use requests::Array;
pub(crate) use shared_pages::{
    DriverPages,
    NewViommu,
    OfferedPages, //
};
pub(crate) use viommu::{
    ViommuRef,
    VirtualIommu, //
};
