// SPDX-License-Identifier: GPL-2.0-only

//! One command in place of several.
//!
//! What takes the place of several commands invalidates all that each of them would have, and
//! nothing of another VMID or device. Two rules follow from the specification (Arm IHI 0070, 4.4):
//!
//! - Commands by address make a range only if all name the same granule: without one a range cannot
//!   be expressed, and the granule of an address space is in the guest's context descriptor, which
//!   is not ours to read. They must name the same level too, because a level limits what is
//!   invalidated.
//! - CMD_TLBI_NH_ASID never takes the place of commands by address: it leaves global entries, which
//!   CMD_TLBI_NH_VA invalidates whatever their ASID. CMD_TLBI_NH_ALL leaves none.
//!
//! A [`Merger`] passes other commands on and holds one range, the open one, as two addresses, until
//! a command follows that does not continue it.

use kernel::prelude::*;

use crate::drivers::smmu_v3::{
    command::{
        opcode,
        Tlbi,
        Words,
        ADDRESS,
        NUM,
        OPCODE,
        SCALE,
        TG,
        TTL,
        VMID, //
    },
    features::Features, //
};

/// The largest `SCALE`, without and with `SMMU_IDR5.DS`. The field has room for larger ones, which
/// software must not use.
const MAX_SCALE: u64 = 31;
const MAX_SCALE_DS: u64 = 39;
/// A range has so many times 2^SCALE granules at most: `NUM` has 5 bits.
const MAX_TIMES_LOG2: u32 = 5;
/// Bits of an address within a section, without and with `SMMU_IDR5.DS`. No range crosses sections.
/// So it begins and ends in the same half of an address space: ranges that would reach from the
/// lower half into the upper are not required to have an effect there. And it can be encoded: a
/// section has no more than 2^(5 + MAX_SCALE) granules.
const SECTION: u64 = (1 << 48) - 1;
const SECTION_DS: u64 = (1 << 52) - 1;

/// The fields of word 0 that make a range of an address.
const SPAN: u64 = NUM.mask() | SCALE.mask();
/// The fields of word 1 that are no address.
const LOW: u64 = !ADDRESS.mask();

/// Bits of word 1 without the address that no command has: there is nothing to compare with.
const UNKNOWN: u64 = u64::MAX;

/// What commands have in common that differ in nothing but their address.
#[derive(Clone, Copy, Default)]
struct Shape {
    /// log2 of the granule in bytes.
    granule: u32,
    /// Bytes that an entry at the level covers, less one.
    entry: u64,
    /// Bytes that are invalidated, in whole entries, less one.
    length: u64,
    /// [`SECTION`] or [`SECTION_DS`].
    section: u64,
}

impl Shape {
    /// `None` for commands without a granule, and for a `SCALE` or length that is too large.
    fn of([word0, word1]: Words, ds: bool) -> Option<Self> {
        let (max_scale, section) = if ds {
            (MAX_SCALE_DS, SECTION_DS)
        } else {
            (MAX_SCALE, SECTION)
        };
        let granule = match TG.of(word1) {
            0b01 => 12,
            0b10 => 14,
            0b11 => 16,
            _ => return None,
        };
        // A table of one granule holds 2^(granule - 3) descriptors of 8 bytes.
        let entry = match TTL.of(word1) {
            0b01 => granule + 2 * (granule - 3),
            0b10 => granule + (granule - 3),
            _ => granule,
        };
        let scale = SCALE.of(word0);
        if scale > max_scale {
            return None;
        }
        // It cannot overflow: 2^(5 + 39 + 16) at most.
        let length = ((NUM.of(word0) + 1) << scale << granule) - 1;
        let entry = (1 << entry) - 1;
        let length = length | entry;
        (length <= section).then_some(Self {
            granule,
            entry,
            length,
            section,
        })
    }
}

/// Addresses, `last` inclusive.
#[derive(Clone, Copy, Default)]
struct Range {
    start: u64,
    last: u64,
}

impl Range {
    /// What a command of this shape invalidates at an address. `None` where that is UNPREDICTABLE,
    /// crosses sections, or is at the top of the address space.
    #[inline(always)]
    fn at(start: u64, shape: &Shape) -> Option<Self> {
        let last = start.wrapping_add(shape.length);
        let fits =
            start & shape.entry == 0 && (start ^ last) & !shape.section == 0 && last != u64::MAX;
        fits.then_some(Self { start, last })
    }

