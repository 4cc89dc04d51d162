// SPDX-License-Identifier: GPL-2.0-only

//! What safe code outside the fence is trusted with.
//!
//! Some functions of `kapi` are sound only if their callers keep to rules that no type expresses.
//! They want a value of a type that implements an unsafe trait. The traits are implemented here,
//! for types that only certain modules can make a value of; so these modules are all code that has
//! to be read for the rules.

use crate::{
    device::DoorbellRanges,
    ioas::IoasRanges,
    kapi::iommu::domain::RangeOwner, //
};

// SAFETY: Only `ioas` can make a value.
// - It maps and unmaps areas only. Areas of an address space do not overlap, because they are in one
//   `IntervalMap`. An area is mapped and unmapped by the task that has put it into
// `State::Building` or   `State::Dying`, or with `Ioas::domains` held for writing, which excludes
// such tasks; see   `Documentation/locking.rst`. A revoked dma-buf is unmapped under `Mmio::inner`,
// which also covers   the other changes of its areas.
// - An area's memory is pinned before the first domain has it and unpinned after the last domain has
//   lost it (`ioas/domains.rs`). That of a dma-buf is unmapped in `Importer::revoked`.
unsafe impl RangeOwner for IoasRanges {}

// SAFETY: Only `device/msi.rs` can make a value.
// - It maps and unmaps doorbells only, under `Window::state`, at addresses of the window. They are
//   reserved in the address space as long as a group with that window is attached to it, so no area
//   contains them.
// - Doorbells are never removed.
unsafe impl RangeOwner for DoorbellRanges {}
