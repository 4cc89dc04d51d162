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

// SAFETY:
// - Only `ioas/{filler,domains,mmio,together}.rs` have a value, and none of them gives it away: the
//   fence checks that.
// - They pass it along with ranges that `ioas/{map,members,unmap}.rs` give them, and the fence sees
//   that no other file does.
// - These ranges are those of areas of one address space: `Taken` in `ioas/map.rs`, `Moving` in
//   `ioas/members.rs` and `UnmapBatch` in `ioas/unmap.rs` have them, or `Ioas::catch_up` is given them.
// - `ioas/map.rs` gives `Ioas::catch_up` the ranges that `Taken` has, and `Ioas::finish_cut` in
//   `ioas/cut.rs` those of the parts of an area; the fence sees that no other file does.
// - Areas of an address space do not overlap: they are in one `IntervalMap`, `Space::areas`.
// - An area is in `State::Building` while `Taken` has it, in `State::Moving` while `Moving` or
//   `Ioas::finish_cut` has it, and in `State::Dying` while `UnmapBatch` has it.
// - Of tasks that work on an area, one has put it into such a state, and the others leave it alone:
//   `ioas/area.rs`.
// - An area of a dma-buf, which may be revoked in any state, is mapped and unmapped under
//   `Loan::inner` only: `ioas/mmio.rs`.
// - A task that reads an area keeps it from being put into `State::Dying`: `Area::must_wait`.
// - The memory of an area is pinned before the first domain has it, and unpinned after the last one
//   has lost it: `fill_one` and `release` in `ioas/domains.rs`, and `fill_together` in
//   `ioas/together.rs`.
// - What is in a `MapList` and not mapped is unpinned when the list has been dropped:
//   `fill_together`.
// - The memory of a dma-buf is unmapped before the loan of it ends: `Importer::revoked` in
//   `ioas/mmio.rs`.
unsafe impl RangeOwner for IoasRanges {}

// SAFETY:
// - Only `device/msi.rs` can make a value, and passes it along with doorbells only.
// - Doorbells are mapped and unmapped under `Window::state`, at addresses of the window.
// - No area contains these: they are reserved in the address space as long as a group with that
//   window is attached to it.
// - Doorbells are never removed from the machine, as `Doorbell` says.
unsafe impl RangeOwner for DoorbellRanges {}

// SAFETY:
// - Only `hwpt/dirty.rs` can make a value, and passes to `Dirty` the ranges of a `Mappings` only.
// - Each of these has a `Reader` at its area until the next one is asked for, which keeps the area
//   from being put into `State::Dying`.
// - An area in `State::Moving` is moved into or out of another domain: a HWPT joins before it is
//   published, and leaves when its last reference is dropped.
// - Revocation, which unmaps areas of dma-bufs in any state, concerns none of them: `Mappings`
//   leaves those out.
unsafe impl StableTables for StableHwpt<'_> {
    fn domain(&self) -> &Domain {
        StableHwpt::domain(self)
    }
}

// SAFETY:
// - `PhysPin::new` pins the pages of the range, from the whole page of `phys` to that of the last
//   byte, and refuses those that do not follow in memory.
// - It counts the pin in `Area::phys_pins`, so that the area cannot be unmapped, until it is
//   dropped.
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
// - What `drivers/` make for it is owned by the `ViommuBox`, `VdeviceOps` or `HwQueueOps` that they
//   return, until that is dropped: no function of theirs takes a part out of one.
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
