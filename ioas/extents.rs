// SPDX-License-Identifier: GPL-2.0-only

//! Lists of extents: the physical memory of a run of pages.
//!
//! A list has at most [`MAX_EXTENTS`] extents, so its memory is a small object of the slab, and
//! dividing or joining lists moves that many at most. A list of one extent needs no memory.
//!
//! Pure logic: pins are owned by the extents, see `kapi/mm/pin.rs`.

use core::ops::{
    Deref,
    DerefMut, //
};

use kernel::{
    alloc::Flags,
    prelude::*, //
};

use crate::kapi::{
    bug::warn_on_once,
    mm::{
        pin::Extent,
        unpin::unpin_list, //
    },
    sync::vec, //
};

/// The largest number of extents in a list: 2 KiB of memory.
pub(crate) const MAX_EXTENTS: usize = 256;

/// Extents in the order of their pages.
pub(crate) enum Extents {
    None,
    One(Extent),
    Many(KVec<Extent>),
}

impl Extents {
    /// An empty list with room for `len` extents. `ENOMEM`.
    fn with_room(len: usize, flags: Flags) -> Result<Self> {
        Ok(if len > 1 {
            Self::Many(KVec::with_capacity(len, flags)?)
        } else {
            Self::None
        })
    }

    /// Unpins the pages. Dropping the list does so too, but costs more for scattered pages.
    pub(crate) fn unpin(self) {
        if let Self::Many(list) = self {
            unpin_list(list);
        }
    }

    /// Adds an extent to a list that has room for it.
    fn push_within_room(&mut self, extent: Extent) {
        match self {
            Self::None => *self = Self::One(extent),
            // Dropping the extent unpins pages that are in use.
            Self::One(_) => {
                warn_on_once!(true);
            }
            Self::Many(list) => {
                warn_on_once!(list.push_within_capacity(extent).is_err());
            }
        }
    }

    /// Adds the next pages to the last extent where they continue it, else as an extent of their
    /// own, for which there is room.
    fn push_or_merge(&mut self, extent: Extent) {
        let refused = match self.last_mut() {
            Some(last) => last.merge(extent),
            None => Err(extent),
        };
        if let Err(extent) = refused {
            self.push_within_room(extent);
        }
    }

    /// Adds an extent behind the others. `ENOMEM`.
    pub(crate) fn push(&mut self, extent: Extent) -> Result {
        if let Self::None = self {
            *self = Self::One(extent);
            return Ok(());
        }
        self.reserve(3)?.push(extent, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Makes room for `more` extents and returns the list that has it. Returns `ENOMEM` and leaves
    /// the list as it was if there is no memory.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<&mut KVec<Extent>> {
        if !matches!(self, Self::Many(_)) {
            let mut list = KVec::with_capacity(more.saturating_add(1), GFP_KERNEL_ACCOUNT)?;
            if let Self::One(first) = core::mem::replace(self, Self::None) {
                warn_on_once!(list.push_within_capacity(first).is_err());
            }
            *self = Self::Many(list);
        }
        match self {
            Self::Many(list) => {
                list.reserve(more, GFP_KERNEL_ACCOUNT)?;
                Ok(list)
            }
            _ => {
                warn_on_once!(true);
                Err(EINVAL)
            }
        }
    }

    /// Frees memory that the list does not need. Returns `ENOMEM` and leaves the list as it was if
    /// there is no memory for a smaller one.
    pub(crate) fn fit(&mut self) -> Result {
        if let Self::Many(list) = self {
            match list.len() {
                1 => {
                    if let Some(extent) = list.pop() {
                        *self = Self::One(extent);
                    }
                }
                _ => vec::fit(list)?,
            }
        }
        Ok(())
    }

    /// Takes the extents out of the list.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::None)
    }

    /// Divides the list before page `at`, counted from its first page, and returns the second part.
    /// Returns `ENOMEM`, and `EINVAL` with a warning if there are no pages before or from `at` on;
    /// the list is then as it was.
    pub(crate) fn split_off(&mut self, at: u64) -> Result<Self> {
        let mut before = 0;
        let whole = self
            .iter()
            .take_while(|extent| {
                let fits = before + extent.npages() <= at;
                if fits {
                    before += extent.npages();
                }
                fits
            })
            .count();
        let inside = at - before;
        if warn_on_once!(at == 0 || whole == self.len()) {
            return Err(EINVAL);
        }
        let first_len = whole + usize::from(inside != 0);
        let mut first = Self::with_room(first_len, GFP_KERNEL_ACCOUNT)?;
        let mut second = Self::with_room(self.len() - whole, GFP_KERNEL_ACCOUNT)?;

        // There is room for all, so nothing fails from here on.
        let mut extents = self.take().into_iter();
        for extent in extents.by_ref().take(whole) {
            first.push_within_room(extent);
        }
        if let Some(extent) = extents.next() {
            match extent.split(inside) {
                Ok((head, tail)) => {
                    first.push_within_room(head);
                    second.push_within_room(tail);
                }
                // `inside` is less than the extent, so it is 0.
                Err(extent) => second.push_within_room(extent),
            }
        }
        for extent in extents {
            second.push_within_room(extent);
        }
        *self = first;
        Ok(second)
    }

    /// Adds the pages of `next`, which follow those of the list. Returns `next` if the list would
    /// be too long, or if there is no memory for it, for which nobody waits.
    pub(crate) fn join(&mut self, mut next: Self) -> Result<(), Self> {
        // A single extent that continues the last one needs no memory.
        if let Self::One(extent) = next {
            let Some(last) = self.last_mut() else {
                *self = Self::One(extent);
                return Ok(());
            };
            match last.merge(extent) {
                Ok(()) => return Ok(()),
                Err(extent) => next = Self::One(extent),
            }
        }
        let len = self.len() + next.len();
        if len > MAX_EXTENTS {
            return Err(next);
        }
        let Ok(mut both) = Self::with_room(len, no_wait()) else {
            return Err(next);
        };
        for extent in Iterator::chain(self.take().into_iter(), next) {
            both.push_or_merge(extent);
        }
        // Two lists of which each continues the other have become one extent.
        if let Self::Many(list) = &mut both {
            if list.len() == 1 {
                if let Some(extent) = list.pop() {
                    both = Self::One(extent);
                }
            }
        }
        *self = both;
        Ok(())
    }
}

/// Flags of an allocation that may fail without harm: it does not wait, and is charged like others.
fn no_wait() -> Flags {
    GFP_NOWAIT | __GFP_NOWARN | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}

impl Deref for Extents {
    type Target = [Extent];

    fn deref(&self) -> &[Extent] {
        match self {
            Self::None => &[],
            Self::One(extent) => core::slice::from_ref(extent),
            Self::Many(list) => list,
        }
    }
}

impl DerefMut for Extents {
    fn deref_mut(&mut self) -> &mut [Extent] {
        match self {
            Self::None => &mut [],
            Self::One(extent) => core::slice::from_mut(extent),
            Self::Many(list) => list,
        }
    }
}

impl IntoIterator for Extents {
    type Item = Extent;
    type IntoIter = core::iter::Chain<
        core::option::IntoIter<Extent>,
        core::iter::Flatten<core::option::IntoIter<KVec<Extent>>>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(extent) => (Some(extent), None),
            Self::Many(list) => (None, Some(list)),
        };
        Iterator::chain(one.into_iter(), many.into_iter().flatten())
    }
}
