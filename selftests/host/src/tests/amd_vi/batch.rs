// SPDX-License-Identifier: GPL-2.0-only

//! Batches: what is submitted, and what is returned to the caller.

use std::cell::{
    Cell,
    RefCell, //
};

use kernel::prelude::*;

use crate::{
    drivers::amd_vi::{
        batch::{
            self,
            Iommus,
            Lane,
            Source, //
        },
        command::{
            Device,
            Physical,
            Words, //
        }, //
    },
    tests::{
        amd_vi::{
            bits,
            command::{
                range,
                with_pasid, //
            },
            guest,
            with,
            FULL, //
        },
        random::{
            for_all,
            with_list,
            Hex, //
        }, //
    }, //
};

/// Commands in memory, of which the one with number `bad` cannot be read.
pub(super) struct Memory<'a> {
    pub(super) commands: &'a [Words],
    pub(super) next: usize,
    pub(super) bad: Option<usize>,
}

impl Source for Memory<'_> {
    fn read(&mut self, block: &mut [Words]) -> Result {
        let places = self.next..self.next + block.len();
        if self.bad.is_some_and(|bad| places.contains(&bad)) {
            return Err(EFAULT);
        }
        block.copy_from_slice(&self.commands[places.clone()]);
        self.next = places.end;
        Ok(())
    }
}

/// What happened at an IOMMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Submitted(usize, Vec<Words>),
    Waited(usize),
}

/// A domain that another task of the VMM may make meanwhile.
pub(super) const LATE: u16 = 9;

/// IOMMUs that record what they are given.
pub(super) struct Recorder {
    /// For each IOMMU, the guest's domains and the host's.
    pub(super) domains: Vec<Vec<(u16, u16)>>,
    pub(super) devices: Vec<Vec<(u16, Device)>>,
    pub(super) seen: RefCell<Vec<Seen>>,
    /// The submission, and the wait, that fails.
    pub(super) bad_submission: Option<usize>,
    pub(super) bad_wait: Option<usize>,
    /// How often domains and devices were looked up.
    pub(super) looked_up: Cell<usize>,
    /// Domains and devices go away once so much was submitted.
    pub(super) leave_at: usize,
    /// Devices have no ATS any more once so much was submitted.
    ats_until: usize,
    /// Domain [`LATE`] is there after so many look-ups.
    pub(super) appears_after: usize,
}

impl Recorder {
    pub(super) fn new(iommus: usize) -> Self {
        let host = |iommu: usize, guest: u16| 0x1000 * (iommu as u16 + 1) + guest;
        let device = |iommu: usize, guest: u16| Device {
            device_id: host(iommu, guest),
            queue_depth: 8,
            ats: guest & 8 != 0,
        };
        Self {
            domains: (0..iommus)
                .map(|iommu| {
                    [0, 1, 7, 0xfff]
                        .map(|guest| (guest, host(iommu, guest)))
                        .into()
                })
                .collect(),
            devices: (0..iommus)
                .map(|iommu| {
                    let ids = [0x10, 0x18].map(|id| id + 0x100 * iommu as u16);
                    ids.map(|id| (id, device(iommu, id))).into()
                })
                .collect(),
            seen: RefCell::default(),
            bad_submission: None,
            bad_wait: None,
            looked_up: Cell::new(0),
            leave_at: usize::MAX,
            ats_until: usize::MAX,
            appears_after: 0,
        }
    }

    /// Returns the submissions to an IOMMU.
    pub(super) fn submissions(&self, of: usize) -> Vec<Vec<Words>> {
        let seen = self.seen.borrow();
        let submitted = seen.iter().filter_map(|seen| match seen {
            Seen::Submitted(iommu, commands) if *iommu == of => Some(commands.clone()),
            _ => None,
        });
        submitted.collect()
    }

    fn look_up(&self) -> Option<()> {
        self.looked_up.set(self.looked_up.get() + 1);
        (self.submitted() < self.leave_at).then_some(())
    }

    /// Returns how many submissions there were.
    fn submitted(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Submitted(..)))
    }

    fn count(&self, of: impl Fn(&Seen) -> bool) -> usize {
        self.seen.borrow().iter().filter(|seen| of(seen)).count()
    }
}

impl Iommus for Recorder {
    fn domain(&self, iommu: usize, from: u16) -> Option<(u16, u16)> {
        let is_late = self.looked_up.get() < self.appears_after;
        self.look_up()?;
        self.domains[iommu]
            .iter()
            .find(|(guest, _)| *guest >= from && !(is_late && *guest == LATE))
            .copied()
    }

