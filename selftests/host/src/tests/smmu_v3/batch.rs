// SPDX-License-Identifier: GPL-2.0-only

//! Tests of batches: which commands are issued, in which order, which are waited for, and what is
//! returned to the caller.

use std::cell::{
    Cell,
    RefCell, //
};

use kernel::prelude::*;
use proptest::option;

use crate::{
    drivers::smmu_v3::{
        batch::{
            self,
            Source, //
        },
        command::{
            Physical,
            Rules,
            Words, //
        },
        features::Features,
        pending::{
            Smmus,
            Stream,
            MAX_ISSUED, //
        }, //
    },
    kapi::{
        array_vec::ArrayVec,
        iommu::invalidate::Invalidated, //
    },
    tests::{
        random::{
            for_all,
            made,
            with_list,
            Hex,
            Random, //
        },
        smmu_v3::{
            guest::{
                self,
                FULL,
                VSIDS, //
            },
            scope::{
                bits,
                with,
                AtcEntry,
                CdEntry, //
            }, //
        }, //
    }, //
};

/// Commands that were submitted to an SMMU in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    pub(super) smmu: usize,
    pub(super) commands: Vec<Words>,
    pub(super) sync: bool,
}

/// Mock SMMUs that record what is submitted to them.
pub(super) struct Recorder {
    pub(super) smmus: usize,
    pub(super) log: RefCell<Vec<Submission>>,
    /// The number of the first submission that fails; all later ones fail too.
    pub(super) fails_at: Option<usize>,
    /// An SMMU that completes no CMD_SYNC.
    pub(super) stuck: Option<usize>,
    /// Devices go away once so much was submitted.
    pub(super) leave_at: Cell<usize>,
}

impl Recorder {
    pub(super) fn new(smmus: usize) -> Self {
        Self {
            smmus,
            log: RefCell::new(Vec::new()),
            fails_at: None,
            stuck: None,
            leave_at: Cell::new(usize::MAX),
        }
    }

    pub(super) fn log(&self) -> Vec<Submission> {
        self.log.borrow().clone()
    }

    /// Returns every command that was submitted to an SMMU.
    pub(super) fn given(&self, smmu: usize) -> Vec<Words> {
        let log = self.log.borrow();
        let to_it = log.iter().filter(|submission| submission.smmu == smmu);
        to_it
            .flat_map(|submission| submission.commands.clone())
            .collect()
    }

    fn syncs(&self) -> usize {
        self.log()
            .iter()
            .filter(|submission| submission.sync)
            .count()
    }
}

/// The guest's VMID on each SMMU.
const VMIDS: [u16; 3] = [0x11, 0x22, 0x33];

/// A device with more streams than commands are issued at once. It is not one of [`VSIDS`].
pub(super) const VSID_OF_MANY: u32 = 0x1234_5678;
const MANY: [(usize, u32); 130] = {
    let mut streams = [(0, 0); 130];
    let mut nth = 0;
    while nth < streams.len() {
        streams[nth] = (0, 0x400 + nth as u32);
        nth += 1;
    }
    streams
};

/// Returns the streams of a guest's device, as pairs of SMMU and StreamID.
fn streams(smmus: usize, vsid: u32) -> &'static [(usize, u32)] {
    match (smmus, vsid) {
        (1, 0) => &[(0, 0x100)],
        (_, 0) => &[(1, 0x100)],
        // A device with several streams, behind both SMMUs if there are two.
        (1, 8) => &[(0, 0x200), (0, 0x201), (0, 0x208)],
        (_, 8) => &[(0, 0x200), (1, 0x201), (0, 0x208)],
        (_, 0xffff_ffff) => &[(0, 0x300)],
        (_, VSID_OF_MANY) => &MANY,
        _ => &[],
    }
}

impl Smmus for Recorder {
    fn count(&self) -> usize {
        self.smmus
    }

    fn vmid(&self, smmu: usize) -> u16 {
        VMIDS[smmu]
    }

    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        if self.log.borrow().len() >= self.leave_at.get() {
            return None;
        }
        let streams = streams(self.smmus, vsid);
        let (smmu, sid) = *streams.get(nth)?;
        Some(Stream {
            smmu,
            sid,
            last: nth + 1 == streams.len(),
        })
    }

    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result {
        assert!(commands.len() <= MAX_ISSUED);
        assert!(sync || !commands.is_empty(), "nothing is submitted");
        let mut log = self.log.borrow_mut();
        if self.fails_at.is_some_and(|place| log.len() >= place) {
            return Err(ETIMEDOUT);
        }
        log.push(Submission {
            smmu,
            commands: commands.iter().map(|command| (*command).into()).collect(),
            sync,
        });
        if sync && self.stuck == Some(smmu) {
            return Err(ETIMEDOUT);
        }
        Ok(())
    }
}

