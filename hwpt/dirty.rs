// SPDX-License-Identifier: GPL-2.0-only

//! Dirty tracking: which pages devices have written to.
//!
//! Each mapping is counted as being read while its part of the page tables is, so it stays. No lock
//! of the address space is held, since drivers fault in pages of the user's bitmap.

use kernel::prelude::*;

use crate::{
    hwpt::{
        HwptInUse,
        HwptPaging, //
    },
    ioas::Ioas,
    kapi::{
        iommu::{
            dirty::{
                Dirty,
                UserBitmap, //
            },
            domain::Domain, //
        },
        mm::user::{
            self,
            UserStruct, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        uapi::{
            self,
            dirty, //
        },
        units::IovaRange, //
    },
    object::Ctx, //
};

/// The page tables of an address space. Only ranges that [`Ioas::memory`] and [`Ioas::contiguous_memory`]
/// return are read, while these keep them mapped. Only this file can make one: see `abi/contracts.rs`.
pub(crate) struct StableHwpt<'a> {
    domain: &'a Domain,
    ioas: &'a Ioas,
}

impl<'a> StableHwpt<'a> {
    fn new(hwpt: &'a HwptPaging) -> Self {
        Self {
            domain: hwpt.domain(),
            ioas: hwpt.ioas(),
        }
    }

    /// The domain.
    pub(crate) fn domain(&self) -> &Domain {
        self.domain
    }
}

/// Returns `EOPNOTSUPP` if there are unknown flags, or the reserved field is not 0.
fn check_fields(unknown: u32, reserved: u32) -> Result {
    if unknown != 0 {
        return Err(Reason::CommandFlags.with(unknown.into()));
    }
    if reserved != 0 {
        return Err(Reason::CommandReserved.with(reserved.into()));
    }
    Ok(())
}

/// Handles IOMMU_HWPT_SET_DIRTY_TRACKING.
pub(crate) fn set_dirty_tracking(
    ctx: &Ctx,
    cmd: uapi::HwptSetDirtyTracking,
    _user: &UserStruct,
) -> Result {
    check_fields(cmd.flags & !dirty::TRACKING_ENABLE, cmd.__reserved)?;
    let enable = cmd.flags & dirty::TRACKING_ENABLE != 0;
    let reason = Reason::HwptTracking;
    HwptInUse::with_paging(ctx, cmd.hwpt_id, |hwpt| {
        hwpt.track_dirty(enable).because(reason, cmd.hwpt_id.into())
    })
}

/// Handles IOMMU_HWPT_GET_DIRTY_BITMAP.
pub(crate) fn get_dirty_bitmap(
    ctx: &Ctx,
    cmd: uapi::HwptGetDirtyBitmap,
    _user: &UserStruct,
) -> Result {
    check_fields(cmd.flags & !dirty::GET_NO_CLEAR, cmd.__reserved)?;
    HwptInUse::with_paging(ctx, cmd.hwpt_id, |hwpt| {
        let range = IovaRange::from_len(cmd.iova, cmd.length);
        let range = range.because(Reason::HwptBitmapRange, cmd.iova)?;
        let clear = cmd.flags & dirty::GET_NO_CLEAR == 0;
        hwpt.read_dirty(range, cmd.page_size, user::ptr(cmd.data), clear)
    })
}

/// Returns `EINVAL` if an end of `range` lies inside a page of the page tables or of the bitmap.
fn check_pages(alignment: u64, range: IovaRange, page_size: u64) -> Result {
    // The size may be a sum of powers of two, as the C module permits. Then the range must be
    // aligned to each of them, and the lowest is used.
    let fits = |size: u64| {
        let mask = size - 1;
        range.start() & mask == 0 && range.last().wrapping_add(1) & mask == 0
    };
    if page_size != 0 && fits(alignment) && fits(page_size) {
        Ok(())
    } else {
        Err(Reason::HwptBitmapRange.with(range.start()))
    }
}

impl HwptPaging {
    /// Starts or stops tracking. When it starts, all pages are clean. Returns `EOPNOTSUPP` if the
    /// page tables were not made for it, the error of the driver, or `EINTR` if the task is being
    /// killed; then tracking is as it was.
    fn track_dirty(&self, enable: bool) -> Result {
        let stable = StableHwpt::new(self);
        let dirty = Dirty::of(&stable).ok_or(Reason::HwptUntracked.with(0))?;
        if enable {
            dirty.clear(stable.ioas.memory())?;
        }
        dirty.track(enable)?;
        self.set_tracking(enable);
        Ok(())
    }

    /// Sets the bits of dirty pages of `range` in the bitmap at `data`, and leaves the other bits
    /// as they are. With `clear` the pages are clean then.
    ///
    /// Returns the errors of [`check_pages`], `EOPNOTSUPP` if the page tables were not made for it,
    /// `ENOMEM`, and `EINTR` if the task is being killed. Reading ends at the first address that is not
    /// mapped, and bits are lost if the bitmap cannot be written. Neither is an error.
    fn read_dirty(&self, range: IovaRange, page_size: u64, data: UserPtr, clear: bool) -> Result {
        let stable = StableHwpt::new(self);
        check_pages(stable.ioas.alignment(), range, page_size)?;
        let dirty = Dirty::of(&stable).ok_or(Reason::HwptUntracked.with(0))?;
        let mut bitmap =
            UserBitmap::new(range, page_size, data).because(Reason::HwptBitmap, range.start())?;
        dirty
            .report(&mut bitmap, clear, |part| {
                stable.ioas.contiguous_memory(part)
            })
            .because(Reason::HwptBitmap, range.start())
    }
}
