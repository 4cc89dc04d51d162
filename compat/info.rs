// SPDX-License-Identifier: GPL-2.0-only

//! VFIO_IOMMU_GET_INFO: page sizes, and a chain of capabilities behind the struct.

use core::mem::offset_of;

use kernel::{
    prelude::*,
    transmute::AsBytes,
    uaccess::UserSlice, //
};

use crate::{
    compat::{
        compat_ioas,
        read, //
    },
    kapi::{
        bug::some_or_warn,
        mm::user::UserStruct,
        reason::{
            Reason,
            Result, //
        },
        uapi::vfio::{
            self,
            info, //
        }, //
    },
    object::Ctx, //
};

/// The size of the struct before it had capabilities.
const FIRST_SIZE: usize = offset_of!(vfio::Info, cap_offset);
/// The offset of the first capability, the number of mappings. It is padded to 8 bytes.
const DMA_AVAIL_AT: usize = size_of::<vfio::Info>();
/// The offset of the second and last capability, the IOVA ranges.
const IOVA_RANGES_AT: usize = DMA_AVAIL_AT + size_of::<vfio::CapDmaAvail>().next_multiple_of(8);
/// The offset of the ranges in it.
const RANGES_AT: usize = IOVA_RANGES_AT + size_of::<vfio::CapIovaRanges>();

/// VFIO_IOMMU_GET_INFO. Returns `EFAULT`, `EINVAL` if the struct is too short, and `ENODEV` if the
/// context has no compat IOAS.
///
/// Writes the first capability if there is room for it, each IOVA range for which there is room,
/// and the head of the second capability if there is room for all of it. `cap_offset` is not 0 only
/// if both are complete. `argsz` is set to the size of all.
pub(super) fn get_info(ctx: &Ctx, arg: UserPtr) -> Result {
    let [argsz, ..]: [u32; FIRST_SIZE / size_of::<u32>()] = read(arg)?;
    let room = argsz as usize;
    if room < FIRST_SIZE {
        return Err(Reason::ContainerTooShort.with(argsz.into()));
    }
    let ioas = compat_ioas(ctx)?;
    let mut out = Chain { arg, room };
    out.write(
        DMA_AVAIL_AT,
        &vfio::CapDmaAvail {
            header: vfio::CapHeader {
                id: info::CAP_DMA_AVAIL,
                version: 1,
                next: if room < IOVA_RANGES_AT {
                    0
                } else {
                    IOVA_RANGES_AT as u32
                },
            },
            // Only memory limits the number of mappings.
            avail: u32::MAX,
        },
    )?;
    let mut count = 0;
    let mut size = RANGES_AT;
    ioas.try_for_each_usable(|range| {
        out.write(
            size,
            &vfio::IovaRangeElm {
                start: range.start(),
                end: range.last(),
            },
        )?;
        count += 1;
        size += size_of::<vfio::IovaRangeElm>();
        Ok(())
    })?;
    let fits = room >= size;
    if fits {
        out.write(
            IOVA_RANGES_AT,
            &vfio::CapIovaRanges {
                header: vfio::CapHeader {
                    id: info::CAP_IOVA_RANGE,
                    version: 1,
                    next: 0,
                },
                nr_iovas: count,
                ..Default::default()
            },
        )?;
    }
    UserStruct::with_size(arg, argsz).write(&vfio::Info {
        argsz: some_or_warn!(u32::try_from(size).ok())?,
        flags: info::PGSIZES | info::CAPS,
        iova_pgsizes: ioas.page_sizes(),
        cap_offset: if fits { DMA_AVAIL_AT as u32 } else { 0 },
        pad: 0,
    })
}

/// User memory for the struct and its capabilities.
struct Chain {
    arg: UserPtr,
    /// The number of bytes that there is room for, the struct included.
    room: usize,
}

impl Chain {
    /// Writes a value at byte `at`. Writes nothing if there is no room for all of it. Returns
    /// `EFAULT`.
    fn write<T: AsBytes>(&mut self, at: usize, value: &T) -> Result {
        if self.room < at + size_of::<T>() {
            return Ok(());
        }
        let place = self.arg.wrapping_byte_add(at);
        Ok(UserSlice::new(place, size_of::<T>())
            .writer()
            .write(value)?)
    }
}