    fn device(&self, iommu: usize, from: u16) -> Option<(u16, Device)> {
        self.look_up()?;
        let (id, mut device) = *self.devices[iommu]
            .iter()
            .find(|(guest, _)| *guest >= from)?;
        device.ats &= self.submitted() < self.ats_until;
        Some((id, device))
    }

    fn submit(&self, iommu: usize, commands: &mut [Physical]) -> Result<u64> {
        let (_, commands) = commands.split_last().expect("there is room for the wait");
        assert!(!commands.is_empty() && commands.len() <= batch::MAX);
        let number = self.submitted();
        if self.bad_submission == Some(number) {
            return Err(EIO);
        }
        let words = commands.iter().map(|command| (*command).into()).collect();
        self.seen.borrow_mut().push(Seen::Submitted(iommu, words));
        Ok(number as u64)
    }

    fn wait(&self, iommu: usize, submission: u64) -> Result {
        let last = self.submissions(iommu).len();
        assert!(last > 0 && submission < self.seen.borrow().len() as u64);
        let number = self.count(|seen| matches!(seen, Seen::Waited(_)));
        self.seen.borrow_mut().push(Seen::Waited(iommu));
        if self.bad_wait == Some(number) {
            return Err(EIO);
        }
        Ok(())
    }
}

/// What is returned to the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) done: u32,
    pub(super) result: Result,
    pub(super) submissions: u32,
}

pub(super) fn carry_out<const N: usize>(
    iommus: &impl Iommus,
    count: usize,
    commands: &[Words],
    bad: Option<usize>,
) -> Outcome {
    let mut lanes: Vec<Lane<N>> = (0..count).map(|_| Lane::EMPTY).collect();
    let mut source = Memory {
        commands,
        next: 0,
        bad,
    };
    let count = commands.len() as u32;
    let made = batch::carry_out(iommus, &FULL, &mut lanes, &mut source, count);
    Outcome {
        done: made.done,
        result: made.result,
        submissions: made.submissions.expect("they are counted"),
    }
}

const FULL_LANE: usize = batch::MAX + 1;
const SHORT_LANE: usize = 17;

pub(super) fn run(recorder: &Recorder, commands: &[Words], bad: Option<usize>) -> Outcome {
    carry_out::<FULL_LANE>(recorder, recorder.domains.len(), commands, bad)
}

pub(super) fn pages(domain: u64, page: u64) -> Words {
    let words = with(with([0; 2], 63, 60, 3), 47, 32, domain);
    with(with_pasid(words, 5), 127, 76, page)
}

fn device_pages(device: u64, page: u64) -> Words {
    let words = with(with([0; 2], 63, 60, 4), 15, 0, device);
    with(with_pasid(words, 0), 127, 76, page)
}

const ALL: Words = [8 << 60, 0];

fn wait(flush: bool) -> Words {
    with([1 << 60, 0], 2, 2, u64::from(flush))
}

fn outcome(done: u32, result: Result, submissions: u32) -> Outcome {
    Outcome {
        done,
        result,
        submissions,
    }
}

#[test]
fn submissions_and_waits() {
    for (count, expected) in [
        (0, 0),
        (1, 1),
        (15, 1),
        (16, 1),
        (17, 1),
        (63, 1),
        (64, 1),
        (65, 2),
        (128, 2),
        (129, 3),
        (300, 5),
        (4096, 64),
    ] {
        let recorder = Recorder::new(1);
        let commands: Vec<_> = (0..count).map(|page| pages(7, page * 2)).collect();
        let result = run(&recorder, &commands, None);
        assert_eq!(result, outcome(count as u32, Ok(()), expected));
        assert_eq!(
            recorder.count(|seen| *seen == Seen::Waited(0)),
            expected as usize
        );
        let given = recorder.submissions(0).concat();
        let wanted: Vec<_> = commands
            .iter()
            .map(|words| with(*words, 47, 32, 0x1007))
            .collect();
        assert_eq!(given, wanted);
    }
}

#[test]
fn commands_that_fail() {
    let unreadable = pages(7, 0);
    for place in [0, 1, 15, 16, 17, 63, 64, 65, 299] {
        for (bad, error) in [
            (with(pages(7, 0), 60, 60, 0), EIO),
            ([0, 0], EIO),
            (pages(8, 0), ENOENT),
            (device_pages(0x11, 0), ENOENT),
            (with([0; 2], 63, 60, 2), ENOENT),
            (unreadable, EFAULT),
        ] {
            let recorder = Recorder::new(1);
            let mut commands: Vec<_> = (0..300).map(|page| pages(7, page * 2)).collect();
            commands[place] = bad;
            let unread = (error == EFAULT).then_some(place);
            let result = run(&recorder, &commands, unread);
            assert_eq!((result.done, result.result), (place as u32, Err(error)));
            let given = recorder.submissions(0).concat().len();
            assert_eq!(given, place, "{error:?}");
            let waits = recorder.count(|seen| *seen == Seen::Waited(0));
            assert_eq!(waits, recorder.submissions(0).len());
        }
    }
}