/// Commands in memory. Reading past the end fails.
pub(super) struct Memory<'a>(pub(super) &'a [Words]);

impl Source for Memory<'_> {
    fn read<const N: usize>(&mut self, block: &mut ArrayVec<Words, N>, len: usize) -> Result {
        block.clear();
        let (now, later) = self.0.split_at_checked(len).ok_or(EFAULT)?;
        assert!(now.iter().all(|words| block.push(*words)));
        self.0 = later;
        Ok(())
    }
}

pub(super) fn run(
    recorder: &Recorder,
    features: &Features,
    commands: &[Words],
    count: usize,
) -> Invalidated {
    let (rules, mut source) = (Rules::new(*features), Memory(commands));
    let outcome = batch::carry_out::<_, MAX_ISSUED>(recorder, &rules, &mut source, count as u32);
    if recorder.fails_at.is_none() {
        assert_eq!(outcome.submissions, Some(recorder.log().len() as u32));
    }
    outcome
}

/// Does the same as `run`, in blocks of one command.
fn run_by_one(recorder: &Recorder, features: &Features, commands: &[Words]) -> Invalidated {
    let (rules, mut source) = (Rules::new(*features), Memory(commands));
    batch::carry_out::<_, 1>(recorder, &rules, &mut source, commands.len() as u32)
}

/// Runs commands that are all valid.
fn run_all(recorder: &Recorder, features: &Features, commands: &[Words]) {
    let Invalidated { done, result, .. } = run(recorder, features, commands, commands.len());
    assert_eq!((done as usize, result), (commands.len(), Ok(())));
}

/// Returns CMD_TLBI_NH_VA for a page. Commands for different pages cannot be merged.
pub(super) fn page(number: usize) -> Words {
    with([0x12, 0], 127, 76, 3 * number as u64)
}

/// The same with granule and level, so that it can become a range with its neighbours.
fn page_of_granule(number: usize) -> Words {
    with(page(number), 75, 72, 0b0111)
}

#[test]
fn nothing_costs_nothing() {
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &[]);
    assert_eq!(recorder.log(), []);
}

#[test]
fn one_command_is_one_submission() {
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &[page(1)]);
    let commands = vec![with(page(1), 47, 32, 0x11)];
    let sync = true;
    assert_eq!(
        recorder.log(),
        [Submission {
            smmu: 0,
            commands,
            sync
        }]
    );
}

#[test]
fn a_batch_is_waited_for_once() {
    for count in [1, 62, 63, 64, 65, 126, 127, 4096] {
        let recorder = Recorder::new(1);
        let commands: Vec<_> = (0..count).map(page).collect();
        run_all(&recorder, &FULL, &commands);
        assert_eq!(recorder.given(0).len(), count);
        // With a CMD_SYNC they fit in a queue of 64.
        assert_eq!(recorder.log().len(), count.div_ceil(63));
        let last = recorder.log().pop().expect("it is not empty");
        assert!(last.sync && recorder.syncs() == 1);
    }
}

#[test]
fn classes_complete_in_order() {
    let (cd, tlb, atc) = ([0x05, 0], page(1), [0x40, 0]);
    // None is issued before one of a smaller class that came before it is complete.
    let orders: [(_, &[&[u64]]); 8] = [
        ([cd, tlb, atc], &[&[0x05], &[0x12], &[0x40]]),
        ([tlb, cd, atc], &[&[0x05], &[0x12], &[0x40]]),
        ([cd, atc, tlb], &[&[0x05], &[0x12, 0x40]]),
        ([tlb, atc, cd], &[&[0x12], &[0x05, 0x40]]),
        ([atc, cd, tlb], &[&[0x05], &[0x12, 0x40]]),
        ([atc, tlb, cd], &[&[0x12, 0x05, 0x40]]),
        // One that differs from another in the address alone.
        ([tlb, cd, page(2)], &[&[0x05], &[0x12, 0x12]]),
        (
            [page_of_granule(1), cd, page_of_granule(2)],
            &[&[0x05], &[0x12, 0x12]],
        ),
    ];
    for (commands, expected) in orders {
        let recorder = Recorder::new(1);
        run_all(&recorder, &FULL, &commands);
        let log = recorder.log();
        assert!(log.iter().all(|submission| submission.sync));
        let opcodes: Vec<Vec<_>> = log
            .iter()
            .map(|submission| {
                let commands = submission.commands.iter();
                commands.map(|command| bits(*command, 7, 0)).collect()
            })
            .collect();
        assert_eq!(opcodes, expected);
    }
    // CMD_TLBI_NH_ALL, which takes the place of others, waits for what these wait for.
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &[[0x10, 0], cd, tlb]);
    let issued: Vec<_> = recorder
        .given(0)
        .iter()
        .map(|words| words[0] & 0xff)
        .collect();
    assert_eq!((issued, recorder.syncs()), (vec![0x05, 0x10], 2));
    // However they alternate, each class is waited for once as long as its queue has room.
    let recorder = Recorder::new(1);
    let commands: Vec<_> = (0..96).map(|n| [tlb, atc, cd][n % 3]).collect();
    run_all(&recorder, &FULL, &commands);
    assert_eq!(recorder.syncs(), 3);
    // Commands that do not depend on each other share one CMD_SYNC.
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &[cd, cd, [0x06, 0]]);
    assert_eq!(recorder.syncs(), 1);
}

