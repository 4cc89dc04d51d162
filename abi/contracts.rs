// SPDX-License-Identifier: GPL-2.0-only

//! The unsafe traits of `kapi` that types outside of it implement.
//!
//! Some functions of `kapi` are sound only if their callers follow rules that no type expresses.
//! They take a value of a type that implements an unsafe trait. The traits are implemented here,
//! for types whose values only certain modules can make. Only those modules must be read to check
//! the rules.

use crate::{
    device::DoorbellRanges,
    hwpt::StableHwpt,
    ioas::{
        IoasRanges,
        PhysPin, //
    },
    kapi::{
        iommu::{
            dirty::StableTables,
            domain::{
                Domain,
                RangeOwner, //
            },
            hw_queue::ContiguousMemory,
            viommu::Place, //
        },
        sync::shared::{
            Shared,
            SharedAny, //
        }, //
    },
    object::DriverSide,
    viommu::ObjectPlace, //
};

// SAFETY: Only `ioas` can make a value.
// - It maps and unmaps areas only. Areas of an address space do not overlap, because they are in
//   one `IntervalMap`. An area is mapped and unmapped by the task that has put it into
//   `State::Building`, `State::Moving` or `State::Dying`; other tasks leave it alone meanwhile, see
//   `ioas/area.rs`. A revoked dma-buf is unmapped under `Mmio::inner`, which also covers the other
//   changes of its areas.
// - An area's memory is pinned before the first domain has it and unpinned after the last domain
//   has lost it (`ioas/domains.rs`). That of a dma-buf is unmapped in `Importer::revoked`.
unsafe impl RangeOwner for IoasRanges {}

// SAFETY: Only `device/msi.rs` can make a value.
// - It maps and unmaps doorbells only, under `Window::state`, at addresses of the window. They are
//   reserved in the address space as long as a group with that window is attached to it, so no area
//   contains them.
// - Doorbells are never removed.
unsafe impl RangeOwner for DoorbellRanges {}

// SAFETY: Only `hwpt/dirty.rs` can make a value. It passes to `Dirty` the ranges of a `Mappings`,
// each of which has a `Reader` at its area until the next one is asked for. The area is in
// `State::Ready` or `State::Moving`, and is not put into `State::Dying` while it has readers. An area
// in `State::Moving` is moved into or out of a domain that joins or leaves, which is another one: a
// HWPT joins before it is published, and leaves when its last reference is dropped. Revocation, which
// unmaps areas of dma-bufs in any state, does not concern these areas: `Mappings` leaves those of
// dma-bufs out.
unsafe impl StableTables for StableHwpt<'_> {
    fn domain(&self) -> &Domain {
        StableHwpt::domain(self)
    }
}

// SAFETY: `PhysPin::new` pins the pages of the range, finds that they follow in memory, and counts
// the pin in `Area::phys_pins`, so that the area cannot be unmapped. Both end when it is dropped.
// It has pinned whole pages from the one of `phys` to the one of the last byte.
unsafe impl ContiguousMemory for PhysPin {
    fn phys(&self) -> u64 {
        PhysPin::phys(self)
    }

    fn len(&self) -> u64 {
        PhysPin::len(self)
    }
}

// SAFETY:
// - The functions of `abi/viommu.rs` that take a `struct iommufd_ctx *` of a driver borrow a
//   `Shared<DriverSide>` of it.
// - Only `viommu/` can make a value, of a reservation that it fills, or of a draft that it
//   completes, with what is made for the place: `viommu/{share,vdevice,hw_queue}.rs`.
unsafe impl Place for ObjectPlace {
    type Context = DriverSide;

    fn context(&self) -> &Shared<DriverSide> {
        ObjectPlace::context(self)
    }

    fn id(&self) -> u32 {
        ObjectPlace::id(self)
    }

    fn object(&self) -> Option<&SharedAny> {
        ObjectPlace::object(self)
    }
}
