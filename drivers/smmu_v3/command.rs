// SPDX-License-Identifier: GPL-2.0-only

//! Invalidation commands: what a guest may ask for, and what the SMMU is told.
//!
//! A guest's command names an address space of the guest or a device by the guest's id. The SMMU's
//! names our VMID or StreamID instead, and there is no other way to make one of a guest's command.
//! A bit that is reserved, or that belongs to a feature that the SMMU lacks, would stop the command
//! queue that all devices share, so no command with such a bit passes.
//!
//! Sections are those of Arm IHI 0070. Words are in CPU byte order.

use kernel::prelude::*;

use crate::drivers::smmu_v3::{
    features::Features,
    field::Field, //
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

/// Word 0 of CMD_ATC_INV and CMD_CFGI_CD*.
const GLOBAL: Field = Field::bit(9);
const SSV: Field = Field::bit(11);
const SSID: Field = Field::new(31, 12);
const SID: Field = Field::new(63, 32);
/// Word 1 of CMD_ATC_INV: log2 of the number of 4 KiB pages.
const SIZE: Field = Field::new(5, 0);
/// The size of all addresses. Larger ones may be ILLEGAL.
const SIZE_ALL: u64 = 52;

/// What a command invalidates. Of two classes the smaller must be complete before the larger may take
/// effect, or the cache of the larger is filled again from the stale one of the smaller: translations
/// are cached by way of context descriptors, and devices cache the SMMU's translations (4.5.1).
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
    /// Every class, in the order that they have to complete in.
    pub(crate) const ALL: [Self; 3] = [Self::Configuration, Self::Translation, Self::DeviceCache];

    /// The class of a guest's command, by its opcode alone. `None` for opcodes that a guest may not use.
    pub(crate) fn of([word0, _]: Words) -> Option<Self> {
        match OPCODE.of(word0) {
            opcode::CFGI_CD | opcode::CFGI_CD_ALL => Some(Self::Configuration),
            opcode::TLBI_NSNH_ALL
            | opcode::TLBI_NH_ALL
            | opcode::TLBI_NH_ASID
            | opcode::TLBI_NH_VA
            | opcode::TLBI_NH_VAA => Some(Self::Translation),
            opcode::ATC_INV => Some(Self::DeviceCache),
            _ => None,
        }
    }
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The guest's address spaces, on every SMMU that translates for it.
    AddressSpaces,
    /// A device, by the guest's StreamID.
    Device(u32),
}

/// A valid command of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    /// Without a VMID or StreamID.
    words: Words,
    target: Target,
}

/// A command for an SMMU, which cannot affect any but one guest's VMID or one of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Physical(pub(super) Words);

impl Physical {
    /// No command of a guest; fills a place that no command has been put in yet.
    pub(super) const NONE: Self = Self([0; 2]);

    /// The command as it stands in a queue.
    pub(crate) fn words(&self) -> Words {
        self.0
    }
}

impl Command {
    /// Validates a guest's command. `EIO` for opcodes that a guest may not use, for reserved bits, for
    /// fields of features that the SMMU lacks and for values that the specification calls reserved or
    /// ILLEGAL.
    pub(crate) fn from_guest([word0, word1]: Words, features: &Features) -> Result<Self> {
        let opcode = OPCODE.of(word0);
        let class = Class::of([word0, word1]).ok_or(EIO)?;
        let allowed = match opcode {
            opcode::TLBI_NSNH_ALL => [0, 0],
            opcode::TLBI_NH_ALL => [VMID.mask(), 0],
            opcode::TLBI_NH_ASID => [VMID.mask() | asid_field(features), 0],
            opcode::TLBI_NH_VA | opcode::TLBI_NH_VAA => {
                check_range([word0, word1], features)?;
                address_fields(opcode, features)
            }
            opcode::ATC_INV => {
                if !features.ats || SIZE.of(word1) > SIZE_ALL {
                    return Err(EIO);
                }
                device_cache_fields(features)
            }
            _ => configuration_fields(opcode, features),
        };
        let [allowed0, allowed1] = allowed;
        if word0 & !(allowed0 | OPCODE.mask()) != 0 || word1 & !allowed1 != 0 {
            return Err(EIO);
        }
        let (word0, target) = match class {
            // All of a guest is what has its VMID. The guest's own VMIDs do not exist: it has no second
            // stage.
            Class::Translation if opcode == opcode::TLBI_NSNH_ALL => {
                (opcode::TLBI_NH_ALL, Target::AddressSpaces)
            }
            Class::Translation => (VMID.put(word0, 0), Target::AddressSpaces),
            // CAST: The field has 32 bits.
            Class::Configuration | Class::DeviceCache => {
                (SID.put(word0, 0), Target::Device(SID.of(word0) as u32))
            }
        };
        Ok(Self {
            words: [word0, word1],
            target,
        })
    }