/// Returns the opcodes of each submission to the only SMMU.
fn opcodes(recorder: &Recorder) -> Vec<Vec<u64>> {
    let log = recorder.log();
    let opcodes = log.iter().map(|submission| {
        let commands = submission.commands.iter();
        commands.map(|command| bits(*command, 7, 0)).collect()
    });
    opcodes.collect()
}

#[test]
fn what_takes_the_place_of_others_does_so_until_it_is_issued() {
    // The commands for the caches of devices do not fit in their queue, so that CMD_TLBI_NH_ALL is
    // complete before the context descriptor is invalidated. The page may be cached anew by then.
    let mut commands = vec![[0x10, 0]];
    commands.extend([[0x40, 0]; 33]);
    commands.extend([[0x05, 0], page(1)]);
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &commands);
    let expected = [vec![0x10], vec![0x40; 32], vec![0x05], vec![0x12, 0x40]];
    assert_eq!(opcodes(&recorder), expected);
}

#[test]
fn what_does_not_fit_in_the_last_submission() {
    for count in [62, 63, 64, 126] {
        let mut commands: Vec<_> = [[0x40, 0]; 2].into();
        commands.extend((0..count).map(page));
        commands.extend([[0x05, 0]; 2]);
        let recorder = Recorder::new(1);
        run_all(&recorder, &FULL, &commands);
        let mut issued = opcodes(&recorder).concat();
        issued.sort();
        let expected = [vec![0x05; 2], vec![0x12; count], vec![0x40; 2]];
        assert_eq!(issued, expected.concat());
        assert_eq!(recorder.syncs(), 1);
    }
}

/// Asserts that the commands issued to the SMMUs invalidate everything that `commands` invalidate.
pub(super) fn check_scope(
    random: &mut Random,
    given: &Recorder,
    features: &Features,
    commands: &[Words],
) {
    let log: Vec<Vec<_>> = (0..given.smmus).map(|smmu| given.given(smmu)).collect();
    for _ in 0..60 {
        let smmu = random.within(0..=given.smmus as u64 - 1) as usize;
        let entry = guest::entry(random, VMIDS[smmu]);
        let ours = |command: &Words| {
            entry.must_go(with(*command, 47, 32, VMIDS[smmu].into()), features.ds)
        };
        if commands.iter().any(ours) {
            let gone = |command: &Words| entry.must_go(*command, features.ds);
            assert!(log[smmu].iter().any(gone), "{entry:x?} is left");
        }
        let vsid = *random.pick(&VSIDS);
        let (ssid, leaf) = (*random.pick(&[0, 1, 0xf_ffff]), random.one_in(2));
        let cd = |sid| CdEntry { sid, ssid, leaf };
        let address = guest::entry(random, 0).start;
        let ssid = random.one_in(2).then_some(ssid);
        let atc = |sid| AtcEntry { sid, ssid, address };
        for (smmu, sid) in streams(given.smmus, vsid) {
            if commands.iter().any(|command| cd(vsid).must_go(*command)) {
                let gone = log[*smmu].iter().any(|command| cd(*sid).must_go(*command));
                assert!(gone, "{:x?} is left", cd(*sid));
            }
            if commands.iter().any(|command| atc(vsid).must_go(*command)) {
                let gone = log[*smmu].iter().any(|command| atc(*sid).must_go(*command));
                assert!(gone, "{:x?} is left", atc(*sid));
            }
        }
    }
}

