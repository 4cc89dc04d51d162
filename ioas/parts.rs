// SPDX-License-Identifier: GPL-2.0-only

//! The memory of a range that is mapped, for another mapping: the first half of IOAS_COPY.
//!
//! The areas are looked up some at a time, and memory is allocated with no lock held. Areas of earlier
//! rounds count a reader until the last round, so at that moment all of them are mapped: what is
//! copied was mapped at one moment.

use crate::{
    ioas::{
        area::Slice,
        map::Part,
        reader::Held,
        space::Space,
        Ioas, //
    },
    kapi::{
        bug::some_or_warn,
        reason::{
            Reason,
            Result, //
        },
        sync::{
            chunks::Chunks,
            signal, //
        },
        units::IovaRange, //
    }, //
};

/// The number of areas that are looked up at once, if there are several.
const AT_ONCE: usize = 16;

/// What was found in a round.
enum Round {
    /// All that was left.
    Last,
    /// The first areas. This is left.
    More(IovaRange),
    /// Another task unmaps or cuts the area at this address, or waits to do so.
    Wait(u64),
}

/// Stores the memory of the first areas of `wanted` in `found`, which is empty: as many as there is
/// room for. Returns the part of `wanted` that they do not cover. Returns `ENOENT` at a gap.
fn find(
    space: &Space,
    wanted: IovaRange,
    found: &mut [Option<Slice>],
) -> Result<Option<IovaRange>> {
    let mut rest = Some(wanted);
    let mut areas = space.areas.iter_in(wanted);
    for place in found {
        let Some(within) = rest else {
            break;
        };
        let gap = Reason::MapGap.with(within.start());
        let (mapped, area) = areas.next().ok_or(gap)?;
        let part = mapped.intersection(&within).ok_or(gap)?;
        if !area.is_mapped() || part.start() != within.start() {
            return Err(gap);
        }
        *place = Some(Slice {
            pages: area.slice.pages.clone(),
            start: area.slice.start + (part.start() - mapped.start()),
            length: part.len(),
        });
        let next = part.last().checked_add(1);
        rest = next.and_then(|start| IovaRange::new(start, wanted.last()));
    }
    Ok(rest)
}

impl Ioas {
    /// Returns the memory that is mapped at `range`, as parts in order for another mapping. Returns
    /// `ENOENT` if part of the range is not mapped, `ENOMEM`, and `EINTR` if the task is being killed.
    pub(crate) fn parts(&self, range: IovaRange) -> Result<Chunks<Part>> {
        loop {
            let mut parts = Chunks::new();
            let mut held = self.hold(range);
            // In most calls there is one area.
            let mut round = self.find_some::<1>(range, &mut held, &mut parts)?;
            let wait_at = loop {
                let rest = match round {
                    Round::Last => return Ok(parts),
                    Round::More(rest) => rest,
                    Round::Wait(iova) => break iova,
                };
                signal::check_killed()?;
                self.space.let_waiters_in();
                round = self.find_some::<AT_ONCE>(rest, &mut held, &mut parts)?;
            };
            // Nothing may be held while the task waits.
            drop(held);
            self.give_way(wait_at)?;
        }
    }

    /// Adds the first areas of `wanted` to `parts`, at most `N`. Holds them if they are not all.
    fn find_some<const N: usize>(
        &self,
        wanted: IovaRange,
        held: &mut Held<'_>,
        parts: &mut Chunks<Part>,
    ) -> Result<Round> {
        // An array of constants would be filled with zeroes.
        let mut found: [Option<Slice>; N] = core::array::from_fn(|_| None);
        let space = self.space.read();
        let rest = find(&space, wanted, &mut found)?;
        if let Some(rest) = rest {
            let covered = some_or_warn!(IovaRange::new(wanted.start(), rest.start() - 1))?;
            let areas = || space.areas.iter_in(covered);
            if let Some((at, _)) = areas().find(|(_, area)| area.keeps_readers_out()) {
                return Ok(Round::Wait(at.start().max(wanted.start())));
            }
            areas().for_each(|(at, area)| held.add(area, at.last()));
        }
        drop(space);
        for slice in found.into_iter().flatten() {
            parts.push(Part::new(Part::vacancy()?, slice))?;
        }
        Ok(rest.map_or(Round::Last, Round::More))
    }
}
