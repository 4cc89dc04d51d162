// SPDX-License-Identifier: GPL-2.0-only

//! The search for areas that are behind the domain that a task fills or empties.
//!
//! Pure logic. Protected by `Ioas::space` (rank 25).

use crate::{
    ioas::{
        interval::IntervalMap,
        membership::{
            Followed,
            Membership, //
        }, //
    },
    kapi::units::{
        IovaRange,
        IovaUnit, //
    },
};

/// The largest number of areas that are looked at while the lock is held.
pub(crate) const MOST_LOOKS: usize = 1024;

/// An area as the search sees it.
pub(crate) trait Follower {
    /// Returns the last change of the domains that the area has followed.
    fn followed(&self) -> Followed;

    /// Returns false if another task works on the area.
    fn is_ready(&self) -> bool;
}

/// Areas that are moved at once.
pub(crate) trait Batch<A> {
    /// Returns true if there is no area.
    fn is_empty(&self) -> bool;

    /// Returns true if no area can be added.
    fn is_full(&self) -> bool;

    /// Returns true if this area, which is behind, can be added. The first one can.
    fn takes(&mut self, range: IovaRange, area: &A) -> bool;

    /// Adds an area, and changes its state.
    fn push(&mut self, range: IovaRange, area: &mut A);
}

/// What the search for areas that are behind has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No area is behind any more.
    None,
    /// [`MOST_LOOKS`] areas, none of which is behind. The caller goes on after it has released the lock.
    Later,
    /// Another task works on the first area that is behind, which must be filled into a domain that joins.
    Busy,
    /// Those that the batch has now.
    Some,
}

/// Looks for areas that are behind, and adds some to the batch, which is empty. Areas that end before
/// `from` need not be looked at. Sets `from` to the address of the first area that is added, or of the next
/// one to look at.
///
/// If a domain is emptied, passes over areas that other tasks work on, which take these out of the domain.
/// So no later search for the same change needs to look at areas below `from`: one that is made later, or
/// that is a part of one that is cut, is not behind there, or another task works on it.
pub(crate) fn find_behind<A: Follower, D: Clone>(
    members: &Membership<D>,
    areas: &mut IntervalMap<IovaUnit, A>,
    from: &mut u64,
    batch: &mut impl Batch<A>,
) -> Found {
    let mut rest = IovaRange::new(*from, u64::MAX);
    for _ in 0..MOST_LOOKS {
        let Some((range, area)) = rest.and_then(|rest| areas.first_in_mut(rest)) else {
            rest = None;
            break;
        };
        let passes_over = !area.is_ready() && members.is_emptying();
        if members.is_behind(area.followed()) && !passes_over {
            if batch.is_empty() {
                *from = range.start();
            }
            if !area.is_ready() {
                if batch.is_empty() {
                    return Found::Busy;
                }
                break;
            }
            if !batch.takes(range, area) {
                break;
            }
            batch.push(range, area);
            if batch.is_full() {
                break;
            }
        }
        let next = range.last().checked_add(1);
        rest = next.and_then(|start| IovaRange::new(start, u64::MAX));
    }
    match rest {
        _ if !batch.is_empty() => Found::Some,
        Some(rest) => {
            *from = rest.start();
            Found::Later
        }
        None => Found::None,
    }
}