    /// Whether nothing lies between them.
    #[inline(always)]
    fn touches(self, other: Self) -> bool {
        // The last addresses are less than the largest one.
        self.start <= other.last.wrapping_add(1) && other.start <= self.last.wrapping_add(1)
    }

    /// All that is in either range. `None` where something lies between them, and where they are in
    /// different sections.
    #[inline(always)]
    fn union(self, other: Self, section: u64) -> Option<Self> {
        let same_section = (self.start ^ other.start) & !section == 0;
        (self.touches(other) && same_section).then_some(Self {
            start: self.start.min(other.start),
            last: self.last.max(other.last),
        })
    }
}

/// Commands that invalidate translations, of which those that follow each other are merged.
pub(crate) struct Merger {
    /// No two are merged: what must be issued twice has to stay there twice.
    repeats: bool,
    ds: bool,
    /// CMD_TLBI_NH_ALL was passed on, which invalidates all that further commands would.
    all: bool,

    // The open range.
    /// Whether there is one.
    ranged: bool,
    /// Whether it is more than `open` says.
    grown: bool,
    /// Its first command, with VMID 0.
    open: Words,
    range: Range,

    // The last command by address. Those that differ from it in the address alone are valid too.
    /// Its word 0, as the guest wrote it.
    word0: u64,
    /// Its word 1 without the address; [`UNKNOWN`] if the last command was another one.
    low: u64,
    /// `None` if such commands make no ranges.
    shape: Option<Shape>,
    /// Word 1 of the command that continues the open range, and the last one that may. Without a
    /// range, `next` is greater than `until`.
    next: u64,
    until: u64,
}

impl Merger {
    /// No command yet.
    pub(crate) fn new(features: &Features) -> Self {
        Self {
            repeats: features.repeat_erratum,
            ds: features.ds,
            all: false,
            ranged: false,
            grown: false,
            open: [0; 2],
            range: Range { start: 0, last: 0 },
            word0: 0,
            low: UNKNOWN,
            shape: None,
            next: u64::MAX,
            until: 0,
        }
    }

    /// Takes the commands in that begin `block` and continue the open range, and returns how many
    /// they are.
    #[inline(always)]
    pub(crate) fn extend(&mut self, block: &[Words]) -> usize {
        let (word0, until, mut next) = (self.word0, self.until, self.next);
        let length = self.shape.map_or(0, |shape| shape.length.wrapping_add(1));
        let mut taken = 0;
        for [at0, at1] in block {
            if (at1 ^ next) | (at0 ^ word0) != 0 || next > until {
                break;
            }
            next = next.wrapping_add(length);
            taken += 1;
        }
        if taken != 0 {
            self.next = next;
            self.range.last = (next & ADDRESS.mask()).wrapping_sub(1);
            self.grown = true;
        }
        taken
    }

    /// Whether a guest's command differs from the last valid one by address in the address alone,
    /// so that it is valid too.
    #[inline(always)]
    pub(crate) fn knows(&self, [word0, word1]: Words) -> bool {
        word0 == self.word0 && word1 & LOW == self.low
    }

    /// Adds the commands that begin `block`, of which it [knows](Merger::knows) the first, as long
    /// as none is merged, and returns how many they are; one at least. `emit` gets commands to be
    /// issued, and fails for the caller.
    #[inline(always)]
    pub(crate) fn add_known(
        &mut self,
        block: &[Words],
        mut emit: impl FnMut(Tlbi) -> Result,
    ) -> Result<usize> {
        let head = self.word0 & !VMID.mask();
        let mut taken = 0;
        match self.shape {
            None => {
                for words in block {
                    if !self.knows(*words) {
                        break;
                    }
                    emit(Tlbi([head, words[1]]))?;
                    taken += 1;
                }
            }
            Some(shape) if self.ranged && !self.grown => {
                let (mut open, mut range) = (self.open, self.range);
                for words in block {
                    let next = Range::at(words[1] & ADDRESS.mask(), &shape);
                    let Some(next) = next.filter(|_| self.knows(*words)) else {
                        break;
                    };
                    if range.touches(next) {
                        break;
                    }
                    emit(Tlbi(open))?;
                    open = [head, words[1]];
                    range = next;
                    taken += 1;
                }
                self.open = open;
                self.begin(range);
            }
            Some(_) => {}
        }
        if taken != 0 {
            return Ok(taken);
        }
        if let Some(words) = block.first() {
            self.add_ranged([head, words[1]], self.shape, emit)?;
        }
        Ok(1)
    }