#[test]
fn nothing_is_lost_and_nobody_else_is_hit() {
    let inputs = with_list(|random| {
        let features = guest::features(random);
        let smmus = random.within(1..=2) as usize;
        let commands = guest::commands(random, &features, 200);
        (
            (features, smmus, random.one_in(4), random.number()),
            commands,
        )
    });
    for_all(3000, inputs, |(how, Hex(commands))| {
        let (features, smmus, by_one, seed) = how;
        let recorder = Recorder::new(smmus);
        if by_one {
            let count = commands.len();
            let Invalidated { done, result, .. } = run_by_one(&recorder, &features, &commands);
            assert_eq!((done as usize, result), (count, Ok(())));
        } else {
            run_all(&recorder, &features, &commands);
        }
        check_scope(&mut Random::from(seed), &recorder, &features, &commands);
        for smmu in 0..smmus {
            for command in recorder.given(smmu) {
                if (0x10..0x40).contains(&bits(command, 7, 0)) {
                    assert_ne!(bits(command, 7, 0), 0x30);
                    assert_eq!(bits(command, 47, 32), u64::from(VMIDS[smmu]));
                } else {
                    let mut ours = VSIDS.iter().flat_map(|vsid| streams(smmus, *vsid));
                    let sid = bits(command, 63, 32) as u32;
                    assert!(ours.any(|stream| *stream == (smmu, sid)));
                }
            }
        }
        // Every command that was issued was waited for.
        for smmu in 0..smmus {
            let log = recorder.log();
            let mut to_it = log.iter().rev().filter(|entry| entry.smmu == smmu);
            assert!(to_it.next().is_none_or(|last| last.sync));
        }
    });
}

#[test]
fn what_must_be_repeated_is_not_merged() {
    let features = Features {
        repeat_erratum: true,
        ..FULL
    };
    let recorder = Recorder::new(1);
    run_all(
        &recorder,
        &features,
        &[page(1), page(1), [0x10, 0], [0x10, 0]],
    );
    assert_eq!(recorder.given(0).len(), 4);
}

/// Checks that on each SMMU a CMD_SYNC is complete between two equal commands, which are not
/// CMD_ATC_INV.
fn check_repeated(recorder: &Recorder) {
    let mut since: Vec<(usize, Words)> = Vec::new();
    for submission in recorder.log() {
        let smmu = submission.smmu;
        for command in submission.commands {
            assert!(
                bits(command, 7, 0) == 0x40 || !since.contains(&(smmu, command)),
                "{command:x?} again"
            );
            since.push((smmu, command));
        }
        if submission.sync {
            since.retain(|(other, _)| *other != smmu);
        }
    }
}

#[test]
fn what_is_repeated_is_waited_for_before() {
    let features = Features {
        repeat_erratum: true,
        ..FULL
    };
    let (cd, asid) = ([0x05, 0], [0x11, 0]);
    let of_2 = |first: &[Words]| [first, first].concat();
    let pages: Vec<_> = (0..40).map(page_of_granule).collect();
    let batches = [
        vec![asid; 64],
        of_2(&[cd, asid]),
        of_2(&pages),
        // Equal for the SMMU, which has one VMID for both.
        vec![with(page(1), 47, 32, 7), with(page(1), 47, 32, 9)],
        vec![with(cd, 63, 32, 8); 100],
    ];
    for commands in batches {
        for smmus in 1..=3 {
            let recorder = Recorder::new(smmus);
            run_all(&recorder, &features, &commands);
            check_repeated(&recorder);
            // Everything is given as often as the guest asked for.
            let asked = commands.len();
            assert!((0..smmus).any(|smmu| recorder.given(smmu).len() >= asked));
        }
    }
    // Caches of devices need no repetition.
    let recorder = Recorder::new(1);
    run_all(&recorder, &features, &[[0x40, 0]; 20]);
    assert_eq!(recorder.syncs(), 1);
    // Commands that differ are waited for together.
    let recorder = Recorder::new(1);
    let commands: Vec<_> = (0..16).map(page).collect();
    run_all(&recorder, &features, &commands);
    assert_eq!(recorder.syncs(), 1);
}

