// SPDX-License-Identifier: GPL-2.0-only

//! Device table entries (DTEs): what a guest may ask for in its own, and the entry that the IOMMU is
//! given.
//!
//! A guest's entry is validated once, when a nested HWPT is made of it. The IOMMU's entry is made of
//! it for each device at attach, and again when the root of the second stage changes, on top of the
//! entry for the second stage alone, which the driver makes: the second stage (Mode, root, HAD),
//! the domain ID, the state of ATS and interrupt remapping are never the guest's.
//!
//! All fields are those of the AMD I/O Virtualization Technology Specification, 48882, 2.2.2.1
//! "Device Table Entry Format". The specification counts bits from 0 to 255; here they are counted
//! within each 64-bit word.

use kernel::prelude::*;

use crate::drivers::{
    amd_vi::hardware::Hardware,
    field::Field, //
};

/// An entry of a device table.
pub(crate) type Dte = [u64; 4];

/// Word 0. Without it the words 0 and 1 are ignored and DMA is not translated.
const V: Field = Field::bit(0);
/// Word 0. Without it no DMA passes.
const TV: Field = Field::bit(1);
/// Word 0. How the second stage is walked, and where it is.
const MODE: Field = Field::new(11, 9);
const HOST_ROOT: Field = Field::new(51, 12);
/// Word 0. Peripheral page requests: whether they are logged, and whether a response has a PASID.
/// TODO[NATIVE]: page requests.
const PPR: Field = Field::bit(52);
const GPRP: Field = Field::bit(53);
/// Word 0. Whether requests without a PASID are translated as PASID 0.
const GIOV: Field = Field::bit(54);
/// Word 0. Whether there is a table of the guest (GCR3 table), and its levels less 1.
const GV: Field = Field::bit(55);
const GLX: Field = Field::new(57, 56);
/// Words 0, 1, 1. Where the GCR3 table is, a guest-physical address: bits 14:12, 30:15 and 51:31.
const GCR3_LOW: Field = Field::new(60, 58);
const GCR3_MIDDLE: Field = Field::new(31, 16);
const GCR3_HIGH: Field = Field::new(63, 43);
/// Word 0. Permissions.
const IR: Field = Field::bit(61);
const IW: Field = Field::bit(62);

/// Word 1. The tag of what is cached.
const DOMAIN_ID: Field = Field::new(15, 0);
/// Word 1. Whether the device may use ATS.
const I: Field = Field::bit(32);
/// Word 1. Suppress events of page faults, all but the first (SE) or all (SA).
const SE: Field = Field::bit(33);
const SA: Field = Field::bit(34);
/// Word 1. A hint for what devices cache. It has no effect here.
const CACHE: Field = Field::bit(37);

/// Word 2. Interrupt remapping, which the VMM does for the guest: IV, IntTabLen, IG and root; the
/// bits from INIT to NMI; IntCtl and LINT.
const INTERRUPTS: u64 =
    Field::new(51, 0).mask() | Field::new(58, 56).mask() | Field::new(63, 60).mask();
/// Word 2. Levels of the guest's page tables: [`FOUR_LEVELS`] or [`FIVE_LEVELS`].
const GUEST_PAGING_MODE: Field = Field::new(55, 54);

const FOUR_LEVELS: u64 = 0;
const FIVE_LEVELS: u64 = 1;

/// The value of `GLX` that is reserved.
const GLX_RESERVED: u64 = 3;

/// What a guest may set in a valid entry, as far as the IOMMU has it. Not: HAD, IoCtl, SD, EX,
/// SysMgt, SATS, HPTMode, AttrV, Mode0FC and SnoopAttribute, which belong to features that a VMM
/// must not offer (`struct iommu_hw_info_amd`), or reach beyond the guest.
const GUEST: Dte = [
    V.mask()
        | TV.mask()
        | MODE.mask()
        | HOST_ROOT.mask()
        | PPR.mask()
        | GPRP.mask()
        | GIOV.mask()
        | GV.mask()
        | GLX.mask()
        | GCR3_LOW.mask()
        | IR.mask()
        | IW.mask(),
    DOMAIN_ID.mask()
        | GCR3_MIDDLE.mask()
        | I.mask()
        | SE.mask()
        | SA.mask()
        | CACHE.mask()
        | GCR3_HIGH.mask(),
    INTERRUPTS | GUEST_PAGING_MODE.mask(),
    0,
];

/// The fields of a guest's table, which the IOMMU's entry has as the guest's.
const FIRST_STAGE: [u64; 3] = [
    GIOV.mask() | GV.mask() | GLX.mask() | GCR3_LOW.mask(),
    GCR3_MIDDLE.mask() | GCR3_HIGH.mask(),
    GUEST_PAGING_MODE.mask(),
];

/// Which stages translate for a guest's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stages {
    /// No DMA passes: V = 1, TV = 0.
    None,
    /// The second stage alone translates: V = 0, or V = 1, TV = 1, GV = 0.
    Second,
    /// Both translate: V = 1, TV = 1, GV = 1. Has the fields of [`FIRST_STAGE`].
    Both([u64; 3]),
}

/// What a guest's entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestDte {
    is_valid: bool,
    domain_id: u16,
    stages: Stages,
    /// IR and IW, as far as the guest permits DMA.
    permissions: u64,
    /// SE and SA.
    suppressed: u64,
    /// Whether the guest lets the device use ATS, and will invalidate what the device caches.
    ats: bool,
}

