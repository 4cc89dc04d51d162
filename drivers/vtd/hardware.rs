// SPDX-License-Identifier: GPL-2.0-only

//! What an IOMMU implements, as far as the first stage of a guest depends on it.
//!
//! Its invalidations do not: each IOMMU that has scalable mode takes all of them. `CAP_REG.PSI` and
//! `CAP_REG.MAMV` are about invalidations of the second stage (11.4.2).

/// Abilities of an IOMMU, from its capability registers. Sections are those of the Intel
/// Virtualization Technology for Directed I/O Architecture Specification, revision 5.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hardware {
    /// `CAP_REG.FS5LP` (11.4.2): first-stage tables may have five levels.
    pub(crate) five_levels: bool,
    /// `ECAP_REG.SRS` (11.4.3): requests with supervisor privilege.
    pub(crate) supervisor: bool,
    /// `ECAP_REG.EAFS` (11.4.3): the extended accessed flag.
    pub(crate) extended_accessed: bool,
}

impl Hardware {
    /// Decodes the registers `CAP_REG` and `ECAP_REG`.
    pub(crate) const fn new(cap: u64, ecap: u64) -> Self {
        Self {
            five_levels: bit(cap, 60),
            supervisor: bit(ecap, 31),
            extended_accessed: bit(ecap, 34),
        }
    }
}

const fn bit(word: u64, place: u32) -> bool {
    word >> place & 1 != 0
}