    /// Adds a command. `emit` gets commands to be issued, and fails for the caller.
    #[inline(always)]
    pub(crate) fn add(&mut self, command: Tlbi, mut emit: impl FnMut(Tlbi) -> Result) -> Result {
        let Tlbi([word0, word1]) = command;
        if self.all {
            return Ok(());
        }
        let words = [word0 & !VMID.mask(), word1];
        // Only commands by address have a granule.
        if TG.is_set(word1) && !self.repeats {
            let shape = Shape::of(words, self.ds);
            self.add_ranged(words, shape, emit)?;
            self.know(word0, word1, shape);
            return Ok(());
        }
        let opcode = OPCODE.of(word0);
        let is_all = opcode == opcode::TLBI_NH_ALL && !self.repeats;
        if self.ranged {
            let before = self.closed();
            self.end();
            if !is_all {
                emit(before)?;
            }
        }
        emit(Tlbi(words))?;
        self.all = is_all;
        match opcode {
            opcode::TLBI_NH_VA | opcode::TLBI_NH_VAA => self.know(word0, word1, None),
            _ => self.low = UNKNOWN,
        }
        Ok(())
    }

    /// Adds a command by address with a granule. It has this shape.
    fn add_ranged(
        &mut self,
        words: Words,
        shape: Option<Shape>,
        mut emit: impl FnMut(Tlbi) -> Result,
    ) -> Result {
        let start = words[1] & ADDRESS.mask();
        let range = shape.and_then(|shape| Some((Range::at(start, &shape)?, shape)));
        if self.ranged {
            // Opcode and ASID; leaf, level and granule.
            let alike = (words[0] ^ self.open[0]) & !SPAN | (words[1] ^ self.open[1]) & LOW == 0;
            if let (true, Some((range, shape))) = (alike, range) {
                if let Some(union) = self.range.union(range, shape.section) {
                    self.grown |= union.start != self.range.start || union.last != self.range.last;
                    self.range = union;
                    self.look_ahead(words[1] & LOW, shape);
                    return Ok(());
                }
            }
            let before = self.closed();
            self.end();
            emit(before)?;
        }
        match range {
            Some((range, shape)) => {
                self.open = words;
                self.shape = Some(shape);
                self.low = words[1] & LOW;
                self.begin(range);
                Ok(())
            }
            None => emit(Tlbi(words)),
        }
    }

    /// Returns the open range, if there is one, as a command. All is forgotten.
    pub(crate) fn close(&mut self) -> Option<Tlbi> {
        let before = self.ranged.then(|| self.closed());
        self.end();
        self.all = false;
        self.low = UNKNOWN;
        before
    }

    /// Records what [`Merger::knows`] looks at.
    fn know(&mut self, word0: u64, word1: u64, shape: Option<Shape>) {
        self.word0 = word0;
        self.low = word1 & LOW;
        self.shape = shape;
    }

    /// Records the range of the open command.
    #[inline(always)]
    fn begin(&mut self, range: Range) {
        self.ranged = true;
        self.grown = false;
        self.range = range;
        self.look_ahead(self.low, self.shape.unwrap_or_default());
    }

    /// Records that there is no open range.
    #[inline(always)]
    fn end(&mut self) {
        self.ranged = false;
        self.grown = false;
        self.next = u64::MAX;
        self.until = 0;
    }

    /// Computes what [`Merger::extend`] looks at.
    #[inline(always)]
    fn look_ahead(&mut self, low: u64, shape: Shape) {
        self.next = self.range.last.wrapping_add(1) | low;
        // The last place in the section where a command of this shape has a range.
        let end = (self.range.start | shape.section).min(u64::MAX - 1);
        self.until = (end.wrapping_sub(shape.length) & ADDRESS.mask()) | low;
    }

    /// The open range as a command.
    #[inline(always)]
    fn closed(&self) -> Tlbi {
        if self.grown {
            self.encoded()
        } else {
            Tlbi(self.open)
        }
    }

    /// A command with a range that covers `range`.
    fn encoded(&self) -> Tlbi {
        let [word0, word1] = self.open;
        let granule = self.shape.map_or(12, |shape| shape.granule);
        let granules = (self.range.last - self.range.start) >> granule;
        // The smallest scale for which NUM has room for the rest.
        let scale = (u64::BITS - granules.leading_zeros()).saturating_sub(MAX_TIMES_LOG2);
        // One granule without a level would be reserved, but a range that has grown has more.
        let num = granules >> scale;
        Tlbi([
            SCALE.put(NUM.put(word0, num), u64::from(scale)),
            (word1 & LOW) | self.range.start,
        ])
    }
}
