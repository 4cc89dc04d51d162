// SPDX-License-Identifier: GPL-2.0-only

//! Checks of page tables, caches and memory, and what hardware does: page faults, events, dirty
//! bits.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed,
    uaccess::UserSlice, //
};

use crate::{
    device::BoundDevice,
    hwpt::{
        HwptInUse,
        HwptNested,
        HwptPaging, //
    },
    ioas::Ioas,
    kapi::{
        iommu::{
            attachment::Pasid,
            iopf::PageRequest, //
        },
        iommu_driver::PagingDomain,
        mm::{
            user::{
                self,
                UserStruct, //
            },
            user_page::UserPage, //
        },
        reason::Result,
        uapi::test::{
            mock,
            AddReserved,
            CheckDevCache,
            CheckIotlb,
            CheckMap,
            CheckRefs,
            Cmd,
            TriggerIopf,
            TriggerVevent,
            ViommuEventSelftest, //
        },
        units::{
            page_offset,
            IovaRange,
            PAGE_SIZE, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

use super::{
    driver::MOCK,
    state::MockDomain, //
};

/// The longest bitmap of dirty pages, in bytes.
const MAX_BITMAP: u64 = 16 << 20;
/// A flag among the permissions of a page fault, which no permission uses: other faults of the
/// group follow. The kernel's own mock reports groups of one fault only.
const MORE_FOLLOW: u32 = 1 << 31;

/// Reserves addresses of an IOAS until it is destroyed. Returns `EINVAL` if the range is empty,
/// `EOVERFLOW` if it wraps, or the errors of [`Ioas::reserve_range`].
pub(super) fn add_reserved(ctx: &Ctx, id: u32, cmd: &AddReserved) -> Result {
    let range = IovaRange::from_len(cmd.start, cmd.length)?;
    let ioas: Ref<Ioas> = ctx.objects().get(id)?;
    ioas.reserve_range(range)
}

/// Calls `f` with page tables of the mock. Returns `ENOENT` if there are no page tables with this
/// id, and `EINVAL` if another IOMMU driver made them.
fn with_domain<T>(
    ctx: &Ctx,
    id: u32,
    f: impl FnOnce(&HwptPaging, &PagingDomain<MockDomain>) -> Result<T>,
) -> Result<T> {
    HwptInUse::with_paging(ctx, id, |hwpt| {
        let mock = MOCK.get().ok_or(ENODEV)?;
        f(hwpt, mock.domain(hwpt.domain()).ok_or(EINVAL)?)
    })
}

/// Returns `EINVAL` if a number is not a multiple of `size`, or if `size` is 0.
fn check_multiples(numbers: &[u64], size: u64) -> Result {
    if size != 0 && numbers.iter().all(|number| number % size == 0) {
        Ok(())
    } else {
        Err(EINVAL.into())
    }
}

/// Checks that page tables map the memory of the calling process, page by page. Returns `EINVAL` if
/// they do not.
pub(super) fn map(ctx: &Ctx, id: u32, cmd: &CheckMap) -> Result {
    with_domain(ctx, id, |hwpt, domain| {
        let size = hwpt.domain().min_page_size();
        check_multiples(&[cmd.iova, cmd.length, cmd.uptr], size)?;
        cmd.uptr.checked_add(cmd.length).ok_or(EINVAL)?;
        let mut done = 0;
        while done < cmd.length {
            let addr = cmd.uptr + done;
            let phys = UserPage::get(addr - page_offset(addr))?.phys() + page_offset(addr);
            if domain.phys(cmd.iova.wrapping_add(done)) != phys {
                return Err(EINVAL.into());
            }
            done += size;
        }
        Ok(())
    })
}

/// Checks that each page of the calling process is pinned as often as the command says. Returns
/// `EIO` if one is not.
pub(super) fn pins(cmd: &CheckRefs) -> Result {
    check_multiples(&[cmd.length, cmd.uptr], PAGE_SIZE)?;
    cmd.uptr.checked_add(cmd.length).ok_or(EINVAL)?;
    let mut done = 0;
    while done < cmd.length {
        let page = UserPage::get(cmd.uptr + done)?;
        if page.pins().is_some_and(|pins| pins != cmd.refs) {
            return Err(EIO.into());
        }
        done += PAGE_SIZE;
    }
    Ok(())
}

/// Checks that an entry of the IOTLB of nested page tables has the value of the command. Returns
/// `EINVAL` if it does not, and for page tables of another IOMMU driver.
pub(super) fn iotlb(ctx: &Ctx, id: u32, cmd: &CheckIotlb) -> Result {
    let hwpt: Ref<HwptNested> = ctx.objects().get(id)?;
    let mock = MOCK.get().ok_or(ENODEV)?;
    let tables = mock.nested(hwpt.domain()).ok_or(EINVAL)?;
    if tables.has_cached(cmd.id, cmd.iotlb) {
        Ok(())
    } else {
        Err(EINVAL.into())
    }
}

/// Checks that an entry of a device's cache has the value of the command. Returns `EINVAL` if it
/// does not, and for a device that is not a mock device.
pub(super) fn cache(ctx: &Ctx, id: u32, cmd: &CheckDevCache) -> Result {
    let device: Ref<BoundDevice> = ctx.objects().get(id)?;
    let mock = MOCK.get().ok_or(ENODEV)?;
    let caches = &mock.data(device.dev()).ok_or(EINVAL)?.cache;
    match caches.get(cmd.id as usize) {
        Some(cache) if cache.load(Relaxed) == cmd.cache => Ok(()),
        _ => Err(EINVAL.into()),
    }
}

/// Reports a page fault of a device. It is the last one of its group unless the command has the
/// flag [`MORE_FOLLOW`]. Does nothing if the device is not attached to page tables with a fault
/// queue.
///
/// Returns `EINVAL` for a device that is not a mock device, and `EBUSY` if there were too many faults
/// with the flag.
pub(super) fn fault(ctx: &Ctx, cmd: &TriggerIopf) -> Result {
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let request = PageRequest {
        flags: 0,
        pasid: cmd.pasid,
        group: cmd.grpid,
        perm: cmd.perm & !MORE_FOLLOW,
        addr: cmd.addr,
    };
    let last = cmd.perm & MORE_FOLLOW == 0;
    let mock = MOCK.get().ok_or(ENODEV)?;
    Ok(mock.fault(device.dev(), &request, last)?)
}

/// Reports an event of a device that is attached to page tables on a vIOMMU. The event has the
/// virtual id that the device had when it was attached.
///
/// Returns `ENOENT` if the device is not attached to such page tables or its virtual id is 0, and
/// `EOPNOTSUPP` if the vIOMMU has no event queue.
pub(super) fn event(ctx: &Ctx, cmd: &TriggerVevent) -> Result {
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let hwpt = device.group()?.nested_of(Pasid::NONE).ok_or(ENOENT)?;
    let iommu = MOCK.get().ok_or(ENODEV)?;
    let tables = iommu.nested(hwpt.domain()).ok_or(ENOENT)?;
    let viommu = tables.viommu().ok_or(ENOENT)?;
    let data = iommu.data(device.dev()).ok_or(ENOENT)?;
    let virt_id = data.virt_id.load(Relaxed);
    if virt_id == 0 {
        return Err(ENOENT.into());
    }
    let event = ViommuEventSelftest {
        // That of an event has 32 bits.
        virt_id: virt_id as u32,
    };
    Ok(viommu.report(mock::VEVENT, &event)?)
}

/// Makes the pages dirty whose bits are set in the bitmap of the calling process.
///
/// Returns `EINVAL` if dirty pages are not tracked, and `EOVERFLOW` if the bitmap has more than
/// [`MAX_BITMAP`] bytes.
pub(super) fn dirty(ctx: &Ctx, mut cmd: Cmd, user: &UserStruct) -> Result {
    let id = cmd.id;
    let args = cmd.dirty();
    let (iova, size) = (args.iova, args.page_size);
    if args.length == 0 || args.uptr == 0 {
        return Err(EINVAL.into());
    }
    check_multiples(&[iova, args.length], size)?;
    let npages = args.length / size;
    if npages > MAX_BITMAP * 8 {
        return Err(EOVERFLOW.into());
    }
    let count = with_domain(ctx, id, |_, domain| {
        if !domain.is_tracking() {
            return Err(EINVAL.into());
        }
        let len = usize::try_from(npages.div_ceil(8)).map_err(|_| EOVERFLOW)?;
        let mut bitmap = KVVec::from_elem(0_u8, len, GFP_KERNEL_ACCOUNT)?;
        UserSlice::new(user::ptr(args.uptr), len)
            .reader()
            .read_slice(&mut bitmap)?;
        let is_set = |page: &u64| {
            let byte = usize::try_from(page / 8).ok().and_then(|at| bitmap.get(at));
            byte.is_some_and(|byte| byte & (1 << (page % 8)) != 0)
        };
        let mut count = 0;
        for page in (0..npages).filter(is_set) {
            domain.set_dirty(iova.wrapping_add(page * size))?;
            count += 1;
        }
        Ok(count)
    })?;
    cmd.dirty_mut().out_nr_dirty = count;
    user.write(&cmd)
}
