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
//! A [`Merger`] holds one command, the open one, until a command follows that cannot be merged with
//! it. A range is kept as two addresses meanwhile, and encoded when it is closed.

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

/// No command. The opcode is none.
const NONE: Words = [0; 2];
/// Word 0 of no command by address.
const NOTHING: u64 = 0;

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
    /// The open command, its VMID 0. Without one, [`NONE`].
    open: Words,
    /// What the open command has become by other commands, if anything.
    range: Range,
    /// Whether `range` is valid.
    ranged: bool,
    /// Whether `range` is more than the open command says.
    grown: bool,

    // Of the last command by address.
    /// Its word 0, as the guest wrote it; [`NOTHING`] if the open command is another one.
    word0: u64,
    /// Its word 1 without the address.
    low: u64,
    /// Word 1 of the command that continues the range, and the last one that may.
    next: u64,
    until: u64,
    /// `None` if such commands make no ranges.
    shape: Option<Shape>,
}

impl Merger {
    /// No command yet.
    pub(crate) fn new(features: &Features) -> Self {
        Self {
            repeats: features.repeat_erratum,
            ds: features.ds,
            open: NONE,
            range: Range { start: 0, last: 0 },
            ranged: false,
            grown: false,
            word0: NOTHING,
            low: 0,
            next: u64::MAX,
            until: 0,
            shape: None,
        }
    }

    /// Takes the commands in that begin `block` and continue the open range, and returns how many
    /// they are. They differ from a valid command in their address alone, and so are valid.
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

    /// Takes the commands in that begin `block`, that the merger [knows](Merger::knows) and that
    /// are merged with none before them, and returns how many they are. `emit` gets those before
    /// them, and fails for the caller.
    #[inline(always)]
    pub(crate) fn pass(
        &mut self,
        block: &[Words],
        mut emit: impl FnMut(Tlbi) -> Result,
    ) -> Result<usize> {
        let mut open = self.open;
        let head = self.word0 & !VMID.mask();
        let mut taken = 0;
        match self.shape {
            None => {
                for words in block {
                    if !self.knows(*words) || words[1] == open[1] && !self.repeats {
                        break;
                    }
                    emit(Tlbi(open))?;
                    open = [head, words[1]];
                    taken += 1;
                }
                self.open = open;
            }
            Some(shape) if self.ranged && !self.grown => {
                let mut range = self.range;
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
                self.begin(Some(range));
            }
            Some(_) => {}
        }
        Ok(taken)
    }

    /// Adds a command that [`Merger::knows`]. Returns the one before it if they cannot be merged.
    pub(crate) fn add_known(&mut self, words: Words) -> Option<Tlbi> {
        let start = words[1] & ADDRESS.mask();
        let range = self.shape.and_then(|shape| Range::at(start, &shape));
        if let (true, Some(range), Some(shape)) = (self.ranged, range, self.shape) {
            if let Some(union) = self.range.union(range, shape.section) {
                self.grow(union);
                return None;
            }
        } else if !self.ranged && words[1] == self.open[1] && !self.repeats {
            return None;
        }
        let before = self.closed();
        // The open command may be one of another length, of several that made a range.
        self.open = [words[0] & !VMID.mask(), words[1]];
        self.begin(range);
        Some(before)
    }

    /// Adds a command. Returns the one before it if they cannot be
    /// merged.
    pub(crate) fn add(&mut self, command: Tlbi) -> Option<Tlbi> {
        let Tlbi([word0, word1]) = command;
        let words = [word0 & !VMID.mask(), word1];
        let opcode = OPCODE.of(word0);
        let by_address = matches!(opcode, opcode::TLBI_NH_VA | opcode::TLBI_NH_VAA);
        let shape = if by_address && !self.repeats {
            Shape::of(words, self.ds)
        } else {
            None
        };
        let range = shape.and_then(|shape| Range::at(word1 & ADDRESS.mask(), &shape));
        let none = self.open == NONE;
        if !none && !self.repeats {
            if self.is_all() || words == self.open && !self.grown {
                return None;
            }
            if opcode == opcode::TLBI_NH_ALL {
                self.open = words;
                self.begin(None);
                self.word0 = NOTHING;
                return None;
            }
            // Opcode and ASID; leaf, level and granule.
            let alike = (words[0] ^ self.open[0]) & !SPAN | (words[1] ^ self.open[1]) & LOW == 0;
            if let (true, true, Some(range), Some(new)) = (alike, self.ranged, range, shape) {
                if let Some(union) = self.range.union(range, new.section) {
                    self.know(word0, word1, shape);
                    self.grow(union);
                    return None;
                }
            }
        }
        let before = self.closed();
        self.open = words;
        self.know(if by_address { word0 } else { NOTHING }, word1, shape);
        self.begin(range);
        (!none).then_some(before)
    }

    /// Returns the open command, if there is one. None is open then.
    pub(crate) fn close(&mut self) -> Option<Tlbi> {
        if self.open == NONE {
            return None;
        }
        let before = self.closed();
        self.open = NONE;
        self.begin(None);
        self.word0 = NOTHING;
        Some(before)
    }

    /// Whether the open command invalidates all that any other would.
    fn is_all(&self) -> bool {
        OPCODE.of(self.open[0]) == opcode::TLBI_NH_ALL
    }

    /// Records what [`Merger::knows`] looks at.
    fn know(&mut self, word0: u64, word1: u64, shape: Option<Shape>) {
        self.word0 = word0;
        self.low = word1 & LOW;
        self.shape = shape;
    }

    /// Records what the open command invalidates, `None` if it makes no range.
    #[inline(always)]
    fn begin(&mut self, range: Option<Range>) {
        self.grown = false;
        self.ranged = range.is_some();
        match range {
            Some(range) => {
                self.range = range;
                self.look_ahead();
            }
            None => {
                self.next = u64::MAX;
                self.until = 0;
            }
        }
    }

    fn grow(&mut self, union: Range) {
        self.grown |= union.start != self.range.start || union.last != self.range.last;
        self.range = union;
        self.look_ahead();
    }

    /// Computes what [`Merger::extend`] looks at.
    #[inline(always)]
    fn look_ahead(&mut self) {
        let shape = self.shape.unwrap_or_default();
        self.next = self.range.last.wrapping_add(1) | self.low;
        // The last place in the section where a command of this shape has a range.
        let end = (self.range.start | shape.section).min(u64::MAX - 1);
        self.until = (end.wrapping_sub(shape.length) & ADDRESS.mask()) | self.low;
    }

    /// The open command as it has become.
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