#[test]
fn any_commands_that_are_repeated() {
    let inputs = with_list(|random| {
        let features = Features {
            repeat_erratum: true,
            ..guest::features(random)
        };
        let smmus = random.within(1..=3) as usize;
        let kinds = guest::commands(random, &features, 8);
        let commands = (0..random.within(1..=200)).map(|_| *random.pick(&kinds));
        let commands = commands.collect();
        ((features, smmus, random.number()), commands)
    });
    for_all(500, inputs, |((features, smmus, seed), Hex(commands))| {
        let recorder = Recorder::new(smmus);
        run_all(&recorder, &features, &commands);
        check_repeated(&recorder);
        check_scope(&mut Random::from(seed), &recorder, &features, &commands);
    });
}

#[test]
fn pages_in_a_row_are_few_commands() {
    let commands: Vec<_> = (0..4096u64)
        .map(|page| with(with([0x12, 0], 75, 72, 0b0111), 127, 76, page))
        .collect();
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &commands);
    assert_eq!(recorder.given(0).len(), 1);
    assert_eq!(recorder.log().len(), 1);
}

#[test]
fn several_smmus_are_all_given_work_before_one_is_waited_for() {
    let recorder = Recorder::new(2);
    run_all(&recorder, &FULL, &[page(1)]);
    let log = recorder.log();
    let steps: Vec<_> = log
        .iter()
        .map(|entry| (entry.smmu, entry.commands.len(), entry.sync))
        .collect();
    assert_eq!(
        steps,
        [(0, 1, false), (1, 1, false), (0, 0, true), (1, 0, true)]
    );
    // Commands for a device are issued to the device's SMMU only.
    let recorder = Recorder::new(2);
    run_all(&recorder, &FULL, &[[0x06, 0]]);
    let commands = vec![with([0x06, 0], 63, 32, 0x100)];
    let (smmu, sync) = (1, true);
    assert_eq!(
        recorder.log(),
        [Submission {
            smmu,
            commands,
            sync
        }]
    );
}

#[test]
fn every_stream_of_a_device() {
    let recorder = Recorder::new(1);
    run_all(&recorder, &FULL, &[with([0x06, 0], 63, 32, 8)]);
    let sids: Vec<_> = recorder
        .given(0)
        .iter()
        .map(|command| bits(*command, 63, 32))
        .collect();
    assert_eq!(sids, [0x200, 0x201, 0x208]);
}

#[test]
fn a_device_with_more_streams_than_are_issued_at_once() {
    let expected: Vec<_> = MANY.iter().map(|(_, sid)| u64::from(*sid)).collect();
    let command = with([0x06, 0], 63, 32, VSID_OF_MANY.into());
    let (alone, batch) = (Recorder::new(1), Recorder::new(1));
    let one = batch::carry_out_one(&alone, &Rules::new(FULL), command);
    assert_eq!((one.done, one.result), (1, Ok(())));
    run_all(&batch, &FULL, &[command]);
    for recorder in [alone, batch] {
        let commands = recorder.given(0);
        let sids: Vec<_> = commands.iter().map(|words| bits(*words, 63, 32)).collect();
        assert_eq!(sids, expected);
        assert_eq!(recorder.syncs(), 1);
    }
}

#[test]
fn one_command_alone_is_the_same() {
    let flipped = option::weighted(0.25, 0..64u32);
    let inputs = (made(guest::features_and_command), flipped);
    for_all(20_000, inputs, |((features, Hex(mut words)), flipped)| {
        words[0] ^= flipped.map_or(0, |bit| 1 << bit);
        let (alone, batch) = (Recorder::new(1), Recorder::new(1));
        let rules = Rules::new(features);
        let one = batch::carry_out_one(&alone, &rules, words);
        let outcome = run(&batch, &features, &[words], 1);
        assert_eq!(outcome.result, one.result);
        assert_eq!(outcome.done, one.done);
        assert_eq!(outcome.submissions, one.submissions);
        assert_eq!(alone.log(), batch.log());
    });
}

#[test]
fn what_several_smmus_have_in_common() {
    let inputs = made(|random| {
        let features = [guest::features(random), guest::features(random)];
        let common = features[0].common(&features[1]);
        let commands = [&features[0], &common].map(|features| guest::command(random, features));
        (features, Hex(commands))
    });
    for_all(1000, inputs, |(features, Hex([words, of_both]))| {
        let common = features[0].common(&features[1]);
        let rules = [common, features[0], features[1]].map(Rules::new);
        // What is valid for the vIOMMU is valid on each SMMU.
        if rules[0].check(words).is_ok() {
            assert!(rules.iter().all(|rules| rules.check(words).is_ok()));
        }
        assert!(rules.iter().all(|rules| rules.check(of_both).is_ok()));
        let erratum = features.iter().any(|features| features.repeat_erratum);
        assert_eq!(common.repeat_erratum, erratum);
    });
}