#[test]
fn iommus_that_fail() {
    for number in 0..5 {
        let commands: Vec<_> = (0..300).map(|page| pages(7, page * 2)).collect();
        let mut recorder = Recorder::new(1);
        recorder.bad_submission = Some(number);
        let result = run(&recorder, &commands, None);
        assert_eq!(result, outcome(64 * number as u32, Err(EIO), number as u32));
        let mut recorder = Recorder::new(1);
        recorder.bad_wait = Some(number);
        let result = run(&recorder, &commands, None);
        assert_eq!(
            result,
            outcome(64 * number as u32, Err(EIO), number as u32 + 1)
        );
    }
    // The other IOMMU is waited for nevertheless.
    let mut recorder = Recorder::new(2);
    recorder.bad_wait = Some(0);
    let result = run(&recorder, &[pages(7, 0)], None);
    assert_eq!(result, outcome(0, Err(EIO), 2));
    assert_eq!(recorder.count(|seen| *seen == Seen::Waited(1)), 1);
    let mut recorder = Recorder::new(2);
    recorder.bad_submission = Some(1);
    let result = run(&recorder, &[pages(7, 0)], None);
    assert_eq!(result, outcome(0, Err(EIO), 1));
    assert_eq!(recorder.count(|seen| *seen == Seen::Waited(0)), 1);
}

#[test]
fn completion_waits() {
    let commands = [
        pages(7, 0),
        wait(false),
        pages(7, 2),
        wait(true),
        pages(7, 3),
        wait(true),
    ];
    let recorder = Recorder::new(1);
    assert_eq!(run(&recorder, &commands, None), outcome(6, Ok(()), 2));
    let lengths: Vec<_> = recorder.submissions(0).iter().map(Vec::len).collect();
    assert_eq!(lengths, [2, 1]);
    // A wait that the IOMMU does not complete is not done.
    let mut recorder = Recorder::new(1);
    recorder.bad_wait = Some(0);
    assert_eq!(run(&recorder, &commands, None), outcome(0, Err(EIO), 1));
    let mut recorder = Recorder::new(1);
    recorder.bad_wait = Some(1);
    assert_eq!(run(&recorder, &commands, None), outcome(3, Err(EIO), 2));
    // Waits alone need no submission.
    let recorder = Recorder::new(1);
    assert_eq!(
        run(&recorder, &[wait(true), wait(false)], None),
        outcome(2, Ok(()), 0)
    );
}

#[test]
fn domains_and_devices_are_looked_up_once_a_block() {
    let commands = |nth: &dyn Fn(u64) -> Words| -> Vec<_> { (0..200).map(nth).collect() };
    // Blocks are of 64 commands. A full lane is looked at with the first command of the next block, which may merge;
    // when it was waited for the domain is looked up again.
    for (commands, looked_up) in [
        (commands(&|page| pages(7, page * 2)), 4 + 3),
        (commands(&|page| device_pages(0x18, page)), 4),
        (
            commands(&|page| match page % 2 {
                0 => pages(7, page * 2),
                _ => device_pages(0x18, page),
            }),
            2 * 4,
        ),
    ] {
        let recorder = Recorder::new(1);
        assert_eq!(run(&recorder, &commands, None), outcome(200, Ok(()), 4));
        assert_eq!(recorder.looked_up.get(), looked_up);
        // They go away with the first submission, after which they are looked up again.
        let mut recorder = Recorder::new(1);
        recorder.leave_at = 1;
        let expected = outcome(64, Err(ENOENT), 1);
        assert_eq!(run(&recorder, &commands, None), expected);
    }
    // Others in turn are looked up again.
    let recorder = Recorder::new(1);
    let in_turn: Vec<_> = (0..64)
        .map(|n| pages([1, 7][n as usize % 2], n * 2))
        .collect();
    assert_eq!(run(&recorder, &in_turn, None), outcome(64, Ok(()), 1));
    assert_eq!(recorder.looked_up.get(), 64);
    let hosts: Vec<_> = recorder.submissions(0).concat();
    let hosts: Vec<_> = hosts.iter().map(|words| bits(words, 47, 32)).collect();
    assert_eq!(hosts, [0x1001, 0x1007].repeat(32));
}

