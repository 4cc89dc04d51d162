// SPDX-License-Identifier: GPL-2.0-only

//! One command in place of two.
//!
//! What takes the place of two commands invalidates all that either would have, and nothing of
//! another VMID or device. Two rules follow from the specification (Arm IHI 0070, 4.4):
//!
//! - Commands by address make a range only if both name the same granule: without one a range
//!   cannot be expressed, and the granule of an address space is in the guest's context descriptor,
//!   which is not ours to read. They must name the same level too, because a level limits what is
//!   invalidated.
//! - CMD_TLBI_NH_ASID never takes the place of commands by address: it leaves global entries, which
//!   CMD_TLBI_NH_VA invalidates whatever their ASID. CMD_TLBI_NH_ALL leaves none.

use crate::drivers::smmu_v3::{
    command::{
        opcode,
        Physical,
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
/// Above these bits all addresses of a translation table base are alike, so that a range which does
/// not cross them begins and ends in the same half of an address space. Ranges that would reach
/// from the lower half into the upper are not required to have an effect there.
const HALF_SHIFT: u32 = 52;

/// The fields of word 0 that make a range of an address.
const SPAN: u64 = NUM.mask() | SCALE.mask();

/// Addresses, `end` exclusive.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

/// A command that can take the place of two that follow each other without a CMD_SYNC between them,
/// and whose VMID is the same where they have one. `None` where there is none.
#[inline]
pub(crate) fn merged(first: Physical, second: Physical, features: &Features) -> Option<Physical> {
    let [word0, word1] = first.words();
    let [other0, other1] = second.words();
    // Opcode, VMID and ASID; leaf, level and granule.
    let differs = (word0 ^ other0) & !SPAN | (word1 ^ other1) & !ADDRESS.mask() != 0;
    let is_all = |word0| OPCODE.of(word0) == opcode::TLBI_NH_ALL;
    // Most pairs end here.
    if differs && !is_all(word0) && !is_all(other0)
        || !differs && !TG.is_set(word1) && first != second
    {
        return None;
    }
    merged_slowly(first, second, differs, features)
}

/// As [`merged`]; whether the commands differ in more than their range was found out.
fn merged_slowly(
    first: Physical,
    second: Physical,
    differs: bool,
    features: &Features,
) -> Option<Physical> {
    // What must be issued twice has to stay there twice.
    if features.repeat_erratum {
        return None;
    }
    if first == second {
        return Some(first);
    }
    if !differs {
        return ranges(first, second, features);
    }
    let all = [first, second]
        .into_iter()
        .find(|command| OPCODE.of(command.words()[0]) == opcode::TLBI_NH_ALL)?;
    let same_vmid = VMID.of(first.words()[0]) == VMID.of(second.words()[0]);
    (same_vmid && is_tlbi(first) && is_tlbi(second)).then_some(all)
}

/// The range that covers those of two commands that differ in nothing else. `None` for commands
/// that have no range.
fn ranges(first: Physical, second: Physical, features: &Features) -> Option<Physical> {
    let by_address = matches!(
        OPCODE.of(first.words()[0]),
        opcode::TLBI_NH_VA | opcode::TLBI_NH_VAA
    );
    if !by_address {
        return None;
    }
    let max_scale = if features.ds { MAX_SCALE_DS } else { MAX_SCALE };
    let union = union(range(first, max_scale)?, range(second, max_scale)?)?;
    encode(first, union, max_scale)
}

/// Whether it is about an address space.
fn is_tlbi(command: Physical) -> bool {
    matches!(
        OPCODE.of(command.words()[0]),
        opcode::TLBI_NH_ALL | opcode::TLBI_NH_ASID | opcode::TLBI_NH_VA | opcode::TLBI_NH_VAA
    )
}

/// log2 of the granule in bytes, and of what an entry at the level covers. `None` without a
/// granule.
fn shifts(command: Physical) -> Option<(u32, u32)> {
    let word1 = command.words()[1];
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
    Some((granule, entry))
}

/// What a command by address invalidates, in whole entries of its level. `None` for one that is not
/// by address or has no granule, and where what it invalidates is UNPREDICTABLE.
fn range(command: Physical, max_scale: u64) -> Option<Range> {
    let (granule, entry) = shifts(command)?;
    let [word0, word1] = command.words();
    let entry = 1u64 << entry;
    let start = word1 & ADDRESS.mask();
    let scale = SCALE.of(word0);
    if start & (entry - 1) != 0 || scale > max_scale {
        return None;
    }
    // It cannot overflow: 2^(5 + 39 + 16) at most.
    let length = (NUM.of(word0) + 1) << scale << granule;
    let end = start.checked_add(length)?.checked_next_multiple_of(entry)?;
    Some(Range { start, end })
}

/// All that is in either range. `None` where something lies between them, and for a result that is
/// not within one half of an address space.
fn union(one: Range, other: Range) -> Option<Range> {
    let start = one.start.min(other.start);
    let end = one.end.max(other.end);
    let touch = one.start <= other.end && other.start <= one.end;
    (touch && start >> HALF_SHIFT == (end - 1) >> HALF_SHIFT).then_some(Range { start, end })
}

/// `like` with a range that covers `range`. `None` where there is no such range.
fn encode(like: Physical, range: Range, max_scale: u64) -> Option<Physical> {
    let (granule, _) = shifts(like)?;
    let [word0, word1] = like.words();
    let granules = (range.end - range.start) >> granule;
    // The smallest for which NUM + 1 has room for the rest.
    let bits = u64::BITS - granules.checked_sub(1)?.leading_zeros();
    let scale = bits.saturating_sub(MAX_TIMES_LOG2);
    let num = granules.div_ceil(1 << scale).checked_sub(1)?;
    let scale = u64::from(scale);
    // One granule without a level is reserved.
    if scale > max_scale || (num == 0 && scale == 0 && !TTL.is_set(word1)) {
        return None;
    }
    Some(Physical([
        SCALE.put(NUM.put(word0, num), scale),
        (word1 & !ADDRESS.mask()) | range.start,
    ]))
}
