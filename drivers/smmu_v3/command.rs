// SPDX-License-Identifier: GPL-2.0-only

//! Invalidation commands: which ones a guest may issue, and which ones the SMMU gets for them.
//!
//! A guest's command names an address space of the guest or a device by the guest's id. The SMMU's
//! names our VMID or StreamID instead, and there is no other way to make one of a guest's command.
//! A bit that is reserved, or that belongs to a feature that the SMMU lacks, would stop the command
//! queue that all devices share, so no command with such a bit passes.
//!
//! Sections are those of Arm IHI 0070. Words are in CPU byte order.

use kernel::prelude::*;

use crate::drivers::{
    field::Field,
    smmu_v3::features::Features, //
};

/// A command as it stands in a queue.
pub(crate) type Words = [u64; 2];

/// Opcodes (4.1.1).
pub(crate) mod opcode {
    /// CMD_CFGI_CD (4.3.3)
    pub(crate) const CFGI_CD: u64 = 0x05;
    /// CMD_CFGI_CD_ALL (4.3.4)
    pub(crate) const CFGI_CD_ALL: u64 = 0x06;
    /// CMD_TLBI_NH_ALL (4.4.2.1)
    pub(crate) const TLBI_NH_ALL: u64 = 0x10;
    /// CMD_TLBI_NH_ASID (4.4.2.2)
    pub(crate) const TLBI_NH_ASID: u64 = 0x11;
    /// CMD_TLBI_NH_VA (4.4.2.4)
    pub(crate) const TLBI_NH_VA: u64 = 0x12;
    /// CMD_TLBI_NH_VAA (4.4.2.3)
    pub(crate) const TLBI_NH_VAA: u64 = 0x13;
    /// CMD_TLBI_NSNH_ALL (4.4.4)
    pub(crate) const TLBI_NSNH_ALL: u64 = 0x30;
    /// CMD_ATC_INV (4.5.1)
    pub(crate) const ATC_INV: u64 = 0x40;
}

/// Word 0 of every command.
pub(super) const OPCODE: Field = Field::new(7, 0);

/// Word 0 of CMD_TLBI_*: fields of range invalidation (4.4.1.1).
pub(super) const NUM: Field = Field::new(16, 12);
pub(super) const SCALE: Field = Field::new(25, 20);
/// The bit of `SCALE` that is reserved without `SMMU_IDR5.DS`.
const SCALE_HIGH: Field = Field::bit(25);
pub(super) const VMID: Field = Field::new(47, 32);
const ASID: Field = Field::new(63, 48);
/// Word 1 of CMD_TLBI_*.
const LEAF: Field = Field::bit(0);
pub(super) const TTL: Field = Field::new(9, 8);
pub(super) const TG: Field = Field::new(11, 10);
/// Word 1 of CMD_TLBI_* and CMD_ATC_INV: an address without its 12 low bits.
pub(super) const ADDRESS: Field = Field::new(63, 12);
/// The value of `TG` for 16 KiB granules.
const TG_16K: u64 = 0b10;

/// The bits of CMD_TLBI_NH_ALL that must be 0.
const NH_ALL_RESERVED: Words = [!(VMID.mask() | OPCODE.mask()), u64::MAX];

/// Word 0 of CMD_ATC_INV and CMD_CFGI_CD*.
const GLOBAL: Field = Field::bit(9);
const SSV: Field = Field::bit(11);
const SSID: Field = Field::new(31, 12);
const SID: Field = Field::new(63, 32);
/// Word 1 of CMD_ATC_INV: log2 of the number of 4 KiB pages.
const SIZE: Field = Field::new(5, 0);
/// The size of all addresses. Larger ones may be ILLEGAL.
const SIZE_ALL: u64 = 52;

/// What a command invalidates. Of two classes the smaller must be complete before the larger may
/// take effect, or the cache of the larger is filled again from the stale one of the smaller:
/// translations are cached by way of context descriptors, and devices cache the SMMU's translations
/// (4.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Cached context descriptors.
    Configuration,
    /// Cached translations.
    Translation,
    /// What devices have cached.
    DeviceCache,
}

impl Class {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The guest's address spaces, on every SMMU that translates for it.
    AddressSpaces(Tlbi),
    /// A device of the guest.
    Device(DeviceCommand),
}

/// A valid command of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    words: Words,
    class: Class,
}

/// A valid command of a guest about its address spaces. Its VMID is what the guest wrote, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tlbi(pub(super) Words);

