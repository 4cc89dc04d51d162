// SPDX-License-Identifier: GPL-2.0-only

//! Calls of children, and calls in which something is to fail. A parent tells its child what is to fail, and
//! the child tells whether it did.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::Instant, //
};

use super::{
    lock,
    Executor,
    Killing, //
};

use crate::{
    coverage::Coverage,
    inject::Then,
    program::{
        Call,
        Program, //
    },
    sys::{
        self,
        c, //
    }, //
};

/// What a child says instead of the point at which something was to fail.
const HAPPENED: u64 = u64::MAX;

/// What is said of a call that a child did not answer.
const ENDED: &str = " the child has ended";

impl Executor {
    pub(super) fn fork(&self, program: &Program, index: usize) {
        let child = self.children.count();
        let begin = || {
            self.is_child.store(true, SeqCst);
            if let Some(failing) = lock(&self.failing).as_ref() {
                failing.by.become_own();
            }
            if let Some(coverage) = &self.coverage {
                coverage.lanes().of_child(child).enable();
            }
        };
        let count = self
            .children
            .fork(begin, |call| self.make(program, call, 0));
        if let Some(count) = count {
            self.slots.set(index, 0, &[count as u64], "");
        }
    }

    /// Has a child make a call. Tells the child what is to fail there. The child tells whether it did.
    pub(super) fn ask(&self, program: &Program, child: usize, index: usize) {
        loop {
            let point = match lock(&self.failing).as_ref() {
                Some(failing) if self.may_fail() => failing.point(index),
                _ => None,
            };
            self.slots.set_point(point.unwrap_or(0).into());
            let made = self.children.ask(child, index);
            match made {
                Some(true) => {}
                Some(false) => {
                    self.slots.set(index, -i64::from(c::EPIPE), &[], ENDED);
                }
                None => self.slots.set(index, -i64::from(c::ESRCH), &[], ""),
            }
            if point.is_none() {
                return;
            }
            let happened = made == Some(true) && self.slots.point() == HAPPENED;
            if let Some(failing) = lock(&self.failing).as_mut() {
                failing.note(index, happened);
            }
            let call = &program.calls[index];
            if let Then::On = self.then(index, call, self.slots.result(index)) {
                return;
            }
        }
    }

    /// Has a child make a call, and kills it. What it answered is not said.
    pub(super) fn ask_and_kill(&self, child: usize, index: usize) {
        let begin = Instant::now();
        let is_there = match self.killing {
            Killing::Before => true,
            Killing::After => self.children.ask(child, index) == Some(true),
            Killing::AtWork(time) => {
                let is_told = self.children.tell(child, index);
                std::thread::sleep(time);
                is_told
            }
        };
        *lock(&self.worked) = begin.elapsed();
        self.children.kill(child);
        self.slots.clear(index);
        let error = if is_there { c::EPIPE } else { c::ESRCH };
        self.slots.set(index, -i64::from(error), &[], ENDED);
    }

    /// Says whether a call is made again, in which something may have failed. A child's parent decides that.
    pub(super) fn then(&self, index: usize, call: &Call, result: i64) -> Then {
        // Threads must not wait for each other here.
        if !self.fails.load(SeqCst) || self.is_child.load(SeqCst) {
            return Then::On;
        }
        match lock(&self.failing).as_mut() {
            Some(failing) => failing.then(index, call, result, &self.line(index)),
            None => Then::On,
        }
    }

    fn may_fail(&self) -> bool {
        let is_full = |coverage: &Coverage| coverage.is_nearly_full();
        self.fails.load(SeqCst) && !self.coverage.as_ref().is_some_and(is_full)
    }

    /// Makes the system call of a call, in which something may be to fail.
    pub(super) fn failing(&self, index: usize, make: impl FnOnce() -> i64) -> i64 {
        if !self.may_fail() {
            return make();
        }
        match lock(&self.failing).as_mut() {
            Some(failing) if self.is_child.load(SeqCst) => match self.slots.point() as u32 {
                0 => make(),
                nth => {
                    let (result, happened) = failing.by.fail(nth, make);
                    self.slots.set_point(if happened { HAPPENED } else { 0 });
                    result
                }
            },
            Some(failing) => failing.fail(index, make),
            None => make(),
        }
    }

    /// Makes an ioctl, in which something may be to fail.
    pub(super) fn ioctl(&self, index: usize, fd: i64, request: u64, argument: u64) -> i64 {
        self.failing(index, || sys::ioctl(fd, request, argument))
    }
}
