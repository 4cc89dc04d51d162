// SPDX-License-Identifier: GPL-2.0-only

//! What an IOMMU implements, as far as the first stage of a guest and its invalidations depend on
//! it.

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
    /// The largest address mask of an invalidation, in bits (`CAP_REG.MAMV`, 11.4.2): it covers
    /// `1 << max_mask` pages. `None` if the IOMMU cannot invalidate pages (`CAP_REG.PSI`).
    pub(crate) max_mask: Option<u32>,
}

impl Hardware {
    /// Decodes the registers `CAP_REG` and `ECAP_REG`.
    pub(crate) const fn new(cap: u64, ecap: u64) -> Self {
        Self {
            five_levels: bit(cap, 60),
            supervisor: bit(ecap, 31),
            extended_accessed: bit(ecap, 34),
            max_mask: if bit(cap, 39) {
                Some((cap >> 48) as u32 & 0x3f)
            } else {
                None
            },
        }
    }

    /// Returns whether this IOMMU takes each invalidation that is made for `other`.
    pub(crate) fn takes_invalidations_of(&self, other: &Self) -> bool {
        self.max_mask >= other.max_mask
    }
}

const fn bit(word: u64, place: u32) -> bool {
    word >> place & 1 != 0
}
