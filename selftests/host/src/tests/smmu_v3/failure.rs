// SPDX-License-Identifier: GPL-2.0-only

//! Tests of batches that cannot be carried out as a whole: how many commands count as done, and
//! that what was issued is waited for.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        batch::{
            self,
            Source, //
        },
        command::{
            Rules,
            Words, //
        },
        pending::MAX_ISSUED, //
    },
    kapi::{
        array_vec::ArrayVec,
        iommu::invalidate::Invalidated, //
    },
    tests::{
        random::{
            cases,
            for_all,
            with_list,
            Hex,
            Random, //
        },
        smmu_v3::{
            absence::is_about_device,
            batch::{
                check_scope,
                page,
                run,
                Memory,
                Recorder,
                VSID_OF_MANY, //
            },
            guest::{
                self,
                FULL,
                VSIDS, //
            },
            scope::with, //
        }, //
    }, //
};

#[test]
fn an_invalid_command_anywhere() {
    let bad: [Words; 8] = [
        [0x46, 0],
        [0x03, 0],
        [0x12, 2],
        with([0x05, 0], 63, 32, 5),
        // What the merger begins with must not pass for a command.
        [0, 0],
        [0, 0x1000],
        [0, u64::MAX],
        [u64::MAX, u64::MAX],
    ];
    for bad in bad {
        for place in 0..=130 {
            let recorder = Recorder::new(1);
            // Of two address spaces in turn.
            let page = |number| with(page(number), 63, 48, number as u64 % 2);
            let mut commands: Vec<_> = (0..131).map(page).collect();
            commands[place] = bad;
            let Invalidated { done, result, .. } = run(&recorder, &FULL, &commands, 131);
            assert_eq!((done as usize, result), (place, Err(EIO)));
            // Only the commands before the invalid one were issued.
            let expected: Vec<_> = (0..place)
                .map(|number| with(page(number), 47, 32, 0x11))
                .collect();
            assert_eq!(recorder.given(0), expected);
            assert!(recorder.log().last().is_none_or(|last| last.sync));
        }
    }
}

/// Checks that with an invalid command at any place those before it are carried out as if there were
/// no others.
fn check_everywhere(random: &mut Random, smmus: usize, commands: &[Words]) {
    for place in 0..commands.len() {
        let (recorder, alone) = (Recorder::new(smmus), Recorder::new(smmus));
        let mut with_bad = commands.to_vec();
        with_bad[place] = [0x46, 0];
        let Invalidated { done, result, .. } = run(&recorder, &FULL, &with_bad, commands.len());
        assert_eq!((done as usize, result), (place, Err(EIO)));
        let before = &commands[..place];
        let Invalidated { done, result, .. } = run(&alone, &FULL, before, place);
        assert_eq!((done as usize, result), (place, Ok(())));
        assert_eq!(recorder.log(), alone.log());
        check_scope(random, &recorder, &FULL, before);
        for smmu in 0..smmus {
            let log = recorder.log();
            let mut to_it = log.iter().rev().filter(|entry| entry.smmu == smmu);
            assert!(to_it.next().is_none_or(|last| last.sync));
        }
    }
}

#[test]
fn an_invalid_command_anywhere_among_ranges_and_classes() {
    cases(4, |random| {
        let rows: Vec<_> = (0..131u64)
            .map(|page| with(with([0x12, 0], 75, 72, 0b0111), 127, 76, page))
            .collect();
        let in_turn: Vec<_> = (0..131)
            .map(|number| match number % 4 {
                0 => with([0x05, 0], 63, 32, 8),
                1 => rows[number],
                2 => with([0x40, 0], 63, 32, 8),
                _ => with(page(number), 63, 48, number as u64 % 2),
            })
            .collect();
        let mixed: Vec<_> = (0..131).map(|_| guest::command(random, &FULL)).collect();
        for smmus in 1..=2 {
            for commands in [&rows, &in_turn, &mixed] {
                check_everywhere(random, smmus, commands);
            }
        }
    });
}

