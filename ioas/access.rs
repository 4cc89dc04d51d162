// SPDX-License-Identifier: GPL-2.0-only

//! Access to the memory of an address space without a domain, for emulated devices and HW queues.
//!
//! Pages are pinned and bytes are copied with no lock of the address space held: the area counts a
//! [`Reader`](crate::ioas::reader::Reader) meanwhile.

use core::cell::Cell;

use kernel::sync::atomic::ordering::Relaxed;

use crate::{
    ioas::{
        accessor::id_of,
        area::{
            Area,
            Slice, //
        },
        reader::{
            Held,
            Reader, //
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
        sync::signal,
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// The number of areas that are looked up at once.
const AT_ONCE: usize = 64;

/// What an access pins. Each is counted in the areas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinner {
    /// The driver of an emulated device, which unpins pages when it is asked to.
    Driver,
    /// A HW queue, which does not.
    Hardware,
}

impl Pinner {
    fn count(self, area: &Area) {
        area.accesses.add(1, Relaxed);
        if self == Self::Hardware {
            area.phys_pins.add(1, Relaxed);
        }
    }

    /// Undoes [`Pinner::count`]. Returns false and does nothing if the area counts none.
    fn uncount(self, area: &Area) -> bool {
        // A driver that unpins more than it has pinned must not unpin the pages of others.
        if area.accesses.fetch_sub(1, Relaxed) <= 0 {
            area.accesses.add(1, Relaxed);
            return false;
        }
        if self == Self::Hardware {
            warn_on_once!(area.phys_pins.fetch_sub(1, Relaxed) <= 0);
        }
        true
    }
}

/// Returns the areas that cover `range`, in order, each with its own range and the part of `range`
/// that it covers. Returns `ENOENT` at a gap.
fn covering<'a>(
    space: &'a Space,
    range: IovaRange,
) -> impl Iterator<Item = Result<(IovaRange, IovaRange, &'a Area)>> + 'a {
    let mut areas = space.areas.iter_in(range);
    let mut rest = Some(range);
    core::iter::from_fn(move || {
        let wanted = rest.take()?;
        let found = areas
            .next()
            .filter(|(mapped, area)| area.is_mapped() && mapped.start() <= wanted.start())
            .and_then(|(mapped, area)| Some((mapped, mapped.intersection(&wanted)?, area)));
        let Some((mapped, part, area)) = found else {
            return Some(Err(Reason::AccessGap.with(wanted.start())));
        };
        let next = part.last().checked_add(1);
        rest = next.and_then(|start| IovaRange::new(start, wanted.last()));
        Some(Ok((mapped, part, area)))
    })
}

/// What was found when some areas were looked up.
enum Round {
    /// All that was left.
    Last,
    /// The first areas. This is left.
    More(IovaRange),
    /// Another task unmaps or cuts the area at this address, or waits to do so.
    Wait(u64),
}

/// Calls `check` as [`for_each_covering`] for the first areas of `wanted`, and holds them. On failure
/// those before the area that failed are held.
fn hold_some(
    ioas: &Ioas,
    held: &mut Held<'_>,
    wanted: IovaRange,
    check: &mut impl FnMut(IovaRange, IovaRange, &Area) -> Result,
) -> Result<Round> {
    let space = ioas.space.read();
    let mut last = wanted.last();
    for found in covering(&space, wanted).take(AT_ONCE) {
        let (mapped, part, area) = found?;
        if area.keeps_readers_out() {
            return Ok(Round::Wait(part.start()));
        }
        check(mapped, part, area)?;
        held.add(area, part.last());
        last = part.last();
    }
    let next = last.checked_add(1);
    let rest = next.and_then(|start| IovaRange::new(start, wanted.last()));
    Ok(rest.map_or(Round::Last, Round::More))
}

/// Holds the areas that cover `range`, of which there may be millions. Calls `check` with each, as
/// [`for_each_covering`]. If it has to wait, it calls `again` with no lock held, waits, and calls
/// `check` from the first area on again. When it returns, all areas up to the last one, or up to the
/// one that failed, are mapped. Returns `ENOENT` at a gap, `EINTR` if the task is being killed, and
/// the errors of `check`.
fn hold_all(
    ioas: &Ioas,
    held: &mut Held<'_>,
    range: IovaRange,
    mut check: impl FnMut(IovaRange, IovaRange, &Area) -> Result,
    again: impl Fn(),
) -> Result {
    let mut rest = range;
    loop {
        match hold_some(ioas, held, rest, &mut check)? {
            Round::Last => return Ok(()),
            Round::More(more) => {
                signal::check_killed()?;
                ioas.space.let_waiters_in();
                rest = more;
            }
            Round::Wait(iova) => {
                // Nothing may be held while the task waits.
                held.release(|_| {});
                again();
                ioas.give_way(iova)?;
                rest = range;
            }
        }
    }
}

/// Goes to the areas that cover `range`, in order. Calls `check` with the range of each, the part of
/// `range` that it covers, and the area, under `Ioas::space` held for reading; then calls `f` with
/// the part, the memory and what `check` has returned, with no lock held. Returns `ENOENT` at a gap,
/// and the errors of `check` and `f`.
fn for_each_covering<T>(
    mut reader: Reader<'_>,
    range: IovaRange,
    mut check: impl FnMut(IovaRange, IovaRange, &Area) -> Result<T>,
    mut f: impl FnMut(IovaRange, &Slice, T) -> Result,
) -> Result {
    let mut rest = Some(range);
    while let Some(wanted) = rest {
        let gap = Reason::AccessGap.with(wanted.start());
        let at = IovaRange::at(wanted.start());
        let found = reader.next(at, |mapped, area| {
            let part = mapped.intersection(&wanted).ok_or(gap)?;
            Ok((part, area.slice.clone(), check(mapped, part, area)?))
        })?;
        let (part, slice, value) = found.ok_or(gap)?;
        f(part, &slice, value)?;
        let next = part.last().checked_add(1);
        rest = next.and_then(|start| IovaRange::new(start, wanted.last()));
    }
    Ok(())
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
        let mut next = Some(0);
        while let Some(from) = next {
            let accessor = self.space.read().domains.accessor_from(from);
            next = accessor.and_then(|accessor| {
                accessor.notify(range);
                id_of(&accessor).checked_add(1)
            });
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
        pin(self, range, write, Pinner::Driver, |run| {
            for page in run.pages() {
                *some_or_warn!(out.get_mut(place))? = page;
                place += 1;
            }
            Ok(())
        })
    }

    /// Undoes [`Ioas::pin_pages`] of the same range.
    pub(crate) fn unpin_pages(&self, range: IovaRange) {
        unpin(self, range, Pinner::Driver);
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
        let mut copied = 0;

        for_each_covering(
            self.reader(),
            range,
            |mapped, part, area| {
                check_open(area, mapped)?;
                check_permission(area, mapped, write)?;
                Ok(byte_of(area, mapped, part.start()))
            },
            |part, slice, start| {
                let len = crate::kapi::units::to_usize(part.len());
                let piece = some_or_warn!(transfer.part(copied, len))?;
                slice.pages.copy_bytes(start, piece, borrow_mm, slow)?;
                copied += len;
                Ok(())
            },
        )
    }
}

/// Pins the pages of `range` and passes each run of them to `f`, in order. On failure, also of `f`,
/// nothing is pinned. Returns the errors of [`Ioas::pin_pages`] and of `f`.
///
/// No area can be unmapped until all of them are pinned, so the driver is not asked to unpin pages
/// of which it does not know yet.
pub(super) fn pin(
    ioas: &Ioas,
    range: IovaRange,
    write: bool,
    pinner: Pinner,
    mut f: impl FnMut(PinnedRun<'_>) -> Result,
) -> Result {
    let mut held = ioas.hold(range);
    let find = |mapped: IovaRange, part: IovaRange, area: &Area| {
        check_open(area, mapped)?;
        let pages = whole_pages(area, mapped, part, part.last() == range.last())?;
        check_permission(area, mapped, write)?;
        Ok(pages)
    };
    // In most calls there is one area.
    let first = Cell::new(None);
    let check = |mapped: IovaRange, part: IovaRange, area: &Area| {
        let pages = find(mapped, part, area)?;
        if part.start() == range.start() {
            first.set(Some((part, area.slice.clone(), pages)));
        }
        Ok(())
    };
    let found = hold_all(ioas, &mut held, range, check, || drop(first.take()));

    // The areas before the first one that is refused are pinned all the same, since one of them may
    // be refused for a reason of its own, which comes first.
    let mut pinned = None;
    let result = match (held.covered(), first.into_inner()) {
        (Some(covered), Some((part, slice, pages))) if part.last() == covered.last() => {
            let result = slice.pages.pin(pages, &mut f);
            pinned = result.is_ok().then_some(part.last());
            result
        }
        (Some(covered), _) => for_each_covering(
            ioas.reader_of_held(),
            covered,
            find,
            |part, slice, pages| {
                signal::check_killed()?;
                slice.pages.pin(pages, &mut f)?;
                pinned = Some(part.last());
                Ok(())
            },
        ),
        (None, _) => Ok(()),
    };
    let result = result.and(found);
    if result.is_ok() {
        held.release(|area| pinner.count(area));
    } else if let Some(done) = pinned.and_then(|last| IovaRange::new(range.start(), last)) {
        // This cannot fail: these areas were found before, and are held.
        let unpinned = for_each_covering(ioas.reader_of_held(), done, find, |_, slice, pages| {
            slice.pages.unpin(pages);
            Ok(())
        });
        warn_on_once!(unpinned.is_err());
    }
    result
}

/// Undoes [`pin`] of the same range.
pub(super) fn unpin(ioas: &Ioas, range: IovaRange, pinner: Pinner) {
    let mut rest = Some(range);
    while let Some(wanted) = rest {
        let space = ioas.space.read();
        let found = covering(&space, wanted).next().and_then(Result::ok);
        let found = found.map(|(mapped, part, area)| {
            let start = byte_of(area, mapped, part.start());
            let last = byte_of(area, mapped, part.last());
            let pages = PageRange::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT);
            let pages = pages.filter(|_| pinner.uncount(area));
            (part, area.slice.clone(), pages)
        });
        drop(space);
        // An area cannot be unmapped while an access has pinned pages of it.
        warn_on_once!(found.is_none());
        rest = found.and_then(|(part, slice, pages)| {
            warn_on_once!(pages.is_none());
            // The area may be unmapped already, but the pages were pinned for the access.
            pages.into_iter().for_each(|pages| slice.pages.unpin(pages));
            IovaRange::new(part.last().checked_add(1)?, wanted.last())
        });
    }
}
