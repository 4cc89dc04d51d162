// SPDX-License-Identifier: GPL-2.0-only

//! The first stage of a guest: `struct iommu_hwpt_vtd_s1`, and the fields of a scalable-mode PASID
//! table entry that are made of it (9.6).

use kernel::prelude::*;

use crate::drivers::vtd::hardware::Hardware;

/// `IOMMU_VTD_S1_SRE`: supervisor requests are allowed.
pub(crate) const SRE: u64 = 1 << 0;
/// `IOMMU_VTD_S1_EAFE`: the extended accessed flag is set.
pub(crate) const EAFE: u64 = 1 << 1;
/// `IOMMU_VTD_S1_WPE`: supervisor requests obey write protection.
pub(crate) const WPE: u64 = 1 << 2;

/// The 64-bit words of a PASID table entry.
pub(crate) type Entry = [u64; 8];

/// Address bits below this one are an offset into a page.
const PAGE_SHIFT: u32 = 12;

/// The fields of word 2 of an entry (bits 191:128, 9.6). The first-stage page-table pointer is the
/// word's bits 63:12.
const ENTRY_SRE: u64 = 1 << 0;
/// First-stage paging mode, 0 for four levels.
const ENTRY_FIVE_LEVELS: u64 = 1 << 2;
const ENTRY_WPE: u64 = 1 << 4;
const ENTRY_EAFE: u64 = 1 << 7;

/// A first stage that the IOMMU can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstStage {
    word: u64,
}

impl FirstStage {
    /// Checks the members of `struct iommu_hwpt_vtd_s1` against the IOMMU. `last` is the last address
    /// that the second stage can translate, where the tables are.
    ///
    /// Returns `EOPNOTSUPP` for unknown flags and for reserved bits, `EINVAL` for an address that is
    /// not a page's or is above `last`, an address width other than 48 or 57 bits, and for a width or
    /// flag that needs what the IOMMU lacks.
    pub(crate) fn new(
        flags: u64,
        pointer: u64,
        address_width: u32,
        reserved: u32,
        last: u64,
        hardware: &Hardware,
    ) -> Result<Self> {
        if flags & !(SRE | EAFE | WPE) != 0 || reserved != 0 {
            return Err(EOPNOTSUPP);
        }
        if pointer & ((1 << PAGE_SHIFT) - 1) != 0 || pointer > last {
            return Err(EINVAL);
        }
        let mut word = pointer;
        match address_width {
            48 => {}
            57 => word |= ENTRY_FIVE_LEVELS,
            _ => return Err(EINVAL),
        }
        if flags & SRE != 0 {
            word |= ENTRY_SRE;
            // Without supervisor requests there is nothing that it would protect from.
            if flags & WPE != 0 {
                word |= ENTRY_WPE;
            }
        }
        if flags & EAFE != 0 {
            word |= ENTRY_EAFE;
        }
        let stage = Self { word };
        if stage.suits(hardware) {
            Ok(stage)
        } else {
            Err(EINVAL)
        }
    }

    /// Returns whether an IOMMU implements what this first stage needs.
    pub(crate) fn suits(&self, hardware: &Hardware) -> bool {
        let needs = |field| self.word & field != 0;
        (hardware.five_levels || !needs(ENTRY_FIVE_LEVELS))
            && (hardware.supervisor || !needs(ENTRY_SRE))
            && (hardware.extended_accessed || !needs(ENTRY_EAFE))
    }

    /// Sets the fields of the first stage in an entry in which they are zero.
    pub(crate) fn fill(&self, entry: &mut Entry) {
        entry[2] |= self.word;
    }
}
