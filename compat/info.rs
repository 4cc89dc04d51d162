// SPDX-License-Identifier: GPL-2.0-only

//! VFIO_IOMMU_GET_INFO: page sizes, and a chain of capabilities behind the struct.

use core::mem::offset_of;

use kernel::{
    prelude::*,
    uaccess::UserSlice, //
};

use crate::{
    compat::{
        compat_ioas,
        ioctl::read, //
    },
    kapi::{
        mm::user::UserStruct,
        uapi::vfio::{
            self,
            info, //
        },
        units::IovaRange, //
    },
    object::Ctx, //
};

/// What the struct had before there were capabilities.
const FIRST_SIZE: usize = offset_of!(vfio::Info, cap_offset);
/// Where the chain begins: the capability of the number of mappings, filled up to 8 bytes.
const DMA_AVAIL_AT: usize = size_of::<vfio::Info>();
/// Where the capability of the usable addresses begins, which ends the chain.
const IOVA_RANGES_AT: usize = DMA_AVAIL_AT + size_of::<vfio::CapDmaAvail>().next_multiple_of(8);
/// Where its ranges begin.
const RANGES_AT: usize = IOVA_RANGES_AT + size_of::<vfio::CapIovaRanges>();

/// VFIO_IOMMU_GET_INFO. `EFAULT`, `EINVAL` for a struct that is too short, `ENODEV` without an
/// IOAS, `ENOMEM`.
///
/// A caller without room for all capabilities gets none, and learns how much room they take.
pub(super) fn get_info(ctx: &Ctx, arg: UserPtr) -> Result {
    let [argsz, ..]: [u32; FIRST_SIZE / size_of::<u32>()] = read(arg)?;
    if (argsz as usize) < FIRST_SIZE {
        return Err(EINVAL);
    }
    let ioas = compat_ioas(ctx)?;
    let ranges = ioas.usable()?;
    let size = ranges
        .len()
        .checked_mul(size_of::<vfio::IovaRangeElm>())
        .and_then(|bytes| bytes.checked_add(RANGES_AT))
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or(EOVERFLOW)?;
    let fits = argsz >= size;
    if fits {
        write_chain(arg, &ranges, size as usize)?;
    }
    UserStruct::with_size(arg, argsz).write(&vfio::Info {
        argsz: size,
        flags: info::PGSIZES | info::CAPS,
        iova_pgsizes: ioas.page_sizes(),
        cap_offset: if fits { DMA_AVAIL_AT as u32 } else { 0 },
        pad: 0,
    })
}

/// Writes the capabilities behind the struct at `arg`, up to byte `size`.
fn write_chain(arg: UserPtr, ranges: &[IovaRange], size: usize) -> Result {
    let chain = arg.wrapping_byte_add(DMA_AVAIL_AT);
    let mut out = UserSlice::new(chain, size - DMA_AVAIL_AT).writer();

    out.write(&vfio::CapDmaAvail {
        header: vfio::CapHeader {
            id: info::CAP_DMA_AVAIL,
            version: 1,
            next: IOVA_RANGES_AT as u32,
        },
        // Memory is what limits the number of mappings.
        avail: u32::MAX,
    })?;
    const PADDING: usize = IOVA_RANGES_AT - DMA_AVAIL_AT - size_of::<vfio::CapDmaAvail>();
    out.write(&[0_u8; PADDING])?;
    out.write(&vfio::CapIovaRanges {
        header: vfio::CapHeader {
            id: info::CAP_IOVA_RANGE,
            version: 1,
            next: 0,
        },
        nr_iovas: u32::try_from(ranges.len()).map_err(|_| EOVERFLOW)?,
        ..Default::default()
    })?;
    for range in ranges {
        out.write(&vfio::IovaRangeElm {
            start: range.start(),
            end: range.last(),
        })?;
    }
    Ok(())
}