#[test]
fn memory_that_cannot_be_read() {
    for readable in [0, 1, 63, 64, 65, 128, 200] {
        let recorder = Recorder::new(1);
        let commands: Vec<_> = (0..readable).map(page).collect();
        let Invalidated { done, result, .. } = run(&recorder, &FULL, &commands, 300);
        assert_eq!((done as usize, result), (readable, Err(EFAULT)));
        assert_eq!(recorder.given(0).len(), readable);
        assert!(recorder.log().last().is_none_or(|last| last.sync));
    }
}

#[test]
fn an_smmu_that_fails() {
    let inputs = with_list(|random| {
        let smmus = random.within(1..=2) as usize;
        let fails_at = random.within(0..=12) as usize;
        let commands = guest::commands(random, &FULL, 500);
        ((smmus, fails_at, random.number()), commands)
    });
    for_all(2000, inputs, |((smmus, fails_at, seed), Hex(commands))| {
        let mut recorder = Recorder::new(smmus);
        recorder.fails_at = Some(fails_at);
        let count = commands.len();
        let Invalidated { done, result, .. } = run(&recorder, &FULL, &commands, count);
        if result == Ok(()) {
            assert_eq!(done as usize, count);
            return;
        }
        assert_eq!(result, Err(ETIMEDOUT));
        // The commands that are reported as complete were issued and waited for.
        let mut complete = Recorder::new(smmus);
        for smmu in 0..smmus {
            let log = recorder.log();
            let last = log
                .iter()
                .rposition(|entry| entry.smmu == smmu && entry.sync);
            let waited_for = &log[..last.map_or(0, |last| last + 1)];
            complete.log.get_mut().extend_from_slice(waited_for);
        }
        let before = &commands[..done as usize];
        check_scope(&mut Random::from(seed), &complete, &FULL, before);
    });
}

#[test]
fn what_was_waited_for_is_done() {
    // Each command is waited for before the next one is issued.
    let commands = [[0x05, 0], page(1), [0x40, 0]];
    for fails_at in 0..=2 {
        let mut recorder = Recorder::new(1);
        recorder.fails_at = Some(fails_at);
        let Invalidated { done, result, .. } = run(&recorder, &FULL, &commands, 3);
        assert_eq!((done as usize, result), (fails_at, Err(ETIMEDOUT)));
    }
    // The class that came last is waited for last, whatever the others are about.
    let mut recorder = Recorder::new(1);
    recorder.fails_at = Some(1);
    let commands = [page(1), page(2), [0x40, 0], page(3)];
    let Invalidated { done, result, .. } = run(&recorder, &FULL, &commands, 4);
    assert_eq!((done, result), (2, Err(ETIMEDOUT)));
}

#[test]
fn an_smmu_that_is_stuck_does_not_keep_others_from_being_waited_for() {
    for stuck in 0..=2 {
        for commands in [&[page(1)][..], &[[0x05, 0], page(1)], &[page(1), [0x40, 0]]] {
            let mut recorder = Recorder::new(3);
            recorder.stuck = Some(stuck);
            let count = commands.len();
            let Invalidated { done, result, .. } = run(&recorder, &FULL, commands, count);
            assert_eq!(result, Err(ETIMEDOUT));
            assert!((done as usize) < count);
            let log = recorder.log();
            for smmu in 0..=2 {
                let mut to_it = log.iter().rev().filter(|entry| entry.smmu == smmu);
                assert!(to_it.next().is_none_or(|last| last.sync), "{log:x?}");
            }
        }
    }
}

