// SPDX-License-Identifier: GPL-2.0-only

//! Choosing and checking the IOVAs of a new mapping.
//!
//! Pure logic. An IOVA is not free if an area contains it or if it is reserved, because a device
//! cannot use it. If user space has allowed some ranges then IOVAs are chosen from these only.

use kernel::prelude::*;

use crate::{
    ioas::{
        allowed::Allowed,
        interval::IntervalMap,
        reserved::{
            Piece,
            Reserved, //
        },
        room::Room, //
    },
    kapi::units::{
        align_up,
        page_offset,
        IovaRange,
        IovaUnit,
        PAGE_SIZE, //
    }, //
};

/// The largest alignment that helps: that of the largest page that most page tables use.
const MOST_ALIGNMENT: u64 = if cfg!(CONFIG_TRANSPARENT_HUGEPAGE) {
    PAGE_SIZE * (PAGE_SIZE / 8)
} else {
    PAGE_SIZE
};

/// The number of holes that are looked at one by one although a mapping may not fit, because of its
/// alignment.
const MOST_MISFITS: usize = 64;

/// A search for an address, which is made in steps: the caller may release its lock between two of them.
pub(crate) struct Search {
    /// All holes that end before this have been looked at; 0 at first.
    from: u64,
    /// How many holes may be looked at in this step yet.
    looks: usize,
}

impl Search {
    /// Creates a search that has looked at nothing.
    pub(crate) fn new() -> Self {
        Self { from: 0, looks: 0 }
    }

    /// Begins a step of about `looks` holes and allowed ranges, at least 1.
    pub(crate) fn step(&mut self, looks: usize) -> &mut Self {
        self.looks = looks;
        self
    }

    /// Counts a look.
    fn look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// Ends the step. The next one goes on at `from`.
    fn pause(&mut self, from: u64) -> Step {
        self.from = from;
        Step::Later
    }
}

/// What a step has come to, if there may be room.
enum Step {
    /// This address has room.
    Found(u64),
    /// There is more to look at.
    Later,
}

/// Returns the best alignment of a mapping of `length` bytes whose memory begins at `addr`: that of
/// the memory, as far as it helps to use large pages. Returns `EOVERFLOW` if `length` is half of
/// all addresses or more.
pub(crate) fn ideal_alignment(addr: u64, length: u64) -> Result<u64> {
    if length == 0 || length >= u64::MAX / 2 {
        return Err(EOVERFLOW);
    }
    let by_length = length.next_power_of_two();
    let by_addr = if addr == 0 {
        by_length
    } else {
        1 << addr.trailing_zeros()
    };
    Ok(by_length.min(by_addr).min(MOST_ALIGNMENT))
}

/// Returns the first free address for `length` bytes of memory that begins at `addr`, or `None` if
/// there was too much to look at for the step of `search`; the caller begins another one then. What
/// becomes free meanwhile where the search has been is not found. Returns
/// `ENOSPC` if there is none, `EINVAL` if the memory is not aligned to `alignment`, which the
/// address space requires, and `EOVERFLOW` if `length` is half of all addresses or more.
///
/// The room in the gaps between areas must be what `reserved` leaves of it.
///
/// The first and the last page of all addresses are never chosen.
pub(crate) fn choose<V>(
    areas: Room<'_, V>,
    reserved: Room<'_, Piece>,
    allowed: &Allowed,
    addr: u64,
    length: u64,
    alignment: u64,
    search: &mut Search,
) -> Result<Option<u64>> {
    let offset = page_offset(addr);
    let ideal = ideal_alignment(addr, length)?;
    if ideal < alignment {
        return Err(EINVAL);
    }
    let usable = IovaRange::new(PAGE_SIZE, u64::MAX - PAGE_SIZE).ok_or(ENOSPC)?;
    let rest = IovaRange::new(search.from, u64::MAX).ok_or(ENOSPC)?;
    let step = |window: IovaRange| {
        let window = window.intersection(&usable)?;
        first_fit(areas, reserved, window, length, ideal, offset, search)
    };
    let found = if allowed.is_empty() {
        Some(usable).and_then(step)
    } else {
        allowed.iter_in(rest).find_map(step)
    };
    match found {
        Some(Step::Found(at)) => Ok(Some(at)),
        Some(Step::Later) => Ok(None),
        None => Err(ENOSPC),
    }
}

/// Returns the lowest address that is a multiple of `alignment`, plus `offset`, and has room in a
/// hole of `window`, or `None` if there is none. It may miss a lower address in a hole that does not
/// begin with a page. C iommufd chooses the same.
///
/// If [`MOST_MISFITS`] holes are long enough but for alignment, the address is in the next one that is
/// long enough for any, which C iommufd may not choose; if there is none, the others are looked at.
/// Takes logarithmic time for each hole that is looked at. All holes of the window that end before
/// the place of `search` must have been looked at.
fn first_fit<V>(
    areas: Room<'_, V>,
    reserved: Room<'_, Piece>,
    window: IovaRange,
    length: u64,
    alignment: u64,
    offset: u64,
    search: &mut Search,
) -> Option<Step> {
    let fit = |hole: IovaRange| {
        // In a hole that begins with a page this keeps the offset of the memory into its page,
        // because `alignment` divides the offset of `addr`.
        let at = align_up(hole.start(), alignment)? | offset;
        let last = at.checked_add(length.checked_sub(1)?)?;
        // The last byte of a hole alone is never chosen, as in C iommufd.
        (at < hole.last() && last <= hole.last()).then_some(at)
    };
    let holes = |within, least| {
        let gaps = areas.gaps(within, least);
        gaps.flat_map(move |gap| reserved.gaps(gap, least))
    };
    let start = if window.start() <= search.from {
        search.from
    } else if search.looks == 0 {
        return Some(search.pause(window.start() - 1));
    } else {
        search.look();
        fit(window)?
    };
    let rest = IovaRange::new(start, window.last())?;
    let mut tight = holes(rest, length);
    for _ in 1..MOST_MISFITS {
        search.look();
        if let Some(at) = fit(tight.next()?) {
            return Some(Step::Found(at));
        }
    }
    let misfit = tight.next()?;
    let behind = || IovaRange::new(misfit.last().checked_add(1)?, rest.last());
    // No more is lost to the alignment and the offset.
    let enough = length.saturating_add(alignment).saturating_add(PAGE_SIZE);
    let found = fit(misfit).or_else(|| holes(behind()?, enough).find_map(fit));
    if let Some(at) = found {
        return Some(Step::Found(at));
    }
    for hole in tight {
        search.look();
        if let Some(at) = fit(hole) {
            return Some(Step::Found(at));
        }
        if search.looks == 0 {
            return Some(search.pause(hole.last().checked_add(1)?));
        }
    }
    None
}

/// Checks that a mapping may be put at `range`. Returns `EINVAL` if part of it is reserved, and
/// `EEXIST` if part of it is mapped.
///
/// `areas` remembers the place, for the area that is put there next.
pub(crate) fn check<V>(
    areas: &mut IntervalMap<IovaUnit, V>,
    reserved: &Reserved,
    range: IovaRange,
) -> Result {
    if reserved.conflict(range).is_some() {
        return Err(EINVAL);
    }
    if areas.first_in_mut(range).is_some() {
        return Err(EEXIST);
    }
    Ok(())
}