/// A device stops using ATS while commands are waited for: what comes after is not for its TLB.
#[test]
fn ats_ends_during_a_wait() {
    let is_device_pages = |words: &Words| bits(words, 63, 60) == 4;
    let waits: Vec<_> = (0..31)
        .flat_map(|page| [pages(7, 2 * page), wait(true)])
        .collect();
    let full: Vec<_> = (0..63).map(|page| pages(7, 2 * page)).collect();
    for between in [waits, full] {
        let device = device_pages(0x18, 1);
        let commands: Vec<_> = [device]
            .into_iter()
            .chain(between)
            .chain([device])
            .collect();
        let mut recorder = Recorder::new(1);
        recorder.ats_until = 1;
        let result = run(&recorder, &commands, None);
        assert_eq!(
            (result.done as usize, result.result),
            (commands.len(), Ok(()))
        );
        let submissions = recorder.submissions(0);
        assert_eq!(
            submissions[0].iter().filter(|w| is_device_pages(w)).count(),
            1
        );
        let later = submissions[1..].concat();
        assert!(!later.iter().any(|words| is_device_pages(words)));
    }
}

/// Commands in memory. While they are read no command for the TLB of a device is waiting.
struct Watching<'a>(Memory<'a>, &'a Recorder);

impl Source for Watching<'_> {
    fn read(&mut self, block: &mut [Words]) -> Result {
        let of = |words: &[Words]| {
            words
                .iter()
                .filter(|words| bits(*words, 63, 60) == 4)
                .count()
        };
        let given: usize = (0..self.1.devices.len())
            .map(|iommu| of(&self.1.submissions(iommu).concat()))
            .sum();
        assert_eq!(given, of(&self.0.commands[..self.0.next]));
        self.0.read(block)
    }
}

#[test]
fn no_command_for_a_device_waits_for_memory() {
    for iommus in [1, 2] {
        for place in 0..200 {
            // All others become one.
            let mut commands: Vec<_> = (0..200).map(|page| pages(7, page)).collect();
            commands[place] = device_pages(0x18, 1);
            let recorder = Recorder::new(iommus);
            let mut lanes: Vec<Lane<FULL_LANE>> = (0..iommus).map(|_| Lane::EMPTY).collect();
            let memory = Memory {
                commands: &commands,
                next: 0,
                bad: None,
            };
            let mut source = Watching(memory, &recorder);
            let made = batch::carry_out(&recorder, &FULL, &mut lanes, &mut source, 200);
            assert_eq!((made.done, made.result), (200, Ok(())));
            // The block that has the command is submitted by itself.
            let submissions = recorder.submissions(0).len();
            assert_eq!(submissions, if place < 192 { 2 } else { 1 });
        }
    }
}

#[test]
fn devices_without_ats_have_nothing_cached() {
    let recorder = Recorder::new(1);
    assert_eq!(
        run(&recorder, &[device_pages(0x10, 1)], None),
        outcome(1, Ok(()), 0)
    );
    assert_eq!(
        run(&recorder, &[device_pages(0x18, 1)], None),
        outcome(1, Ok(()), 1)
    );
    let given = recorder.submissions(0).concat();
    assert_eq!(
        (bits(&given[0], 15, 0), bits(&given[0], 47, 32)),
        (0x1018, 0x1018)
    );
    assert_eq!(bits(&given[0], 31, 24), 8);
}

/// By a PASID no device has anything cached, with ATS either; the command need not be answered.
#[test]
fn devices_have_nothing_cached_by_a_pasid() {
    let recorder = Recorder::new(1);
    let of = |pasid| with_pasid(device_pages(0x18, 1), pasid);
    let commands = [
        of(0),
        of(1),
        of(0xf_ffff),
        device_pages(0x18, 2),
        of(1 << 8),
    ];
    assert_eq!(run(&recorder, &commands, None), outcome(5, Ok(()), 1));
    let given = recorder.submissions(0).concat();
    let pages: Vec<_> = given.iter().map(|words| bits(words, 127, 76)).collect();
    assert_eq!(pages, [1, 2]);
    // One of a device that the guest does not have is refused all the same.
    let command = with_pasid(device_pages(0x11, 1), 5);
    assert_eq!(run(&recorder, &[command], None).result, Err(ENOENT));
}

