// SPDX-License-Identifier: GPL-2.0-only

//! Fault queues: groups arrive, are read, answered, and taken back when an attachment ends.

use std::sync::Arc;

use loom::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};

use kernel::{
    prelude::*,
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::{
    hwpt::{
        fault::{
            self,
            FaultQueue, //
        },
        Tables, //
    },
    kapi::{
        file::{
            anon_file::{
                opened,
                Calls, //
            },
            file_ref::FileRef, //
        },
        iommu::iopf::{
            Answer,
            Answers,
            AttachmentId,
            FaultGroup, //
        },
        mm::user::UserStruct,
        uapi::{
            self,
            word, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    },
    tests::{
        at_once,
        every_order, //
    },
};

/// Bytes of a fault, and where its group and its cookie are.
const FAULT: usize = size_of::<uapi::HwptPgfault>();
const GROUP: usize = 12;
const COOKIE: usize = FAULT - 4;

/// Two attachments.
const ONE: AttachmentId = AttachmentId(1);
const OTHER: AttachmentId = AttachmentId(2);

struct Queue {
    _ctx: FileRef<Ctx>,
    tables: Tables,
    file: Arc<dyn Calls>,
    answers: Answers,
}

impl Clone for Queue {
    fn clone(&self) -> Self {
        Self {
            _ctx: self._ctx.clone(),
            tables: self.tables.clone(),
            file: self.file.clone(),
            answers: self.answers.clone(),
        }
    }
}

impl Queue {
    fn new() -> Self {
        let ctx = FileRef::new(Ctx::new());
        fault::alloc(&ctx, uapi::FaultAlloc::default(), &UserStruct).unwrap();
        let queue: Ref<FaultQueue> = ctx.objects().get(1).unwrap();
        Self {
            tables: Tables::new(queue),
            file: opened(),
            answers: Answers::default(),
            _ctx: ctx,
        }
    }

    /// A device reports a group of one fault.
    fn deliver(&self, attachment: AttachmentId, group: u32) {
        self.deliver_many(attachment, group, 1);
    }

    /// A device reports a group of faults.
    fn deliver_many(&self, attachment: AttachmentId, group: u32, faults: usize) {
        let group = FaultGroup::new(attachment, group, faults, &self.answers);
        self.tables.deliver(group);
    }

    /// Reads groups. Returns their numbers and cookies.
    fn read(&self, groups: usize, end: usize) -> Vec<(u32, u32)> {
        let mut to = UserSliceWriter::new(groups * FAULT, end);
        let Ok(length) = self.file.read(&mut to) else {
            return Vec::new();
        };
        let faults = to.written()[..length].chunks(FAULT);
        faults
            .map(|fault| (word(fault, GROUP), word(fault, COOKIE)))
            .collect()
    }

    /// Answers a group. Returns whether there is one with that cookie.
    fn respond(&self, cookie: u32) -> bool {
        let mut bytes = cookie.to_ne_bytes().to_vec();
        bytes.extend(uapi::fault::RESP_SUCCESS.to_ne_bytes());
        match self.file.write(&mut UserSliceReader::new(&bytes)) {
            Ok(length) => length == bytes.len(),
            Err(error) => {
                assert_eq!(error, EINVAL);
                false
            }
        }
    }

    /// The answers, sorted by group.
    fn answers(&self) -> Vec<(u32, Answer)> {
        let mut answers = self.answers.lock().unwrap().clone();
        answers.sort_by_key(|(group, _)| *group);
        answers
    }
}

/// Groups of two attachments arrive and are read and answered, while one of the attachments ends.
#[test]
fn each_group_is_answered_once() {
    every_order(Some(3), || {
        let queue = Queue::new();
        queue.deliver(ONE, 1);
        queue.deliver(OTHER, 2);
        let (reader, ender) = (queue.clone(), queue.clone());
        let answered = Arc::new(std::sync::Mutex::new(Vec::new()));
        let said = answered.clone();
        at_once!(
            move || {
                for (group, cookie) in reader.read(2, usize::MAX) {
                    if reader.respond(cookie) {
                        said.lock().unwrap().push(group);
                    }
                }
            };
            || ender.tables.end(ONE)
        );
        // The other one is there as long as its attachment.
        for (_, cookie) in queue.read(2, usize::MAX) {
            assert!(queue.respond(cookie));
        }
        let answers = queue.answers();
        let one = if answered.lock().unwrap().contains(&1) {
            Answer::Success
        } else {
            Answer::Invalid
        };
        assert_eq!(answers, [(1, one), (2, Answer::Success)]);
    });
}

/// Two readers: each group goes to one, in the order of arrival, with a cookie of its own.
#[test]
fn a_group_is_read_once() {
    every_order(Some(3), || {
        let queue = Queue::new();
        queue.deliver(ONE, 1);
        let (device, reader) = (queue.clone(), queue.clone());
        let others = Arc::new(std::sync::Mutex::new(Vec::new()));
        let said = others.clone();
        let mut seen = Vec::new();
        at_once!(
            move || device.deliver(ONE, 2),
            move || {
                let read = reader.read(1, usize::MAX);
                said.lock().unwrap().extend(read);
            };
            || seen.extend(queue.read(1, usize::MAX))
        );
        seen.extend(queue.read(4, usize::MAX));
        seen.extend(others.lock().unwrap().iter());
        seen.sort_unstable();
        let groups: Vec<u32> = seen.iter().map(|(group, _)| *group).collect();
        assert_eq!(groups, [1, 2]);
        assert!(seen[0].1 != seen[1].1);
        for (_, cookie) in seen {
            assert!(queue.respond(cookie));
            assert!(!queue.respond(cookie));
        }
        assert_eq!(
            queue.answers(),
            [(1, Answer::Success), (2, Answer::Success)]
        );
    });
}

/// A group that cannot be copied waits again, before those that arrive meanwhile, or is answered by the
/// end of its attachment.
#[test]
fn a_group_that_cannot_be_copied_waits() {
    every_order(None, || {
        let queue = Queue::new();
        queue.deliver(ONE, 1);
        let device = queue.clone();
        at_once!(
            move || device.deliver(ONE, 2);
            || assert!(queue.read(1, FAULT - 1).is_empty())
        );
        let read = queue.read(2, usize::MAX);
        let groups: Vec<u32> = read.iter().map(|(group, _)| *group).collect();
        assert_eq!(groups, [1, 2]);
        queue.tables.end(ONE);
        assert_eq!(
            queue.answers(),
            [(1, Answer::Invalid), (2, Answer::Invalid)]
        );
    });
}

/// A task that polls while a group is copied in vain finds nothing. It is woken when the group waits again.
#[test]
fn a_group_that_waits_again_wakes() {
    every_order(None, || {
        let queue = Queue::new();
        queue.deliver(ONE, 1);
        let other = queue.clone();
        let mut slept_at = None;
        at_once!(
            move || assert!(other.read(1, FAULT - 1).is_empty());
            || {
                let woken = queue.file.woken();
                slept_at = (!queue.file.is_readable()).then_some(woken);
            }
        );
        assert!(queue.file.is_readable());
        assert!(slept_at.is_none_or(|woken| queue.file.woken() > woken));
        queue.tables.end(ONE);
    });
}

/// A group is delivered while its attachment ends, which `handle_fault()` of `kapi/iommu/iopf.rs` looks at
/// afterwards: one of the two answers it.
#[test]
fn a_group_is_delivered_while_its_attachment_ends() {
    every_order(None, || {
        let queue = Queue::new();
        let (device, ended) = (queue.clone(), Arc::new(AtomicBool::new(false)));
        let has_ended = ended.clone();
        at_once!(
            move || {
                device.deliver(ONE, 1);
                if has_ended.load(Relaxed) {
                    device.tables.end(ONE);
                }
            };
            || {
                ended.store(true, Relaxed);
                queue.tables.end(ONE);
            }
        );
        assert_eq!(queue.answers(), [(1, Answer::Invalid)]);
        assert!(!queue.file.is_readable());
    });
}

/// An attachment ends while its group is being read: the group is answered, and no cookie names it.
#[test]
fn an_attachment_ends_while_its_group_is_read() {
    for end in [0, usize::MAX] {
        every_order(None, move || {
            let queue = Queue::new();
            queue.deliver(ONE, 1);
            let other = queue.clone();
            let mut read = Vec::new();
            at_once!(
                move || other.tables.end(ONE);
                || read.extend(queue.read(1, end))
            );
            assert_eq!(queue.answers(), [(1, Answer::Invalid)]);
            for (_, cookie) in read {
                assert!(!queue.respond(cookie));
            }
            assert!(!queue.file.is_readable());
        });
    }
}

/// An attachment ends while its group is being read, whose faults are copied in several steps: all of
/// them are read, or none.
#[test]
fn a_group_that_ends_is_not_read_in_part() {
    const MANY: usize = 40;

    every_order(None, || {
        let queue = Queue::new();
        queue.deliver_many(ONE, 1, MANY);
        queue.deliver(OTHER, 2);
        let other = queue.clone();
        let mut read = Vec::new();
        at_once!(
            move || other.tables.end(ONE);
            || read.extend(queue.read(MANY + 1, usize::MAX))
        );
        read.extend(queue.read(1, usize::MAX));
        let groups: Vec<u32> = read.iter().map(|(group, _)| *group).collect();
        let mut whole = vec![1; MANY];
        whole.push(2);
        assert!(groups == [2] || groups == whole, "{groups:?}");
        queue.tables.end(OTHER);
        assert_eq!(
            queue.answers(),
            [(1, Answer::Invalid), (2, Answer::Invalid)]
        );
    });
}

/// An attachment ends while a reader has asked how large its group is. The next group is larger.
#[test]
fn a_group_ends_before_it_is_read() {
    every_order(None, || {
        let queue = Queue::new();
        queue.deliver(ONE, 1);
        queue.deliver_many(OTHER, 2, 2);
        let other = queue.clone();
        let mut read = Vec::new();
        at_once!(
            move || other.tables.end(ONE);
            || read.extend(queue.read(2, usize::MAX))
        );
        read.extend(queue.read(2, usize::MAX));
        let groups: Vec<u32> = read.iter().map(|(group, _)| *group).collect();
        assert!(groups == [2, 2] || groups == [1, 2, 2], "{groups:?}");
        queue.tables.end(OTHER);
        assert_eq!(
            queue.answers(),
            [(1, Answer::Invalid), (2, Answer::Invalid)]
        );
    });
}

/// Two answers to one group: one of them counts.
#[test]
fn one_answer_counts() {
    every_order(None, || {
        let queue = Queue::new();
        queue.deliver(ONE, 1);
        let (_, cookie) = queue.read(1, usize::MAX)[0];
        let other = queue.clone();
        let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let said = count.clone();
        let add = |count: &std::sync::atomic::AtomicU32, was: bool| {
            count.fetch_add(was.into(), std::sync::atomic::Ordering::SeqCst);
        };
        at_once!(
            move || add(&said, other.respond(cookie));
            || add(&count, queue.respond(cookie))
        );
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert_eq!(queue.answers(), [(1, Answer::Success)]);
    });
}
