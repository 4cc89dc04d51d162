// SPDX-License-Identifier: GPL-2.0-only

//! Groups of page faults, which record how they are answered.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// As in the module.
pub(crate) trait FaultSink: Send + Sync {
    fn deliver(&self, group: FaultGroup);
    fn end(&self, attachment: AttachmentId);
    fn answered(&self);
}

/// As in the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachmentId(pub(crate) usize);

/// As in the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    Invalid,
}

/// As in the module.
#[derive(Clone, Copy)]
pub(crate) struct PageRequest {
    pub(crate) flags: u32,
    pub(crate) pasid: u32,
    pub(crate) group: u32,
    pub(crate) perm: u32,
    pub(crate) addr: u64,
}

/// The answers of groups, by their numbers, in the order in which they were given.
pub(crate) type Answers = Arc<Mutex<Vec<(u32, Answer)>>>;

/// A group of faults, whose addresses are the number of the group.
pub(crate) struct FaultGroup {
    attachment: AttachmentId,
    number: u32,
    len: usize,
    answers: Answers,
    answered: bool,
}

impl FaultGroup {
    /// A device reports a group of `len` faults.
    pub(crate) fn new(
        attachment: AttachmentId,
        number: u32,
        len: usize,
        answers: &Answers,
    ) -> Self {
        Self {
            attachment,
            number,
            len,
            answers: answers.clone(),
            answered: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn attachment(&self) -> AttachmentId {
        self.attachment
    }

    pub(crate) fn device(&self) -> u32 {
        7
    }

    pub(crate) fn for_each(&self, mut f: impl FnMut(PageRequest)) {
        for _ in 0..self.len {
            f(self.request());
        }
    }

    fn request(&self) -> PageRequest {
        PageRequest {
            flags: 0,
            pasid: 0,
            group: self.number,
            perm: 0,
            addr: self.number.into(),
        }
    }

    pub(crate) fn answer(mut self, answer: Answer) {
        self.record(answer);
    }

    fn record(&mut self, answer: Answer) {
        assert!(!self.answered);
        self.answered = true;
        self.answers.lock().unwrap().push((self.number, answer));
    }
}

impl Drop for FaultGroup {
    fn drop(&mut self) {
        if !self.answered {
            self.record(Answer::Invalid);
        }
    }
}

/// As in the module.
pub(crate) struct FaultReader {
    group: FaultGroup,
    left: usize,
}

impl FaultReader {
    pub(crate) fn new(group: FaultGroup) -> Self {
        let left = group.len;
        Self { group, left }
    }

    pub(crate) fn group(&self) -> &FaultGroup {
        &self.group
    }

    pub(crate) fn into_group(self) -> FaultGroup {
        self.group
    }
}

impl Iterator for FaultReader {
    type Item = PageRequest;

    fn next(&mut self) -> Option<PageRequest> {
        self.left = self.left.checked_sub(1)?;
        Some(self.group.request())
    }
}

/// As in the module.
pub(crate) struct FaultList(VecDeque<FaultGroup>);

impl FaultList {
    pub(crate) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn len(&self) -> u32 {
        self.0.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn first(&self) -> Option<&FaultGroup> {
        self.0.front()
    }

    pub(crate) fn push_back(&mut self, group: FaultGroup) {
        self.0.push_back(group);
    }

    pub(crate) fn push_front(&mut self, group: FaultGroup) {
        self.0.push_front(group);
    }

    pub(crate) fn pop_front(&mut self) -> Option<FaultGroup> {
        self.0.pop_front()
    }

    pub(crate) fn take(&mut self, attachment: AttachmentId) -> Self {
        let all = core::mem::take(&mut self.0);
        let (taken, rest) = all
            .into_iter()
            .partition(|group| group.attachment == attachment);
        self.0 = rest;
        Self(taken)
    }
}
