// SPDX-License-Identifier: GPL-2.0-only

//! Access to the memory of an address space without a domain, for emulated devices and HW queues.
//!
//! Pins and copies hold `Ioas::space` (rank 25) for reading, and `Pages::inner` (rank 30) inside
//! it.

use kernel::sync::atomic::ordering::Relaxed;

use crate::{
    ioas::{
        area::{
            Area,
            State, //
        },
        space::Space,
        transfer::Transfer,
        Ioas, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        mm::pin::{
            PagePtr,
            PinnedRun, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// Returns the areas that cover `range`, in order, each with its own range and the part of `range`
/// that it covers. Returns `ENOENT` at a gap.
pub(super) fn covering<'a>(
    space: &'a Space,
    range: IovaRange,
) -> impl Iterator<Item = Result<(IovaRange, IovaRange, &'a Area)>> + 'a {
    let mut areas = space.areas.iter_in(range);
    let mut rest = Some(range);
    core::iter::from_fn(move || {
        let wanted = rest.take()?;
        let found = areas
            .next()
            .filter(|(mapped, area)| area.state == State::Ready && mapped.start() <= wanted.start())
            .and_then(|(mapped, area)| Some((mapped, mapped.intersection(&wanted)?, area)));
        let Some((mapped, part, area)) = found else {
            return Some(Err(Reason::AccessGap.with(wanted.start())));
        };
        let next = part.last().checked_add(1);
        rest = next.and_then(|start| IovaRange::new(start, wanted.last()));
        Some(Ok((mapped, part, area)))
    })
}

/// Returns the offset of `iova` in the memory source of the area, which is mapped at `mapped`.
fn byte_of(area: &Area, mapped: IovaRange, iova: u64) -> u64 {
    area.slice.start + (iova - mapped.start())
}

/// Returns `EINVAL` if the area is being unmapped, so that no new accesses may begin.
fn check_open(area: &Area, mapped: IovaRange) -> Result {
    if area.prevent_access {
        Err(Reason::AccessUnmapping.with(mapped.start()))
    } else {
        Ok(())
    }
}

/// Returns `EPERM` if the mapping or its memory does not permit the access, and `EINVAL` for device
/// memory.
fn check_permission(area: &Area, mapped: IovaRange, write: bool) -> Result {
    let allowed = if write {
        area.prot.write
    } else {
        area.prot.read
    };
    if !allowed || (write && !area.slice.pages.writable()) {
        return Err(Reason::AccessPermission.with(mapped.start()));
    }
    // The CPU does not access device memory.
    if area.slice.pages.mmio().is_some() {
        return Err(Reason::AccessDeviceMemory.with(mapped.start()));
    }
    Ok(())
}

/// Returns the pages of the area's source that `part` covers. Returns `EINVAL` if it begins inside
/// a page, or ends inside a page that is not the last one of the access.
fn whole_pages(
    area: &Area,
    mapped: IovaRange,
    part: IovaRange,
    is_last: bool,
) -> Result<PageRange> {
    let start = byte_of(area, mapped, part.start());
    let last = byte_of(area, mapped, part.last());
    if page_offset(start) != 0 || (!is_last && page_offset(last) != PAGE_SIZE - 1) {
        return Err(Reason::AccessPartPage.with(part.start()));
    }
    some_or_warn!(PageRange::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT))
}

impl Ioas {
    /// Has every driver unpin the pages in `range`. The caller must hold no lock.
    pub(crate) fn notify_accessors(&self, range: IovaRange) {
        // The lock is not held while a driver is called. An accessor that is added or removed
        // meanwhile may be missed or called twice; unmapping tries again.
        for place in 0.. {
            let accessor = self.domains.read().accessor(place).cloned();
            match accessor {
                Some(accessor) => accessor.notify(range),
                None => break,
            }
        }
    }

    /// Pins the pages of `range` and stores them in `out`, in order. They stay pinned until
    /// [`Ioas::unpin_pages`] is called with the same range. On failure nothing is pinned.
    ///
    /// Returns `ENOENT` if part of the range is not mapped, `EPERM` if the access is not permitted,
    /// `EINVAL` for device memory, for an area that is being unmapped and if pages are not whole,
    /// `ENOMEM`, and `EFAULT`.
    pub(crate) fn pin_pages(&self, range: IovaRange, write: bool, out: &mut [PagePtr]) -> Result {
        let mut place = 0;
        let space = self.space.read();
        pin(&space, range, write, |run| {
            for page in run.pages() {
                *some_or_warn!(out.get_mut(place))? = page;
                place += 1;
            }
            Ok(())
        })
    }

    /// Undoes [`Ioas::pin_pages`] of the same range.
    pub(crate) fn unpin_pages(&self, range: IovaRange) {
        unpin(&self.space.read(), range);
    }

    /// Copies bytes at `iova`. `borrow_mm` says that the caller is a kernel thread, which may use
    /// the address space of the owner; `slow` says that the bytes must be copied through their
    /// pages.
    ///
    /// Returns `ENOENT` if part of the range is not mapped, `EPERM` if the access is not permitted,
    /// `EINVAL` for device memory and for an area that is being unmapped, `EFAULT`, and `ENOMEM`.
    /// The areas before the one that failed may have been copied.
    pub(crate) fn copy_bytes(
        &self,
        iova: u64,
        mut transfer: Transfer<'_>,
        borrow_mm: bool,
        slow: bool,
    ) -> Result {
        let range = IovaRange::from_len(iova, crate::kapi::units::to_u64(transfer.len()))
            .because(Reason::CommandRange, iova)?;
        let write = transfer.is_write();
        let space = self.space.read();
        let mut done = 0;

        let result = covering(&space, range).try_for_each(|found| {
            let (mapped, part, area) = found?;
            check_open(area, mapped)?;
            check_permission(area, mapped, write)?;
            let len = crate::kapi::units::to_usize(part.len());
            let piece = some_or_warn!(transfer.part(done, len))?;
            let start = byte_of(area, mapped, part.start());
            area.slice.pages.copy_bytes(start, piece, borrow_mm, slow)?;
            done += len;
            Ok(())
        });
        result
    }
}

/// Pins the pages of `range` and passes each run of them to `f`, in order. On failure, also of `f`,
/// nothing is pinned. Returns the errors of [`Ioas::pin_pages`] and of `f`.
pub(super) fn pin(
    space: &Space,
    range: IovaRange,
    write: bool,
    mut f: impl FnMut(PinnedRun<'_>) -> Result,
) -> Result {
    let mut pinned = None;

    let result = covering(space, range).try_for_each(|found| {
        let (mapped, part, area) = found?;
        check_open(area, mapped)?;
        let pages = whole_pages(area, mapped, part, part.last() == range.last())?;
        check_permission(area, mapped, write)?;
        area.slice.pages.pin(pages, &mut f)?;
        area.accesses.add(1, Relaxed);
        pinned = Some(part.last());
        Ok(())
    });
    if let (Err(_), Some(last)) = (result, pinned) {
        if let Some(done) = IovaRange::new(range.start(), last) {
            unpin(space, done);
        }
    }
    result
}

/// Undoes [`pin`] of the same range.
pub(super) fn unpin(space: &Space, range: IovaRange) {
    for found in covering(space, range) {
        // An area cannot be unmapped while an access has pinned pages of it.
        let Ok((mapped, part, area)) = found else {
            warn_on_once!(true);
            return;
        };
        let start = byte_of(area, mapped, part.start());
        let last = byte_of(area, mapped, part.last());
        let pages = PageRange::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT);
        // A driver that unpins more than it has pinned must not unpin the pages of others.
        let ours = area.accesses.fetch_sub(1, Relaxed) > 0;
        warn_on_once!(!ours || pages.is_none());
        match pages {
            Some(pages) if ours => area.slice.pages.unpin(pages),
            _ => area.accesses.add(1, Relaxed),
        }
    }
}
