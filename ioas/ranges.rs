// SPDX-License-Identifier: GPL-2.0-only

//! The right of an address space to change the page tables of its domains.

/// A value that only the code of `ioas` has, for
/// [`RangeOwner`](crate::kapi::iommu::domain::RangeOwner). What that code must ensure is in
/// `abi/contracts.rs`.
#[derive(Clone, Copy)]
pub(crate) struct IoasRanges(());

pub(super) const RANGES: IoasRanges = IoasRanges(());
