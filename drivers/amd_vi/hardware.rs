// SPDX-License-Identifier: GPL-2.0-only

//! What the IOMMUs of a system implement, as far as the validity of a guest's structures and
//! commands depends on it.

use crate::drivers::field::Field;

/// Bits of the Extended Feature Register (MMIO offset 0030h).
const PPR_SUP: Field = Field::bit(1);
const GT_SUP: Field = Field::bit(4);
const GATS: Field = Field::new(13, 12);
const GLX_SUP: Field = Field::new(15, 14);
const PAS_MAX: Field = Field::new(36, 32);
const GIO_SUP: Field = Field::bit(48);
const EPH_SUP: Field = Field::bit(50);

/// The value of `GATS` for guest tables of five levels. 0 is four levels, others are reserved.
const GATS_5_LEVELS: u64 = 1;
/// The largest value of `GLX` that is not reserved.
const GLX_MAX: u64 = 2;
/// Bits that a PASID can have at most, in PCIe and in the fields of commands.
const PASID_MAX_BITS: u64 = 20;

/// The features of all IOMMUs of the system, which the driver uses alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hardware {
    /// `PPRSup`: DTE.PPR is not reserved.
    pub(crate) page_requests: bool,
    /// `EPHSup`: DTE.GPRP is not reserved.
    pub(crate) enhanced_page_requests: bool,
    /// `GTSup`: a DTE may name a GCR3 table.
    pub(crate) guest_translation: bool,
    /// `GIOSup`: DTE.GIOV is not reserved.
    pub(crate) guest_io: bool,
    /// `GATS`: a guest's page tables may have five levels.
    pub(crate) five_levels: bool,
    /// `GLXSup`: the largest value of DTE.GLX, which is the number of levels of a GCR3 table
    /// less 1.
    pub(crate) max_glx: u64,
    /// `PASmax` plus 1: the width of a PASID in bits.
    pub(crate) pasid_bits: u64,
}

impl Hardware {
    /// Returns what the Extended Feature Register says.
    pub(crate) fn new(efr: u64) -> Self {
        Self {
            page_requests: PPR_SUP.is_set(efr),
            enhanced_page_requests: EPH_SUP.is_set(efr),
            guest_translation: GT_SUP.is_set(efr),
            guest_io: GIO_SUP.is_set(efr),
            five_levels: GATS.of(efr) == GATS_5_LEVELS,
            max_glx: GLX_SUP.of(efr).min(GLX_MAX),
            pasid_bits: (PAS_MAX.of(efr) + 1).min(PASID_MAX_BITS),
        }
    }
}
