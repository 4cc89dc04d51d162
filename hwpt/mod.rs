// SPDX-License-Identifier: GPL-2.0-only

//! Hardware page tables: the objects behind IOMMU domains.

pub(crate) mod dirty;
pub(crate) mod fault;
mod paging;

pub(crate) use fault::FaultQueue;
pub(crate) use paging::HwptPaging;
pub(crate) use paging::Request;
