// SPDX-License-Identifier: GPL-2.0-only

//! Choosing and checking addresses: which I/O virtual addresses a new mapping may take.
//!
//! Pure logic. Addresses are taken by areas, closed by reserved ranges (what devices cannot use)
//! and, once user space has allowed some ranges, the automatic choice is confined to those.

use kernel::prelude::*;

use crate::{
    ioas::interval::{
        Gaps,
        IntervalMap, //
    },
    kapi::units::{
        align_up,
        page_offset,
        IovaRange,
        IovaUnit,
        PAGE_SIZE, //
    }, //
};

/// The alignment beyond which a mapping gains nothing: the largest page that most page tables use.
const MOST_ALIGNMENT: u64 = if cfg!(CONFIG_TRANSPARENT_HUGEPAGE) {
    PAGE_SIZE * (PAGE_SIZE / 8)
} else {
    PAGE_SIZE
};

/// Ranges in order of their first address; they may intersect.
pub(crate) struct RangeList<T> {
    list: KVVec<(IovaRange, T)>,
}

impl<T> RangeList<T> {
    /// A list without ranges.
    pub(crate) const fn new() -> Self {
        Self { list: KVVec::new() }
    }

    /// Adds a range. `ENOMEM`.
    pub(crate) fn insert(&mut self, range: IovaRange, value: T) -> Result {
        self.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let at = self
            .list
            .partition_point(|(other, _)| other.start() <= range.start());
        self.list
            .insert_within_capacity(at, (range, value))
            .map_err(|_| ENOMEM)
    }

    /// Keeps only the ranges whose value `keep` says yes to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.list.retain(|(_, value)| keep(value));
    }

    /// The ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IovaRange, &T)> {
        self.list.iter().map(|(range, value)| (*range, value))
    }

    /// The first range that intersects `within`.
    pub(crate) fn conflict(&self, within: IovaRange) -> Option<IovaRange> {
        self.iter()
            .map(|(range, _)| range)
            .take_while(|range| range.start() <= within.last())
            .find(|range| range.intersects(&within))
    }

    /// What the ranges leave of all addresses, in order.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = IovaRange> + '_ {
        Gaps::new(self.iter(), IovaRange::ALL)
    }
}

/// The best alignment for a mapping of `length` bytes whose memory begins at `addr`: congruent to
/// the memory as far as that helps to use large pages. `EOVERFLOW` where `length` is absurd.
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

/// The first free address for `length` bytes of memory that begins at `addr`, or `ENOSPC`.
/// `alignment` is what the IOAS demands: `EINVAL` where the memory itself is aligned worse,
/// `EOVERFLOW` where `length` is absurd.
///
/// Neither the first nor the last page of the address space is ever chosen.
pub(crate) fn choose<V, R>(
    areas: &IntervalMap<IovaUnit, V>,
    reserved: &RangeList<R>,
    allowed: &IntervalMap<IovaUnit, ()>,
    addr: u64,
    length: u64,
    alignment: u64,
) -> Result<u64> {
    let offset = page_offset(addr);
    let ideal = ideal_alignment(addr, length)?;
    if ideal < alignment {
        return Err(EINVAL);
    }
    let usable = IovaRange::new(PAGE_SIZE, u64::MAX - PAGE_SIZE).ok_or(ENOSPC)?;
    let search = |window: IovaRange| {
        let window = window.intersection(&usable)?;
        first_fit(areas, reserved, window, length, ideal, offset)
    };
    if allowed.is_empty() {
        search(usable)
    } else {
        merged(allowed).find_map(search)
    }
    .ok_or(ENOSPC)
}

/// The ranges of a map in order, neighbours as one.
fn merged(map: &IntervalMap<IovaUnit, ()>) -> impl Iterator<Item = IovaRange> + '_ {
    let mut ranges = map.iter().map(|(range, ())| range).peekable();
    core::iter::from_fn(move || {
        let mut merged = ranges.next()?;
        while let Some(next) = ranges.next_if(|n| merged.last().checked_add(1) == Some(n.start())) {
            merged = IovaRange::new(merged.start(), next.last())?;
        }
        Some(merged)
    })
}

/// As Linux chooses: the first hole in which an address fits that is rounded up from the hole's
/// start. Where holes begin with pages there is no lower one.
fn first_fit<V, R>(
    areas: &IntervalMap<IovaUnit, V>,
    reserved: &RangeList<R>,
    window: IovaRange,
    length: u64,
    alignment: u64,
    offset: u64,
) -> Option<u64> {
    let fit = |hole: IovaRange| {
        // This keeps the memory's offset into its page in a hole that begins with a page:
        // `alignment` is at most the offset's own.
        let at = align_up(hole.start(), alignment)? | offset;
        let last = at.checked_add(length.checked_sub(1)?)?;
        // A hole's last byte alone is never chosen, by Linux neither.
        (at < hole.last() && last <= hole.last()).then_some(at)
    };
    let mut rest = IovaRange::new(fit(window)?, window.last())?;
    loop {
        let by_area = areas.first_in(rest).map(|(range, _)| range);
        let taken = match (by_area, reserved.conflict(rest)) {
            (Some(a), Some(b)) => {
                if a.start() < b.start() {
                    a
                } else {
                    b
                }
            }
            (Some(taken), None) | (None, Some(taken)) => taken,
            (None, None) => return fit(rest),
        };
        let hole = taken
            .start()
            .checked_sub(1)
            .and_then(|last| IovaRange::new(rest.start(), last));
        if let Some(at) = hole.and_then(fit) {
            return Some(at);
        }
        rest = IovaRange::new(taken.last().checked_add(1)?, window.last())?;
    }
}

/// Whether a mapping may be put at `range`. `EINVAL` where it is reserved, `EEXIST` where something
/// is mapped already.
pub(crate) fn check<V, R>(
    areas: &IntervalMap<IovaUnit, V>,
    reserved: &RangeList<R>,
    range: IovaRange,
) -> Result {
    if reserved.conflict(range).is_some() {
        return Err(EINVAL);
    }
    if areas.is_taken(range) {
        return Err(EEXIST);
    }
    Ok(())
}