#[test]
fn a_device_that_goes_away_when_commands_were_issued() {
    let commands = [[0x05, 0]; 200];
    for leave_at in 1..=6 {
        let recorder = Recorder::new(1);
        recorder.leave_at.set(leave_at);
        let Invalidated { done, result, .. } = run(&recorder, &FULL, &commands, 200);
        // 32 commands are issued when there is one more, which is accepted and not needed then.
        let issued = leave_at * 32;
        assert_eq!((done as usize, result), (issued + 1, Err(EIO)));
        assert_eq!(recorder.given(0).len(), issued);
        assert!(recorder.log().last().is_some_and(|last| last.sync));
    }
    // It has more streams than are issued at once.
    let command = with([0x05, 0], 63, 32, VSID_OF_MANY.into());
    let (alone, batch) = (Recorder::new(1), Recorder::new(1));
    for recorder in [&alone, &batch] {
        recorder.leave_at.set(1);
    }
    let one = batch::carry_out_one(&alone, &Rules::new(FULL), command);
    let outcome = run(&batch, &FULL, &[command], 1);
    for outcome in [one, outcome] {
        assert_eq!((outcome.done, outcome.result), (1, Ok(())));
    }
    assert_eq!(alone.log(), batch.log());
    assert_eq!(alone.given(0).len(), MAX_ISSUED);
    assert!(alone.log().last().is_some_and(|last| last.sync));
}

/// Commands in memory. Devices go away when a block is read.
struct Leaving<'a> {
    memory: Memory<'a>,
    recorder: &'a Recorder,
    /// How many blocks are read before.
    blocks: usize,
}

impl Source for Leaving<'_> {
    fn read<const N: usize>(&mut self, block: &mut ArrayVec<Words, N>, len: usize) -> Result {
        match self.blocks.checked_sub(1) {
            Some(blocks) => self.blocks = blocks,
            None => self.recorder.leave_at.set(self.recorder.log().len()),
        }
        self.memory.read(block, len)
    }
}

#[test]
fn a_device_that_goes_away_when_memory_is_read() {
    let about = |opcode, number: usize| {
        let vsid = VSIDS[number / 4 % VSIDS.len()];
        with([opcode, 0], 63, 32, vsid.into())
    };
    let kinds: [&dyn Fn(usize) -> Words; 4] = [
        &|number| about(0x05, number),
        &|number| about(0x40, number),
        &|number| match number % 4 {
            0 => about(0x05, number),
            2 => about(0x40, number),
            _ => page(number),
        },
        // The last one of a block is not about a device.
        &|number| match number % MAX_ISSUED {
            62 => page(number),
            _ => about(0x06, number),
        },
    ];
    for (smmus, blocks) in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)] {
        for kind in kinds {
            let commands: Vec<_> = (0..250).map(kind).collect();
            let recorder = Recorder::new(smmus);
            let mut source = Leaving {
                memory: Memory(&commands),
                recorder: &recorder,
                blocks,
            };
            let rules = Rules::new(FULL);
            let outcome = batch::carry_out::<_, MAX_ISSUED>(&recorder, &rules, &mut source, 250);
            // The first one about a device that was read then is not valid.
            let mut since = blocks * MAX_ISSUED..250;
            let invalid = since.find(|number| is_about_device(commands[*number]));
            let invalid = invalid.expect("there is one");
            assert_eq!((outcome.done as usize, outcome.result), (invalid, Err(EIO)));
            let log = recorder.log();
            let (_, afterwards) = log.split_at(recorder.leave_at.get());
            let mut afterwards = afterwards.iter().flat_map(|entry| &entry.commands);
            assert!(!afterwards.any(|command| is_about_device(*command)));
            let pages = |commands: &[Words]| {
                let others = commands
                    .iter()
                    .filter(|command| !is_about_device(**command));
                others.count()
            };
            for smmu in 0..smmus {
                assert_eq!(pages(&recorder.given(smmu)), pages(&commands[..invalid]));
                let mut to_it = log.iter().rev().filter(|entry| entry.smmu == smmu);
                assert!(to_it.next().is_none_or(|last| last.sync));
            }
        }
    }
}

#[test]
fn a_device_that_does_not_exist() {
    for opcode in [0x05, 0x06, 0x40] {
        let command = with([opcode, 0], 63, 32, 7);
        let recorder = Recorder::new(1);
        let alone = batch::carry_out_one(&recorder, &Rules::new(FULL), command);
        assert_eq!((alone.done, alone.result), (0, Err(EIO)));
        let outcome = run(&recorder, &FULL, &[command], 1);
        assert_eq!((outcome.done, outcome.result), (0, Err(EIO)));
        assert_eq!(recorder.log(), []);
    }
}
