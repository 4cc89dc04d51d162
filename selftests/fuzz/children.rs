// SPDX-License-Identifier: GPL-2.0-only

//! The children of a program: processes that make calls when they are told to.

use std::sync::{
    Mutex,
    MutexGuard,
    PoisonError, //
};

use crate::sys::{
    self,
    c, //
};

/// The most children of a program.
pub(crate) const MOST: usize = 2;

/// The two pipes of a child. The parent writes the number of a call to `ask`, and the child reads it
/// from `requests`. The child writes to `tell` when it has made the call, and the parent reads that from
/// `answer`.
///
/// The descriptors are below those that programs use. A program may close a descriptor that was its
/// own once; if that was now one of a pipe, both processes could wait for each other. While there is
/// no child they are others for `/dev/null`, so that they are used for nothing else.
#[derive(Clone, Copy)]
struct Pipes {
    requests: i64,
    ask: i64,
    answer: i64,
    tell: i64,
    /// `/dev/null`
    null: i64,
}

impl Pipes {
    fn new(null: i64) -> Self {
        let next = || sys::open("/dev/null", c::O_RDWR);
        Self {
            requests: next(),
            ask: next(),
            answer: next(),
            tell: next(),
            null,
        }
    }

    /// Makes the pipes. Returns whether they are there.
    fn connect(&self) -> bool {
        for (read, write) in [(self.requests, self.ask), (self.answer, self.tell)] {
            let Some((from, to)) = sys::pipe() else {
                return false;
            };
            sys::duplicate_to(from, read);
            sys::duplicate_to(to, write);
            sys::close(from);
            sys::close(to);
        }
        true
    }

    fn close(&self, ends: [i64; 2]) {
        for end in ends {
            sys::duplicate_to(self.null, end);
        }
    }
}

#[derive(Clone, Copy)]
struct Child {
    pid: i64,
    pipes: Pipes,
}

pub(crate) struct Children {
    pipes: [Pipes; MOST],
    list: Mutex<Vec<Child>>,
}

impl Children {
    /// Programs must not use the descriptors that are open now.
    pub(crate) fn new() -> Self {
        let null = sys::open("/dev/null", c::O_RDWR);
        Self {
            pipes: [(); MOST].map(|()| Pipes::new(null)),
            list: Mutex::default(),
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Child>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many children there are.
    pub(crate) fn count(&self) -> usize {
        self.list().len()
    }

    /// Forks a child, which runs `begin`, and `make` with each number that the parent writes. Returns how
    /// many children there are now, or nothing if there can be no more.
    pub(crate) fn fork(&self, begin: impl Fn(), make: impl Fn(usize)) -> Option<usize> {
        let pipes = *self.pipes.get(self.list().len())?;
        if !pipes.connect() {
            return None;
        }
        let pid = sys::fork();
        if pid == 0 {
            pipes.close([pipes.ask, pipes.answer]);
            begin();
            while let Some(call) = sys::receive(pipes.requests) {
                make(call.into());
                if !sys::send(pipes.tell, call) {
                    break;
                }
            }
            sys::exit(0);
        }
        pipes.close([pipes.requests, pipes.tell]);
        let mut list = self.list();
        list.push(Child { pid, pipes });
        Some(list.len())
    }

    /// Has a child make a call. Returns `None` if there is no such child, and whether it was made.
    pub(crate) fn ask(&self, child: usize, call: usize) -> Option<bool> {
        let child = self.list().get(child).copied();
        let Child { pipes, .. } = child.filter(|child| child.pid > 0)?;
        Some(sys::send(pipes.ask, call as u8) && sys::receive(pipes.answer).is_some())
    }

    /// Tells a child to make a call, and does not wait for it. Returns whether it can be told.
    pub(crate) fn tell(&self, child: usize, call: usize) -> bool {
        let child = self.list().get(child).copied();
        child.is_some_and(|child| child.pid > 0 && sys::send(child.pipes.ask, call as u8))
    }

    /// Kills a child and waits for its end. Returns the status as waitpid() does, or nothing if there
    /// is no such child.
    pub(crate) fn kill(&self, child: usize) -> Option<i64> {
        let child = self.list().get(child).copied()?;
        Some(sys::kill(child.pid))
    }

    /// Kills those that are left.
    pub(crate) fn end(&self) {
        for Child { pid, pipes } in std::mem::take(&mut *self.list()) {
            if pid > 0 {
                sys::kill(pid);
            }
            pipes.close([pipes.ask, pipes.answer]);
        }
    }
}