#[test]
fn all_is_all_of_the_guest_once() {
    for iommus in 1..=3 {
        let recorder = Recorder::new(iommus);
        let result = run(&recorder, &[ALL, pages(7, 0), ALL], None);
        assert_eq!(result, outcome(3, Ok(()), iommus as u32));
        for iommu in 0..iommus {
            let given = recorder.submissions(iommu).concat();
            let (devices, rest) = given.split_at(2);
            let (domains, last) = rest.split_at(4);
            let ids =
                |of: &[(u16, Device)]| of.iter().map(|(_, device)| device.device_id).collect();
            let expected: Vec<u16> = ids(&recorder.devices[iommu]);
            let given: Vec<_> = devices
                .iter()
                .map(|words| bits(words, 15, 0) as u16)
                .collect();
            assert_eq!(given, expected);
            for (words, (_, host)) in domains.iter().zip(&recorder.domains[iommu]) {
                assert_eq!(bits(words, 47, 32), u64::from(*host));
                assert_eq!((bits(words, 66, 64), range(*words)), (3, (0, 1 << 52)));
            }
            assert_eq!(last.len(), 1);
        }
    }
    // More than there is room for.
    let mut recorder = Recorder::new(1);
    recorder.domains[0] = (0..=u16::MAX).map(|id| (id, !id)).collect();
    let result = run(&recorder, &[ALL], None);
    assert_eq!(result, outcome(1, Ok(()), (65536 + 2u32).div_ceil(64)));
    // It is not done if a part of it fails.
    let mut recorder = Recorder::new(1);
    recorder.domains[0] = (0..200).map(|id| (id, !id)).collect();
    recorder.bad_wait = Some(1);
    assert_eq!(
        run(&recorder, &[pages(7, 0), ALL], None),
        outcome(1, Err(EIO), 2)
    );
}

#[test]
fn each_iommu_gets_what_concerns_it() {
    let recorder = Recorder::new(2);
    let entry = |device| with(with([0; 2], 63, 60, 2), 15, 0, device);
    let commands = [
        pages(1, 4),
        device_pages(0x118, 4),
        entry(0x110),
        device_pages(0x18, 5),
    ];
    assert_eq!(run(&recorder, &commands, None), outcome(4, Ok(()), 2));
    let ids = |iommu| -> Vec<_> {
        let given = recorder.submissions(iommu).concat();
        let id = |words: &Words| match bits(words, 63, 60) {
            3 => bits(words, 47, 32),
            _ => bits(words, 15, 0),
        };
        given.iter().map(id).collect()
    };
    assert_eq!(ids(0), [0x1001, 0x1018]);
    assert_eq!(ids(1), [0x2001, 0x2118, 0x2110]);
    // All are given their commands before any is waited for.
    let seen = recorder.seen.borrow();
    assert!(matches!(
        seen.as_slice(),
        [
            Seen::Submitted(0, _),
            Seen::Submitted(1, _),
            Seen::Waited(0),
            Seen::Waited(1)
        ]
    ));
}

/// Whatever a guest issues, an IOMMU is given only commands that it knows, about the guest's
/// domains and devices.
#[test]
fn nothing_of_others() {
    let inputs = with_list(|random| {
        let iommus = random.within(1..=3) as usize;
        let count = random.within(1..=40);
        let commands = (0..count).map(|_| guest::any_command(random));
        (iommus, commands.collect())
    });
    for_all(3_000, inputs, |(iommus, Hex(commands))| {
        let recorder = Recorder::new(iommus);
        let result = carry_out::<SHORT_LANE>(&recorder, iommus, &commands, None);
        assert!(result.done <= commands.len() as u32);
        assert_eq!(result.done == commands.len() as u32, result.result.is_ok());
        for iommu in 0..iommus {
            for words in recorder.submissions(iommu).concat() {
                guest::check_physical(&words);
                let device = |id: u64| {
                    let mut known = recorder.devices[iommu].iter();
                    known.any(|(_, device)| u64::from(device.device_id) == id)
                };
                match bits(&words, 63, 60) {
                    3 => {
                        let id = bits(&words, 47, 32);
                        let mut known = recorder.domains[iommu].iter();
                        assert!(known.any(|(_, host)| u64::from(*host) == id), "{words:x?}");
                    }
                    2 => assert!(device(bits(&words, 15, 0)), "{words:x?}"),
                    4 => {
                        assert!(device(bits(&words, 15, 0)), "{words:x?}");
                        assert_eq!(bits(&words, 15, 0), bits(&words, 47, 32));
                    }
                    other => panic!("opcode {other}"),
                }
            }
        }
    });
}
