// SPDX-License-Identifier: GPL-2.0-only

//! What an SMMU implements, as far as the validity of a guest's structures and commands depends on
//! it.

/// Features of an SMMU. For several SMMUs, those that all of them have. Sections are those of Arm
/// IHI 0070.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// `SMMU_IDR0.ATS` (6.3.1): CMD_ATC_INV is a legal command.
    pub(crate) ats: bool,
    /// `SMMU_IDR0.CD2L` (6.3.1): tables of context descriptors may have two levels.
    pub(crate) two_level_cds: bool,
    /// `SMMU_IDR0.STALL_MODEL` (6.3.1) is 0b00: software may choose whether faults stall.
    pub(crate) stall_configurable: bool,
    /// `SMMU_IDR3.RIL` (6.3.4): range invalidation and level hints.
    pub(crate) range_invalidation: bool,
    /// `SMMU_IDR5.DS` (6.3.6): 52-bit addresses with 4 KiB and 16 KiB granules.
    pub(crate) ds: bool,
    /// The width of an ASID in bits, 8 or 16: `SMMU_IDR0.ASID16` (6.3.1).
    pub(crate) asid_bits: u32,
    /// The width of a SubstreamID in bits, 0 where there are none: `SMMU_IDR1.SSIDSIZE` (6.3.2).
    pub(crate) ssid_bits: u32,
    /// Invalidations take effect only when they are issued twice, which a guest's driver does by
    /// itself (`IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI`).
    pub(crate) repeat_erratum: bool,
}

impl Features {
    /// What is valid on both SMMUs.
    pub(crate) fn common(&self, other: &Self) -> Self {
        Self {
            ats: self.ats && other.ats,
            two_level_cds: self.two_level_cds && other.two_level_cds,
            stall_configurable: self.stall_configurable && other.stall_configurable,
            range_invalidation: self.range_invalidation && other.range_invalidation,
            ds: self.ds && other.ds,
            asid_bits: self.asid_bits.min(other.asid_bits),
            ssid_bits: self.ssid_bits.min(other.ssid_bits),
            repeat_erratum: self.repeat_erratum || other.repeat_erratum,
        }
    }
}
