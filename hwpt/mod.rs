// SPDX-License-Identifier: GPL-2.0-only

//! Hardware page tables: the objects behind IOMMU domains.

pub(crate) mod dirty;
mod either;
pub(crate) mod fault;
mod nested;
mod paging;

pub(crate) use dirty::StableHwpt;
pub(crate) use either::{
    Hwpt,
    HwptInUse, //
};
pub(crate) use fault::FaultQueue;
pub(crate) use nested::{
    HwptNested,
    NestedRequest,
    OnViommu, //
};
pub(crate) use paging::{
    HwptPaging,
    Request, //
};
