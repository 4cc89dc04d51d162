// SPDX-License-Identifier: GPL-2.0-only

//! Defines exactly what an SMMU must invalidate for a command, from the specification (Arm IHI
//! 0070, chapter 4). It does not use the code under test.

use crate::drivers::smmu_v3::command::Words;

/// The bits from `high` down to `low` of a command of 128 bits.
pub(super) fn bits([word0, word1]: Words, high: u32, low: u32) -> u64 {
    let all = (u128::from(word1) << 64) | u128::from(word0);
    ((all >> low) & ((1u128 << (high - low + 1)) - 1)) as u64
}

/// A command with the field from `high` down to `low` set.
pub(super) fn with([word0, word1]: Words, high: u32, low: u32, value: u64) -> Words {
    let mask = ((1u128 << (high - low + 1)) - 1) << low;
    let all = (u128::from(word1) << 64) | u128::from(word0);
    let all = (all & !mask) | ((u128::from(value) << low) & mask);
    [all as u64, (all >> 64) as u64]
}

/// A cached translation, or a cached descriptor of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TlbEntry {
    pub(super) vmid: u16,
    /// `None` for a global entry.
    pub(super) asid: Option<u16>,
    /// The granule, encoded as in TG.
    pub(super) granule: u64,
    /// The level of the descriptor, 1 to 3.
    pub(super) level: u64,
    /// Whether it is a translation, rather than a table descriptor.
    pub(super) leaf: bool,
    /// The first address that it translates.
    pub(super) start: u64,
}

/// log2 of a granule's bytes.
pub(super) fn granule_shift(tg: u64) -> u32 {
    match tg {
        1 => 12,
        2 => 14,
        3 => 16,
        _ => panic!("no granule"),
    }
}

/// log2 of the bytes that a descriptor covers.
pub(super) fn entry_shift(tg: u64, level: u64) -> u32 {
    let granule = granule_shift(tg);
    granule + (granule - 3) * (3 - level as u32)
}

impl TlbEntry {
    /// The last address (inclusive) that it translates.
    pub(super) fn last(&self) -> u64 {
        self.start + ((1 << entry_shift(self.granule, self.level)) - 1)
    }

    fn covers(&self, address: u64) -> bool {
        (self.start..=self.last()).contains(&address)
    }

    /// Whether the SMMU must drop it for the command. `ds` is SMMU_IDR5.DS.
    pub(super) fn must_go(&self, command: Words, ds: bool) -> bool {
        let opcode = bits(command, 7, 0);
        let vmid = bits(command, 47, 32) == u64::from(self.vmid);
        let asid = self.asid.map(u64::from);
        let same_asid = asid == Some(bits(command, 63, 48));
        match opcode {
            // NSNH_ALL, 4.4.4: of all VMIDs.
            0x30 => true,
            0x10 => vmid,
            0x11 => vmid && same_asid,
            0x12 => vmid && (same_asid || asid.is_none()) && self.is_at(command, ds),
            0x13 => vmid && self.is_at(command, ds),
            _ => false,
        }
    }

    /// Whether a command by address applies to it (4.4.1.1).
    fn is_at(&self, command: Words, ds: bool) -> bool {
        let address = bits(command, 127, 76) << 12;
        if bits(command, 64, 64) == 1 && !self.leaf {
            return false;
        }
        let (tg, ttl) = (bits(command, 75, 74), bits(command, 73, 72));
        if tg == 0 {
            return self.covers(address);
        }
        let (num, scale) = (bits(command, 16, 12), bits(command, 25, 20));
        // Software must not use a scale above 39, so nothing has to be invalidated.
        if tg != self.granule || scale > 39 {
            return false;
        }
        let ttl = if tg == 2 && ttl == 1 && !ds { 0 } else { ttl };
        let right_level = match (ttl, self.leaf) {
            (0, _) => true,
            (_, true) => self.level == ttl,
            // Table descriptors on the walk to that level.
            (_, false) => self.level < ttl,
        };
        // What is invalidated by an address that is not aligned for the level is UNPREDICTABLE.
        let level = if ttl == 0 { 3 } else { ttl };
        let aligned = address & ((1 << entry_shift(tg, level)) - 1) == 0;
        // A range from the lower half of the address space need not have an effect in the upper
        // one.
        let same_half = address >> 63 == self.start >> 63;
        let length = u128::from(num + 1) << scale << granule_shift(tg);
        // An end above 2^64 is none that wraps: all from the address to the top is in the range.
        let end = u128::from(address) + length;
        right_level
            && aligned
            && same_half
            && u128::from(self.start) < end
            && self.last() >= address
    }
}

/// A cached context descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CdEntry {
    pub(super) sid: u32,
    pub(super) ssid: u32,
    /// Whether it is a context descriptor, rather than a pointer to a table of them.
    pub(super) leaf: bool,
}

impl CdEntry {
    /// Whether the SMMU must drop it for the command (4.3.3, 4.3.4).
    pub(super) fn must_go(&self, command: Words) -> bool {
        let same_stream = bits(command, 63, 32) == u64::from(self.sid);
        match bits(command, 7, 0) {
            0x05 => {
                same_stream
                    && bits(command, 31, 12) == u64::from(self.ssid)
                    && (self.leaf || bits(command, 64, 64) == 0)
            }
            0x06 => same_stream,
            _ => false,
        }
    }
}

/// A translation cached by a device (ATC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AtcEntry {
    pub(super) sid: u32,
    pub(super) ssid: Option<u32>,
    /// A page of 4 KiB.
    pub(super) address: u64,
}

impl AtcEntry {
    /// Whether the device must drop it for the command (4.5.1).
    pub(super) fn must_go(&self, command: Words) -> bool {
        let ssv = bits(command, 11, 11) == 1;
        // G: whatever the SubstreamID is.
        let global = bits(command, 9, 9) == 1;
        let same_substream = match self.ssid {
            None => !ssv,
            Some(ssid) => ssv && (global || bits(command, 31, 12) == u64::from(ssid)),
        };
        let shift = 12 + bits(command, 69, 64).min(52) as u32;
        let page = |address: u64| u128::from(address) >> shift;
        bits(command, 7, 0) == 0x40
            && bits(command, 63, 32) == u64::from(self.sid)
            && same_substream
            && page(bits(command, 127, 76) << 12) == page(self.address)
    }
}
