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
//! A [`Merger`] passes other commands on, most of them in runs of [plain](Rules::plain) ones. It holds
//! back two ranges, the open ones, as two addresses each, so that commands of two address spaces may
//! alternate.

use kernel::prelude::*;

use crate::drivers::smmu_v3::{
    command::{
        opcode,
        Plain,
        Rules,
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

/// Where the commands go that are to be issued.
pub(crate) trait Sink {
    /// Takes a command.
    fn push(&mut self, command: Tlbi) -> Result;

    /// Takes several.
    fn extend(&mut self, commands: impl Iterator<Item = Tlbi>) -> Result;
}

/// A range that further commands may continue.
struct Open {
    /// Its first command, with VMID 0.
    first: Words,
    /// Whether it is more than `first` says.
    grown: bool,
    range: Range,
    /// Word 1 of the command that continues it, and the last one that may. `next` may be greater.
    next: u64,
    until: u64,
}

impl Open {
    /// The range of a command with VMID 0 and of this shape. `None` where it makes none.
    #[inline(always)]
    fn new(first: Words, shape: &Shape) -> Option<Self> {
        let range = Range::at(first[1] & ADDRESS.mask(), shape)?;
        let mut open = Self {
            first,
            grown: false,
            range,
            next: 0,
            until: 0,
        };
        open.look_ahead(shape);
        Some(open)
    }

    /// Computes what [`Alike::extend`] looks at, for commands of this shape.
    #[inline(always)]
    fn look_ahead(&mut self, shape: &Shape) {
        let low = self.first[1] & LOW;
        self.next = self.range.last.wrapping_add(1) | low;
        // The last place in the section where a command of this shape has a range.
        let end = (self.range.start | shape.section).min(u64::MAX - 1);
        self.until = (end.wrapping_sub(shape.length) & ADDRESS.mask()) | low;
    }

    /// Merges a command with VMID 0 and of this shape. Returns whether that is possible.
    fn join(&mut self, words: Words, shape: &Shape) -> bool {
        // Opcode and ASID; leaf, level and granule.
        if (words[0] ^ self.first[0]) & !SPAN | (words[1] ^ self.first[1]) & LOW != 0 {
            return false;
        }
        let union = Range::at(words[1] & ADDRESS.mask(), shape)
            .and_then(|range| self.range.union(range, shape.section));
        let Some(union) = union else {
            return false;
        };
        self.grown |= union.start != self.range.start || union.last != self.range.last;
        self.range = union;
        self.look_ahead(shape);
        true
    }

    /// The range as a command. It has granules of this shape.
    #[inline(always)]
    fn command(&self, shape: &Shape) -> Tlbi {
        if self.grown {
            self.encoded(shape)
        } else {
            Tlbi(self.first)
        }
    }

    /// A command with a range that covers `range`. It may end beyond the section, and beyond the last
    /// address: a range does not wrap, and what is below its end is invalidated all the same (4.4.1.1).
    /// It begins where `range` does: an SMMU may take an address below the section for one that is out
    /// of range (4.4.2).
    fn encoded(&self, shape: &Shape) -> Tlbi {
        let [word0, word1] = self.first;
        let granules = (self.range.last - self.range.start) >> shape.granule;
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

/// Commands by address that differ in the address alone, so that all are valid if one is.
struct Alike {
    /// Word 0, as the guest wrote it.
    word0: u64,
    /// Word 1 without the address.
    low: u64,
    shape: Shape,
    /// What they make.
    open: Option<Open>,
}

impl Alike {
    /// Whether a command is one of them.
    #[inline(always)]
    fn knows(&self, [word0, word1]: Words) -> bool {
        word0 == self.word0 && word1 & LOW == self.low
    }

    /// Takes the commands in that begin `block` and continue the range, and returns how many they
    /// are.
    #[inline(always)]
    fn extend(&mut self, block: &[Words]) -> usize {
        let Some(open) = &mut self.open else {
            return 0;
        };
        // Mostly commands continue the range, or none does.
        let continues = block.first().is_some_and(|[_, word1]| *word1 == open.next);
        if !continues || open.next > open.until {
            return 0;
        }
        let mut next = open.next;
        let length = self.shape.length.wrapping_add(1);
        let most = (open.until - next) / length.max(1) + 1;
        let mut taken = 0;
        for [word0, word1] in block.iter().take(most as usize) {
            if (word1 ^ next) | (word0 ^ self.word0) != 0 {
                break;
            }
            next = next.wrapping_add(length);
            taken += 1;
        }
        if taken != 0 {
            open.next = next;
            open.range.last = (next & ADDRESS.mask()).wrapping_sub(1);
            open.grown = true;
        }
        taken
    }

    /// Takes the commands in that begin `block`, of which the first is one of them and does not
    /// continue the range, as long as none can be merged; at least one. Returns how many they are.
    #[inline(always)]
    fn scatter(&mut self, block: &[Words], sink: &mut impl Sink) -> Result<usize> {
        let head = self.word0 & !VMID.mask();
        let alone = self.count_scattered(block);
        let scattered = block.get(..alone).and_then(|block| block.split_last());
        if let (Some(open), Some((last, others))) = (&mut self.open, scattered) {
            let first = core::mem::replace(&mut open.first, [head, last[1]]);
            let start = last[1] & ADDRESS.mask();
            open.range = Range {
                start,
                last: start.wrapping_add(self.shape.length),
            };
            open.look_ahead(&self.shape);
            sink.push(Tlbi(first))?;
            sink.extend(others.iter().map(|[_, word1]| Tlbi([head, *word1])))?;
            return Ok(alone);
        }
        if let Some(words) = block.first() {
            let words = [head, words[1]];
            let joined = self
                .open
                .as_mut()
                .is_some_and(|open| open.join(words, &self.shape));
            if !joined {
                self.replace(words, sink)?;
            }
        }
        Ok(1)
    }

    /// Returns how many commands that begin `block` are of these, are in the section of the open
    /// range, and do not touch the range of the one before. Before the first is the open range.
    /// Returns 0 if that was made of several commands, or if there is none.
    #[inline(always)]
    fn count_scattered(&self, block: &[Words]) -> usize {
        let Some(open) = self.open.as_ref().filter(|open| !open.grown) else {
            return 0;
        };
        let Shape {
            entry,
            length,
            section,
            ..
        } = self.shape;
        let (word0, low, fixed) = (self.word0, self.low, LOW | entry);
        let (from, until) = (open.range.start & !section, open.until & ADDRESS.mask());
        // Where the one before starts and ends, exclusive.
        let (mut start, mut end) = (open.range.start, open.range.last.wrapping_add(1));
        let scattered = block.iter().take_while(|words| {
            let next = words[1] & ADDRESS.mask();
            if (words[0] ^ word0) | ((words[1] & fixed) ^ low) != 0 || next > until {
                return false;
            }
            // It cannot overflow: no range up to there ends at the top of the address space.
            let next_end = next.wrapping_add(length).wrapping_add(1);
            if next <= end && (next_end >= start || next < from) {
                return false;
            }
            (start, end) = (next, next_end);
            true
        });
        scattered.count()
    }

    /// Ends the range, and begins one with a command with VMID 0 that is one of them, or passes
    /// that on if it makes none.
    fn replace(&mut self, words: Words, sink: &mut impl Sink) -> Result {
        self.close(sink)?;
        self.open = Open::new(words, &self.shape);
        match self.open {
            Some(_) => Ok(()),
            None => sink.push(Tlbi(words)),
        }
    }

    /// Ends the range and passes it on.
    #[inline]
    fn close(&mut self, sink: &mut impl Sink) -> Result {
        match self.open.take() {
            Some(open) => sink.push(open.command(&self.shape)),
            None => Ok(()),
        }
    }
}

/// Merges commands that invalidate translations.
pub(crate) struct Merger {
    /// No two are merged: what must be issued twice has to stay there twice.
    repeats: bool,
    ds: bool,
    /// CMD_TLBI_NH_ALL was passed on, which invalidates all that further commands would.
    all: bool,
    /// The commands by address that were added to last, and those before.
    last: Option<Alike>,
    other: Option<Alike>,
}

impl Merger {
    /// No command yet.
    #[inline(always)]
    pub(crate) fn new(features: &Features) -> Self {
        Self {
            repeats: features.repeat_erratum,
            ds: features.ds,
            all: false,
            last: None,
            other: None,
        }
    }

    /// Whether a guest's command differs in the address alone from one of those by address that
    /// were added last, so that it is valid too.
    #[inline(always)]
    pub(crate) fn knows(&self, words: Words) -> bool {
        let mut rows = [&self.last, &self.other].into_iter().flatten();
        rows.any(|alike| alike.knows(words))
    }

    /// Adds the commands that begin `block` as long as it [knows](Merger::knows) them, and returns
    /// how many they are.
    #[inline(always)]
    pub(crate) fn add_known(&mut self, block: &[Words], sink: &mut impl Sink) -> Result<usize> {
        if self.all {
            let known = block.iter().take_while(|words| self.knows(**words));
            return Ok(known.count());
        }
        let mut rest = block;
        while let (Some(last), Some(words)) = (&mut self.last, rest.first()) {
            let taken = if !last.knows(*words) {
                if !self.other.as_ref().is_some_and(|other| other.knows(*words)) {
                    break;
                }
                core::mem::swap(&mut self.last, &mut self.other);
                0
            } else {
                match last.extend(rest) {
                    0 => last.scatter(rest, sink)?,
                    taken => taken,
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(block.len() - rest.len())
    }

    /// Adds the commands that begin `block` as long as they are [plain](Rules::plain), and returns
    /// how many they are. The first is one of `plain`.
    #[inline(always)]
    pub(crate) fn add_plain(
        &self,
        mut plain: Plain,
        block: &[Words],
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> Result<usize> {
        let mut taken = 0;
        let commands = block.iter().map_while(|words| {
            let command = plain.command(*words).or_else(|| {
                plain = rules.plain(*words)?;
                Some(Tlbi(*words))
            })?;
            taken += 1;
            Some(command)
        });
        if self.all {
            commands.for_each(drop);
        } else {
            sink.extend(commands)?;
        }
        Ok(taken)
    }

    /// Adds a command.
    #[inline]
    pub(crate) fn add(&mut self, command: Tlbi, sink: &mut impl Sink) -> Result {
        let Tlbi([word0, word1]) = command;
        if self.all {
            return Ok(());
        }
        let words = [word0 & !VMID.mask(), word1];
        match OPCODE.of(word0) {
            opcode::TLBI_NH_VA | opcode::TLBI_NH_VAA => {}
            opcode::TLBI_NH_ALL if !self.repeats => {
                for alike in [&mut self.last, &mut self.other].into_iter().flatten() {
                    alike.open = None;
                }
                self.all = true;
                return sink.push(Tlbi(words));
            }
            _ => return sink.push(Tlbi(words)),
        }
        let shape = match Shape::of(words, self.ds) {
            Some(shape) if !self.repeats => shape,
            _ => return sink.push(Tlbi(words)),
        };
        let join = |alike: &mut Alike| {
            let Some(open) = &mut alike.open else {
                return false;
            };
            let joined = open.join(words, &shape);
            if joined {
                alike.word0 = word0;
                alike.shape = shape;
            }
            joined
        };
        let knows =
            |alike: &Option<Alike>| alike.as_ref().is_some_and(|alike| alike.knows(command.0));
        if !knows(&self.last) {
            if !knows(&self.other) && self.last.as_mut().is_some_and(join) {
                return Ok(());
            }
            // It follows the other ones, or takes the place of what was not added to for longer.
            if self.last.is_some() {
                core::mem::swap(&mut self.last, &mut self.other);
            }
        }
        if self.last.as_mut().is_some_and(join) {
            return Ok(());
        }
        if let Some(before) = &mut self.last {
            before.close(sink)?;
        }
        let alike = self.last.insert(Alike {
            word0,
            low: word1 & LOW,
            shape,
            open: None,
        });
        alike.replace(words, sink)
    }

    /// Passes the open ranges on. Commands that are known stay so.
    #[inline]
    pub(crate) fn close(&mut self, sink: &mut impl Sink) -> Result {
        self.all = false;
        if let Some(last) = &mut self.last {
            last.close(sink)?;
        }
        match &mut self.other {
            Some(other) => other.close(sink),
            None => Ok(()),
        }
    }
}