/// A valid command of a guest about a device, which it names by the guest's StreamID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceCommand(Words);

/// A command for an SMMU, which cannot affect any but one guest's VMID or one of its devices.
///
/// It is CMD_TLBI_NH_*, CMD_CFGI_CD, CMD_CFGI_CD_ALL or CMD_ATC_INV: this file alone makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Physical(Words);

impl Physical {
    /// The command for another SMMU, which knows the guest by `vmid`. One about a device, which has
    /// a stream on one SMMU only, stays as it is.
    pub(crate) fn on_another(self, vmid: u16) -> Self {
        match OPCODE.of(self.0[0]) {
            opcode::CFGI_CD | opcode::CFGI_CD_ALL | opcode::ATC_INV => self,
            _ => Tlbi(self.0).on_vmid(vmid),
        }
    }
}

/// The command as it stands in a queue.
impl From<Physical> for Words {
    fn from(command: Physical) -> Self {
        command.0
    }
}

impl Tlbi {
    /// The command for an SMMU that knows the guest by `vmid`. It is CMD_TLBI_NH_* even if the words
    /// are not.
    #[inline(always)]
    pub(crate) fn on_vmid(&self, vmid: u16) -> Physical {
        let [word0, word1] = self.0;
        let word0 = word0 & !(OPCODE.mask() ^ NH_ANY) | opcode::TLBI_NH_ALL;
        Physical([VMID.put(word0, u64::from(vmid)), word1])
    }
}

impl DeviceCommand {
    /// The guest's StreamID of the device.
    #[inline(always)]
    pub(crate) fn vsid(&self) -> u32 {
        // CAST: The field has 32 bits.
        SID.of(self.0[0]) as u32
    }

    /// The command for an SMMU that knows the device by `sid`.
    #[inline(always)]
    pub(crate) fn on_stream(&self, sid: u32) -> Physical {
        let [word0, word1] = self.0;
        Physical([SID.put(word0, u64::from(sid)), word1])
    }
}

impl Command {
    /// What it invalidates.
    #[inline(always)]
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// What it is about.
    #[inline(always)]
    pub(crate) fn target(&self) -> Target {
        match self.class {
            Class::Translation => Target::AddressSpaces(Tlbi(self.words)),
            Class::Configuration | Class::DeviceCache => Target::Device(DeviceCommand(self.words)),
        }
    }
}

/// Which commands of a guest are valid on an SMMU. For each opcode, the bits that must be 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    features: Features,
    cd: Words,
    cd_all: Words,
    asid: Words,
    va: Words,
    vaa: Words,
    atc: Words,
    /// For the opcodes from [`FIRST_PLAIN`] on, the bits that must be 0 in a command that is valid
    /// and names no granule.
    plain: [Words; 3],
}

/// The bits in which the four opcodes of CMD_TLBI_NH_* differ.
const NH_ANY: u64 = 0b11;
const _: () = assert!(opcode::TLBI_NH_ALL | NH_ANY == opcode::TLBI_NH_VAA);

/// The first of three opcodes that follow each other: CMD_TLBI_NH_ASID, CMD_TLBI_NH_VA and
/// CMD_TLBI_NH_VAA.
const FIRST_PLAIN: u64 = opcode::TLBI_NH_ASID;
const _: () = assert!(opcode::TLBI_NH_VA == FIRST_PLAIN + 1);
const _: () = assert!(opcode::TLBI_NH_VAA == FIRST_PLAIN + 2);

/// The plain commands with one opcode: CMD_TLBI_NH_ASID, or CMD_TLBI_NH_VA or CMD_TLBI_NH_VAA
/// without a granule. None can take the place of another command, nor another its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    opcode: u64,
    /// The bits that must be 0.
    reserved: Words,
}

impl Plain {
    /// Returns the command if it is one of these and valid.
    #[inline(always)]
    pub(crate) fn command(&self, words: Words) -> Option<Tlbi> {
        let [word0, word1] = words;
        // The bits of the opcode are not among the reserved ones.
        let others = word0 & (self.reserved[0] | OPCODE.mask()) ^ self.opcode;
        (others | word1 & self.reserved[1] == 0).then_some(Tlbi(words))
    }
}

