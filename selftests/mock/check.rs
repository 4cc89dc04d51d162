// SPDX-License-Identifier: GPL-2.0-only

//! Looking into page tables and memory, and doing to page tables what hardware does.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed,
    uaccess::UserSlice, //
};

use crate::{
    device::BoundDevice,
    hwpt::{
        Hwpt,
        HwptNested,
        HwptPaging, //
    },
    ioas::Ioas,
    kapi::{
        iommu::{
            group::Pasid,
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
/// Among the permissions of a page fault: others of its group follow. The kernel's own mock knows
/// groups of one fault only; no permission has this bit.
const MORE_FOLLOW: u32 = 1 << 31;

/// Reserves addresses of an address space for good. `EINVAL`, `EOVERFLOW`, or as
/// [`Ioas::reserve_range`] fails.
pub(super) fn add_reserved(ctx: &Ctx, id: u32, cmd: &AddReserved) -> Result {
    let range = IovaRange::from_len(cmd.start, cmd.length)?;
    let ioas: Ref<Ioas> = ctx.objects().get(id)?;
    ioas.reserve_range(range)
}

/// Lets `f` see page tables of the mock. `ENOENT` where there is no such object, `EINVAL` where
/// another IOMMU made it.
fn with_domain<T>(
    ctx: &Ctx,
    id: u32,
    f: impl FnOnce(&HwptPaging, &PagingDomain<MockDomain>) -> Result<T>,
) -> Result<T> {
    let hwpt: Ref<HwptPaging> = ctx.objects().get(id)?;
    let mock = MOCK.get().ok_or(ENODEV)?;
    f(&hwpt, mock.domain(hwpt.domain()).ok_or(EINVAL)?)
}

/// Whether all of them are multiples of `size`. `EINVAL` where not.
fn check_multiples(numbers: &[u64], size: u64) -> Result {
    if size != 0 && numbers.iter().all(|number| number % size == 0) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Whether page tables lead to the caller's memory, page by page. `EINVAL` where they do not.
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
                return Err(EINVAL);
            }
            done += size;
        }
        Ok(())
    })
}

/// Whether each page of the caller's memory is pinned as often as the command says. `EIO` where one
/// is not.
pub(super) fn pins(cmd: &CheckRefs) -> Result {
    check_multiples(&[cmd.length, cmd.uptr], PAGE_SIZE)?;
    cmd.uptr.checked_add(cmd.length).ok_or(EINVAL)?;
    let mut done = 0;
    while done < cmd.length {
        let page = UserPage::get(cmd.uptr + done)?;
        if page.pins().is_some_and(|pins| pins != cmd.refs) {
            return Err(EIO);
        }
        done += PAGE_SIZE;
    }
    Ok(())
}

/// Whether what is cached of page tables that user space fills is what the command says. `EINVAL`
/// where it is not, and for page tables of another IOMMU.
pub(super) fn iotlb(ctx: &Ctx, id: u32, cmd: &CheckIotlb) -> Result {
    let hwpt: Ref<HwptNested> = ctx.objects().get(id)?;
    let mock = MOCK.get().ok_or(ENODEV)?;
    let tables = mock.nested(hwpt.domain()).ok_or(EINVAL)?;
    if tables.has_cached(cmd.id, cmd.iotlb) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Whether a device has cached what the command says. `EINVAL` where it has not, and for a device
/// that is not a mock.
pub(super) fn cache(ctx: &Ctx, id: u32, cmd: &CheckDevCache) -> Result {
    let device: Ref<BoundDevice> = ctx.objects().get(id)?;
    let mock = MOCK.get().ok_or(ENODEV)?;
    let caches = &mock.data(device.dev()).ok_or(EINVAL)?.cache;
    match caches.get(cmd.id as usize) {
        Some(cache) if cache.load(Relaxed) == cmd.cache => Ok(()),
        _ => Err(EINVAL),
    }
}

/// Lets a device have a page fault, which ends its group unless it says [`MORE_FOLLOW`]. Where it
/// may not have any nothing happens, as with hardware. `EINVAL` for a device that is not a mock.
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
    MOCK.get()
        .ok_or(ENODEV)?
        .fault(device.dev(), &request, last)
}

/// Reports an event of a device that is attached to page tables on a vIOMMU. The event has the
/// virtual id that the device had when it was attached.
///
/// Returns `ENOENT` if the device is not attached to such page tables or its virtual id is 0, and
/// `EOPNOTSUPP` if the vIOMMU has no event queue.
pub(super) fn event(ctx: &Ctx, cmd: &TriggerVevent) -> Result {
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let Some(Hwpt::Nested(hwpt)) = device.group()?.attached_to(Pasid::NONE) else {
        return Err(ENOENT);
    };
    let iommu = MOCK.get().ok_or(ENODEV)?;
    let tables = iommu.nested(hwpt.domain()).ok_or(ENOENT)?;
    let viommu = tables.viommu().ok_or(ENOENT)?;
    let data = iommu.data(device.dev()).ok_or(ENOENT)?;
    let virt_id = data.virt_id.load(Relaxed);
    if virt_id == 0 {
        return Err(ENOENT);
    }
    viommu.report(mock::VEVENT, &ViommuEventSelftest { virt_id })
}

/// Makes those pages look written to whose bits are set in the caller's bitmap. `EINVAL` where
/// dirty pages are not tracked, `EOVERFLOW` where the bitmap is too long.
pub(super) fn dirty(ctx: &Ctx, mut cmd: Cmd, user: &UserStruct) -> Result {
    let id = cmd.id;
    let args = cmd.dirty();
    let (iova, size) = (args.iova, args.page_size);
    if args.length == 0 || args.uptr == 0 {
        return Err(EINVAL);
    }
    check_multiples(&[iova, args.length], size)?;
    let npages = args.length / size;
    if npages > MAX_BITMAP * 8 {
        return Err(EOVERFLOW);
    }
    let count = with_domain(ctx, id, |_, domain| {
        if !domain.is_tracking() {
            return Err(EINVAL);
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
