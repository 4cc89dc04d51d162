// SPDX-License-Identifier: GPL-2.0-only

//! Stream table entries: what a guest may ask for in its own, and the entry that the SMMU is given.
//!
//! A guest's entry (vSTE) is validated once, when a nested HWPT is made of it. The SMMU's entry is
//! made of it for each device at attach, on top of the entry for the second stage alone, which the
//! driver makes: VMID, stage-2 table, S2FWB and the state of ATS are never the guest's.
//!
//! All fields are those of Arm IHI 0070, 5.2 "STE, Stream Table Entry", which has a part for each
//! field, under its name; the rules say by which part. Words are in CPU byte order.

use kernel::prelude::*;

use crate::drivers::{
    field::Field,
    smmu_v3::features::Features, //
};

/// 64-bit words of an entry.
pub(crate) const WORDS: usize = 8;

/// An entry of the SMMU's stream table.
pub(crate) type Ste = [u64; WORDS];

/// Word 0, bit 0. Without it the entry is invalid and its other fields are ignored.
const V: Field = Field::bit(0);
/// Word 0, bits 3:1. Which stages translate.
const CONFIG: Field = Field::new(3, 1);
/// Word 0, bits 5:4. How the table of context descriptors (CDs) is laid out.
const S1_FMT: Field = Field::new(5, 4);
/// Word 0, bits 51:6. Where the table of CDs is, an IPA. The specification gives the field bits up
/// to 55; bits above 51 are reserved before SMMUv3.4 and are not part of the user API.
const S1_CONTEXT_PTR: Field = Field::new(51, 6);
/// Word 0, bits 63:59. log2 of the number of CDs.
const S1_CD_MAX: Field = Field::new(63, 59);

/// Word 1, bits 1:0. What happens to transactions without a SubstreamID. Any value is legal: 0b11
/// is reserved and behaves as 0b00.
const S1_DSS: Field = Field::new(1, 0);
/// Word 1, bits 3:2, and 5:4. Cacheability of CDs. Any value is legal.
const S1_CIR: Field = Field::new(3, 2);
const S1_COR: Field = Field::new(5, 4);
/// Word 1, bits 7:6. Shareability of CDs. Any value is legal: 0b01 is reserved and behaves as 0b00.
const S1_CSH: Field = Field::new(7, 6);
/// Word 1, bit 19. The SMMU may merge similar events. Always set for a guest's first stage, so that
/// a device cannot fill the event queue that all devices share as fast.
const MEV: Field = Field::bit(19);
/// Word 1, bit 27. CDs must not ask for stalls (3.12.2). Always set for a device that must not
/// stall: a stalled transaction of one would never end, and would take up room of all devices.
const S1_STALLD: Field = Field::bit(27);
/// Word 1, bits 29:28. Whether the device may use ATS.
const EATS: Field = Field::new(29, 28);
// STRW (word 1, bits 31:30) is ignored where the second stage translates, and is not the guest's.

/// Word 2, bit 57. Faults of the second stage stall. The driver sets it for the devices that may
/// stall.
const S2S: Field = Field::bit(57);

/// Values of `CONFIG` for the SMMU (5.2, Config).
const CONFIG_ABORT: u64 = 0b000;
const CONFIG_NESTED: u64 = 0b111;
/// Values of `CONFIG` for a guest, which has the first stage only. 0b0xx other than 0 are reserved;
/// 0b11x are ILLEGAL on an SMMU without a second stage.
const GUEST_ABORT: u64 = 0b000;
const GUEST_BYPASS: u64 = 0b100;
const GUEST_TRANSLATE: u64 = 0b101;

/// Values of `EATS` (5.2, EATS; 3.9.1). 0b10 is ILLEGAL unless both stages translate; 0b11 is reserved or needs a
/// device permission table, which the guest's SMMU has not.
const EATS_NONE: u64 = 0b00;
const EATS_FULL: u64 = 0b01;

/// The fields of word 0 that a guest may set (`struct iommu_hwpt_arm_smmuv3`).
const GUEST_WORD_0: u64 =
    V.mask() | CONFIG.mask() | S1_FMT.mask() | S1_CONTEXT_PTR.mask() | S1_CD_MAX.mask();
/// The fields of word 1 that a guest's first stage determines.
const STAGE_1_WORD_1: u64 =
    S1_DSS.mask() | S1_CIR.mask() | S1_COR.mask() | S1_CSH.mask() | S1_STALLD.mask();
/// The fields of word 1 that a guest may set.
const GUEST_WORD_1: u64 = STAGE_1_WORD_1 | EATS.mask();

/// What a guest's entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vste {
    /// No transaction passes, and the guest is to be told: V is 0.
    Invalid,
    /// No transaction passes.
    Abort,
    /// The second stage alone translates.
    Bypass,
    /// Both stages translate.
    Translate(Stage1),
}