impl GuestDte {
    /// Validates a guest's entry. Returns `EINVAL` for bits that the guest may not set, for a second
    /// stage of the guest's own, for a GCR3 table at address 0 and for reserved values of `GLX` and
    /// `GuestPagingMode`, `EOPNOTSUPP` for more levels than the IOMMU supports.
    pub(crate) fn new(dte: Dte, hardware: &Hardware) -> Result<Self> {
        let [word0, word1, word2, _] = dte;
        if !V.is_set(word0) {
            return Ok(Self {
                is_valid: false,
                domain_id: 0,
                stages: Stages::Second,
                permissions: IR.mask() | IW.mask(),
                suppressed: 0,
                ats: true,
            });
        }
        let allowed = allowed(hardware);
        if dte
            .iter()
            .zip(allowed)
            .any(|(word, allowed)| word & !allowed != 0)
        {
            return Err(EINVAL);
        }
        let stages = if !TV.is_set(word0) {
            Stages::None
        } else if MODE.is_set(word0) || HOST_ROOT.is_set(word0) {
            return Err(EINVAL);
        } else if !GV.is_set(word0) {
            Stages::Second
        } else {
            check_first_stage(dte, hardware)?;
            let [first, second, third] = FIRST_STAGE;
            Stages::Both([word0 & first, word1 & second, word2 & third])
        };
        Ok(Self {
            is_valid: true,
            // CAST: The field has 16 bits.
            domain_id: DOMAIN_ID.of(word1) as u16,
            stages,
            permissions: word0 & (IR.mask() | IW.mask()),
            suppressed: word1 & (SE.mask() | SA.mask()),
            ats: I.is_set(word1),
        })
    }

    /// Returns the guest's domain ID, which tags what the IOMMU caches of the entry's translations.
    pub(crate) fn domain_id(&self) -> u16 {
        self.domain_id
    }

    /// Returns whether devices may use ATS. The driver invalidates what devices cache of the second
    /// stage; what they cache of both stages, the guest must, and does so only if it has enabled ATS.
    pub(crate) fn permits_ats(&self) -> bool {
        self.ats || !matches!(self.stages, Stages::Both(_))
    }

    /// Returns whether the IOMMU of the guest would report anything about a device with this entry.
    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid
    }

    /// Returns whether a write or a read of a device, or if it is not known an access of either kind,
    /// may fault by what the guest has set up. Where the second stage alone translates, the guest has
    /// permissions only; the rest is the host's.
    pub(crate) fn may_fault(&self, is_write: Option<bool>) -> bool {
        let needed = match is_write {
            Some(true) => IW.mask(),
            Some(false) => IR.mask(),
            None => IR.mask() | IW.mask(),
        };
        match self.stages {
            Stages::None | Stages::Both(_) => true,
            Stages::Second => self.permissions & needed != needed,
        }
    }

    /// Makes the entry for a device. `dte` is the valid entry under which the second stage alone
    /// translates for this device, and becomes the entry to install.
    pub(crate) fn fill(&self, dte: &mut Dte) {
        let [word0, word1, word2, _] = dte;
        let refused = (IR.mask() | IW.mask()) & !self.permissions;
        *word0 &= !refused;
        *word1 |= self.suppressed;
        match self.stages {
            Stages::None => *word0 &= !(TV.mask() | IR.mask() | IW.mask()),
            Stages::Second => {}
            Stages::Both([first, second, third]) => {
                let [mask0, mask1, mask2] = FIRST_STAGE;
                *word0 = *word0 & !mask0 | first;
                *word1 = *word1 & !mask1 | second;
                *word2 = *word2 & !mask2 | third;
            }
        }
        if !self.permits_ats() {
            *word1 &= !I.mask();
        }
    }
}

/// Returns the bits that a guest may set where the IOMMU has these features.
fn allowed(hardware: &Hardware) -> Dte {
    let [mut word0, word1, word2, word3] = GUEST;
    if !hardware.page_requests {
        word0 &= !(PPR.mask() | GPRP.mask());
    }
    if !hardware.enhanced_page_requests {
        word0 &= !GPRP.mask();
    }
    if !hardware.guest_io {
        word0 &= !GIOV.mask();
    }
    if !hardware.guest_translation {
        word0 &= !GV.mask();
    }
    [word0, word1, word2, word3]
}

/// Looks for values of the fields of a guest's table that are reserved or not supported.
fn check_first_stage([word0, word1, word2, _]: Dte, hardware: &Hardware) -> Result {
    let is_at_0 = !GCR3_LOW.is_set(word0) && !GCR3_MIDDLE.is_set(word1) && !GCR3_HIGH.is_set(word1);
    let glx = GLX.of(word0);
    if is_at_0 || glx == GLX_RESERVED {
        return Err(EINVAL);
    }
    if glx > hardware.max_glx {
        return Err(EOPNOTSUPP);
    }
    match GUEST_PAGING_MODE.of(word2) {
        FOUR_LEVELS => Ok(()),
        FIVE_LEVELS if hardware.five_levels => Ok(()),
        FIVE_LEVELS => Err(EOPNOTSUPP),
        _ => Err(EINVAL),
    }
}