    /// What it is about.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// The command for an SMMU that knows the guest by `vmid`. `None` for one about a device.
    pub(crate) fn on_vmid(&self, vmid: u16) -> Option<Physical> {
        let [word0, word1] = self.words;
        (self.target == Target::AddressSpaces)
            .then(|| Physical([VMID.put(word0, u64::from(vmid)), word1]))
    }

    /// The command for an SMMU that knows the device by `sid`. `None` for one about address spaces.
    pub(crate) fn on_stream(&self, sid: u32) -> Option<Physical> {
        let [word0, word1] = self.words;
        matches!(self.target, Target::Device(_))
            .then(|| Physical([SID.put(word0, u64::from(sid)), word1]))
    }
}

/// The bits of an ASID that the SMMU has; those above are reserved (4.4).
fn asid_field(features: &Features) -> u64 {
    ASID.put(0, u64::MAX >> (u64::BITS - features.asid_bits.clamp(1, 16)))
}

/// Bits that CMD_CFGI_CD or CMD_CFGI_CD_ALL may have besides the opcode.
fn configuration_fields(opcode: u64, features: &Features) -> Words {
    let mut fields = [SID.mask(), 0];
    if opcode == opcode::CFGI_CD {
        fields[1] = LEAF.mask();
        if features.ssid_bits != 0 {
            fields[0] |= SSID.mask();
        }
    }
    fields
}

/// Bits that CMD_TLBI_NH_VA or CMD_TLBI_NH_VAA may have besides the opcode.
fn address_fields(opcode: u64, features: &Features) -> Words {
    let mut fields = [VMID.mask(), LEAF.mask() | ADDRESS.mask()];
    if opcode == opcode::TLBI_NH_VA {
        fields[0] |= asid_field(features);
    }
    if features.range_invalidation {
        fields[0] |= NUM.mask() | SCALE.mask();
        fields[1] |= TG.mask() | TTL.mask();
        if !features.ds {
            fields[0] &= !SCALE_HIGH.mask();
        }
    }
    fields
}

/// Bits that CMD_ATC_INV may have besides the opcode.
fn device_cache_fields(features: &Features) -> Words {
    let mut fields = [SID.mask(), SIZE.mask() | ADDRESS.mask()];
    if features.ssid_bits != 0 {
        fields[0] |= SSV.mask() | SSID.mask() | GLOBAL.mask();
    }
    fields
}

/// Looks for combinations of the fields of range invalidation that are reserved (4.4.1.1).
fn check_range([word0, word1]: Words, features: &Features) -> Result {
    let has_range = NUM.is_set(word0) || SCALE.is_set(word0);
    let has_level = TTL.is_set(word1);
    let reserved = match TG.of(word1) {
        // NUM, SCALE and TTL are reserved without a granule.
        0 => has_range || has_level,
        // There are no such entries without 52-bit addresses.
        TG_16K if TTL.of(word1) == 1 && !features.ds => true,
        // A granule alone says nothing.
        _ => !has_range && !has_level,
    };
    if features.range_invalidation && reserved {
        return Err(EIO);
    }
    Ok(())
}