/// The guest's part of an entry with both stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage1 {
    /// The guest's fields of words 0 and 1, without V, CONFIG and EATS.
    words: [u64; 2],
    /// Whether the guest lets the device use ATS, and will invalidate what the device caches.
    ats: bool,
}

impl Vste {
    /// Validates a guest's entry. `EIO` for fields that the guest may not set and for values that
    /// the specification calls ILLEGAL or that are reserved in `CONFIG` and `EATS`.
    pub(crate) fn from_guest(words: [u64; 2], features: &Features) -> Result<Self> {
        let [word0, word1] = words;
        if !V.is_set(word0) {
            return Ok(Self::Invalid);
        }
        if word0 & !GUEST_WORD_0 != 0 || word1 & !GUEST_WORD_1 != 0 {
            return Err(EIO);
        }
        let ats = match EATS.of(word1) {
            EATS_NONE => false,
            EATS_FULL => true,
            _ => return Err(EIO),
        };
        match CONFIG.of(word0) {
            GUEST_ABORT => Ok(Self::Abort),
            // S1* are ignored, and EATS is taken to be 0b00.
            GUEST_BYPASS => Ok(Self::Bypass),
            GUEST_TRANSLATE => {
                check_stage_1(words, features)?;
                Ok(Self::Translate(Stage1 {
                    words: [
                        word0 & GUEST_WORD_0 & !V.mask() & !CONFIG.mask(),
                        word1 & STAGE_1_WORD_1,
                    ],
                    ats,
                }))
            }
            _ => Err(EIO),
        }
    }

    /// Whether the guest lets devices use ATS, and invalidates what they cache. Without a first
    /// stage the driver does that by itself, and decides by itself.
    pub(crate) fn enables_ats(&self) -> bool {
        matches!(self, Self::Translate(stage1) if stage1.ats)
    }

    /// V and CONFIG of the guest's entry. By them the driver decides whether a device must have a
    /// vDEVICE before it is attached, which it must for a first stage, and whether ATS may be on.
    pub(crate) fn config_word(&self) -> u64 {
        let config = match self {
            Self::Invalid => return 0,
            Self::Abort => GUEST_ABORT,
            Self::Bypass => GUEST_BYPASS,
            Self::Translate(_) => GUEST_TRANSLATE,
        };
        CONFIG.put(V.mask(), config)
    }

    /// The entry on an SMMU with these features. Of several SMMUs that translate for the guest each
    /// has its own.
    pub(crate) fn on_smmu(self, features: &Features) -> SmmuVste {
        SmmuVste {
            vste: self,
            stall_configurable: features.stall_configurable,
        }
    }
}

/// A guest's entry on one SMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SmmuVste {
    vste: Vste,
    /// As in [`Features`].
    stall_configurable: bool,
}

impl SmmuVste {
    /// The SMMU's entry for a device. `stage_2` is the valid entry under which the second stage
    /// alone translates for this device, with EATS as the state of ATS will be, and S2S where the
    /// device may stall.
    pub(crate) fn encode(&self, stage_2: &Ste) -> Ste {
        match &self.vste {
            Vste::Invalid | Vste::Abort => {
                let mut abort = [0; WORDS];
                abort[0] = CONFIG.put(V.mask(), CONFIG_ABORT);
                abort
            }
            Vste::Bypass => *stage_2,
            Vste::Translate(stage1) => {
                let mut nested = *stage_2;
                nested[0] = CONFIG.put(V.mask() | stage1.words[0], CONFIG_NESTED);
                nested[1] = stage_2[1] & !STAGE_1_WORD_1 | stage1.words[1] | MEV.mask();
                // 5.2, S1STALLD: with the other stall models it is ILLEGAL.
                if self.stall_configurable && !S2S.is_set(stage_2[2]) {
                    nested[1] |= S1_STALLD.mask();
                }
                nested
            }
        }
    }
}

/// Looks for ILLEGAL values of the fields of a first stage that translates.
fn check_stage_1([word0, word1]: [u64; 2], features: &Features) -> Result {
    let cd_max = S1_CD_MAX.of(word0);
    // 5.2, S1CDMax and S1Fmt: without SubstreamIDs both are ignored.
    if features.ssid_bits != 0 && cd_max != 0 {
        // 5.2, S1CDMax: at most SMMU_IDR1.SSIDSIZE.
        if cd_max > u64::from(features.ssid_bits) {
            return Err(EIO);
        }
        // 5.2, S1Fmt: 0 without SMMU_IDR0.CD2L.
        if S1_FMT.is_set(word0) && !features.two_level_cds {
            return Err(EIO);
        }
    }
    // 5.2, S1STALLD: 0 unless SMMU_IDR0.STALL_MODEL is 0b00.
    if S1_STALLD.is_set(word1) && !features.stall_configurable {
        return Err(EIO);
    }
    Ok(())
}