impl Rules {
    /// The rules for an SMMU with these features.
    pub(crate) fn new(features: Features) -> Self {
        // Bits of an ASID above those that the SMMU has are reserved (4.4).
        let asid = ASID.put(0, u64::MAX >> (u64::BITS - features.asid_bits.clamp(1, 16)));
        let ssid = if features.ssid_bits != 0 {
            SSID.mask()
        } else {
            0
        };
        let substream = if features.ssid_bits != 0 {
            SSV.mask() | SSID.mask() | GLOBAL.mask()
        } else {
            0
        };
        let mut vaa = [VMID.mask(), LEAF.mask() | ADDRESS.mask()];
        if features.range_invalidation {
            vaa[0] |= NUM.mask() | SCALE.mask();
            vaa[1] |= TG.mask() | TTL.mask();
            if !features.ds {
                vaa[0] &= !SCALE_HIGH.mask();
            }
        }
        let others = |[word0, word1]: Words| [!(word0 | OPCODE.mask()), !word1];
        let by_asid = others([VMID.mask() | asid, 0]);
        let va = others([vaa[0] | asid, vaa[1]]);
        let vaa = others(vaa);
        // Without a granule the other fields of range invalidation are reserved (4.4.1.1).
        let without_granule = |[word0, word1]: Words| {
            let range = [NUM.mask() | SCALE.mask(), TG.mask() | TTL.mask()];
            [word0 | range[0], word1 | range[1]]
        };
        Self {
            features,
            cd: others([SID.mask() | ssid, LEAF.mask()]),
            cd_all: others([SID.mask(), 0]),
            asid: by_asid,
            va,
            vaa,
            atc: others([SID.mask() | substream, SIZE.mask() | ADDRESS.mask()]),
            plain: [by_asid, without_granule(va), without_granule(vaa)],
        }
    }

    /// The features.
    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// Validates a guest's command. `EIO` for opcodes that a guest may not use, for reserved bits,
    /// for fields of features that the SMMU lacks and for values that the specification calls
    /// reserved or ILLEGAL.
    #[inline(always)]
    pub(crate) fn check(&self, words: Words) -> Result<Command> {
        let [word0, word1] = words;
        use Class::*;
        let (class, reserved, valid) = match OPCODE.of(word0) {
            opcode::TLBI_NH_VA => (Translation, self.va, self.is_range_valid(words)),
            opcode::TLBI_NH_VAA => (Translation, self.vaa, self.is_range_valid(words)),
            opcode::TLBI_NH_ASID => (Translation, self.asid, true),
            opcode::TLBI_NH_ALL => (Translation, NH_ALL_RESERVED, true),
            // All of a guest is what has its VMID. The guest's own VMIDs do not exist: it has no
            // second stage.
            opcode::TLBI_NSNH_ALL if words == [opcode::TLBI_NSNH_ALL, 0] => {
                return Ok(Command {
                    words: [opcode::TLBI_NH_ALL, 0],
                    class: Translation,
                });
            }
            opcode::CFGI_CD => (Configuration, self.cd, true),
            opcode::CFGI_CD_ALL => (Configuration, self.cd_all, true),
            opcode::ATC_INV => {
                let valid = self.features.ats && SIZE.of(word1) <= SIZE_ALL;
                (DeviceCache, self.atc, valid)
            }
            _ => return Err(EIO),
        };
        if valid && (word0 & reserved[0]) | (word1 & reserved[1]) == 0 {
            Ok(Command { words, class })
        } else {
            Err(EIO)
        }
    }

    /// Returns the plain commands of which a command is one, if it is plain.
    #[inline(always)]
    pub(crate) fn plain(&self, words: Words) -> Option<Plain> {
        let opcode = OPCODE.of(words[0]);
        // CAST: The field has 8 bits, and a larger number is no index.
        let reserved = *self.plain.get(opcode.wrapping_sub(FIRST_PLAIN) as usize)?;
        let plain = Plain { opcode, reserved };
        plain.command(words).map(|_| plain)
    }

    /// Whether the fields of range invalidation have no combination that is reserved (4.4.1.1).
    /// Without that feature they are reserved themselves.
    fn is_range_valid(&self, [word0, word1]: Words) -> bool {
        let has_range = word0 & (NUM.mask() | SCALE.mask()) != 0;
        let has_level = TTL.is_set(word1);
        match TG.of(word1) {
            // NUM, SCALE and TTL are reserved without a granule.
            0 => !has_range && !has_level,
            // There are no such entries without 52-bit addresses.
            TG_16K if TTL.of(word1) == 1 && !self.features.ds => false,
            // A granule alone says nothing.
            _ => has_range || has_level,
        }
    }
}
