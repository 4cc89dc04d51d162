// SPDX-License-Identifier: GPL-2.0-only

//! Mapping memory, and mapping again what is mapped elsewhere.
//!
//! A mapping's addresses are taken first, by areas that nobody else may touch; then its memory is
//! pinned and given to the domains; last the areas become ready. Each step is a guard that takes
//! itself back when dropped.

use crate::ioas::area::Area;
use crate::ioas::area::Slice;
use crate::ioas::area::State;
use crate::ioas::domains::Domains;
use crate::ioas::interval::Vacancy;
use crate::ioas::Ioas;
use crate::kapi::domain::Prot;
use crate::kapi::units::align_up;
use crate::kapi::units::page_offset;
use crate::kapi::units::IovaRange;
use crate::kapi::units::PAGE_SIZE;
use kernel::prelude::*;

/// Where to put a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Placement {
    /// At this address.
    Fixed(u64),
    /// At an address of the kernel's choice.
    Anywhere,
}

/// Addresses taken by areas that are not ready. Dropping it frees them.
struct Taken<'a> {
    ioas: &'a Ioas,
    areas: KVec<(IovaRange, Slice)>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut space = self.ioas.space.write();
        for (range, _) in &self.areas {
            // Our own copy of the slice keeps the memory from going under the lock.
            drop(space.areas.remove(range.start()));
        }
    }
}

/// Areas that every domain has. Dropping it takes them away again.
struct Filled<'a> {
    domains: &'a Domains,
    areas: &'a [(IovaRange, Slice)],
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        let areas = self.areas.iter().map(|(range, slice)| (*range, slice));
        self.domains.unfill(areas);
    }
}

impl Ioas {
    /// Maps slices of memory one behind the other, `length` bytes in all. `commit` is told the
    /// address of the first byte and has the last word; the mapping is there once it says yes. On
    /// failure nothing has changed.
    ///
    /// `EINVAL` for misalignment or reserved addresses, `EEXIST` where something is mapped already,
    /// `ENOSPC` where no address fits, `EOVERFLOW` past the end of the address space, `EPERM` where
    /// devices shall write to memory that is mapped for reading, `ENOMEM`, `EFAULT`.
    pub(crate) fn map(
        &self,
        slices: &[Slice],
        length: u64,
        placement: Placement,
        prot: Prot,
        commit: impl FnOnce(u64) -> Result,
    ) -> Result {
        let mut vacancies = KVec::with_capacity(slices.len(), GFP_KERNEL_ACCOUNT)?;
        for _ in slices {
            vacancies.push(Vacancy::new()?, GFP_KERNEL_ACCOUNT)?;
        }
        let mut taken = Taken {
            ioas: self,
            areas: KVec::with_capacity(slices.len(), GFP_KERNEL_ACCOUNT)?,
        };
        let iova = self.take(slices, vacancies, length, placement, prot, &mut taken)?;

        let domains = self.domains.read();
        let mut filled = Filled {
            domains: &domains,
            areas: &[],
        };
        for (done, (range, slice)) in taken.areas.iter().enumerate() {
            domains.fill(*range, slice, prot)?;
            filled.areas = taken.areas.get(..=done).unwrap_or(&[]);
        }
        commit(iova)?;

        // While `domains` is held no domain can come that would miss these areas.
        let mut space = self.space.write();
        for (range, _) in &taken.areas {
            if let Some(area) = space.areas.get_mut(range.start()) {
                area.state = State::Ready;
            }
        }
        drop(space);
        filled.areas = &[];
        drop(filled);
        taken.areas.clear();
        Ok(())
    }

    /// Takes the addresses for `slices` and returns the first. What was taken is in `taken`, also on
    /// failure.
    fn take(
        &self,
        slices: &[Slice],
        vacancies: KVec<Vacancy<Area>>,
        length: u64,
        placement: Placement,
        prot: Prot,
        taken: &mut Taken<'_>,
    ) -> Result<u64> {
        let mut space = self.space.write();
        let mask = space.alignment - 1;

        if length == 0 || length & mask != 0 {
            return Err(EINVAL);
        }
        let iova = match placement {
            Placement::Anywhere => {
                let origin = slices.first().ok_or(EINVAL)?.origin();
                space.choose(origin, length)?
            }
            Placement::Fixed(iova) => {
                if iova & mask != 0 {
                    return Err(EINVAL);
                }
                space.check(IovaRange::from_len(iova, length)?)?;
                iova
            }
        };
        let mut start = iova;
        for (slice, vacancy) in slices.iter().zip(vacancies) {
            if prot.write && !slice.pages.writable() {
                return Err(EPERM);
            }
            if page_offset(slice.start) & mask != 0 {
                return Err(EINVAL);
            }
            // Rounded up to pages the slice must still be one.
            let end = slice.start.checked_add(slice.length);
            end.and_then(|end| align_up(end, PAGE_SIZE))
                .ok_or(EOVERFLOW)?;
            let range = IovaRange::from_len(start, slice.length)?;
            let area = Area::building(slice.clone(), prot);
            space
                .areas
                .insert(vacancy, range, area)
                .map_err(|_| EEXIST)?;
            // There is room for one entry a slice.
            drop(taken.areas.push_within_capacity((range, slice.clone())));
            start = start.wrapping_add(slice.length);
        }
        Ok(iova)
    }

    /// The memory that is mapped at `range`, as slices in order. `ENOENT` where part of it is not
    /// mapped, `ENOMEM`.
    pub(crate) fn slices(&self, range: IovaRange) -> Result<KVec<Slice>> {
        let mut slices = KVec::new();
        let mut next = Some(range.start());

        let space = self.space.read();
        for (mapped, area) in space.areas.iter_in(range) {
            let start = mapped.start().max(range.start());
            if area.state != State::Ready || next != Some(start) {
                return Err(ENOENT);
            }
            let last = mapped.last().min(range.last());
            slices.push(
                Slice {
                    pages: area.slice.pages.clone(),
                    start: area.slice.start + (start - mapped.start()),
                    length: last - start + 1,
                },
                GFP_KERNEL_ACCOUNT,
            )?;
            next = last.checked_add(1);
        }
        if next == range.last().checked_add(1) {
            Ok(slices)
        } else {
            Err(ENOENT)
        }
    }
}
