// SPDX-License-Identifier: GPL-2.0-only

//! Lets each allocation and each access of user memory of each call fail in turn, and each function
//! that pins, maps or attaches.
//!
//! A call that fails for that reason must have changed nothing: it is made again, and it and all that
//! follow must be answered as in a run without failures, and at the end no page may be pinned. In one run
//! of a program many things fail, one after the other: all calls are made again until they succeed. If the
//! answers differ then, each failure of that run is tried alone.

use std::fmt::{
    self,
    Display, //
};

use crate::{
    execute::{
        Executor,
        Trace, //
    },
    program::{
        Program,
        Who, //
    },
    sys::{
        self,
        c, //
    },
    table::Action,
};

/// The most points of failure of a call that are tried.
const MOST: u32 = 400;

/// Something that failed in a call, which is made again if it fails therefore.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Failure {
    pub(crate) call: usize,
    pub(crate) nth: u32,
}

/// What was found.
pub(crate) struct Broken {
    /// What failed, or the last of several things that did no harm alone.
    pub(crate) last: Failure,
    pub(crate) alone: bool,
    /// By what it fails.
    pub(crate) by: &'static str,
    /// The first line that differs, without and with the failure.
    pub(crate) wanted: String,
    pub(crate) got: String,
}

#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) calls: usize,
    pub(crate) runs: usize,
    /// How often something failed, and how often the call failed therefore.
    pub(crate) injected: usize,
    pub(crate) failed: usize,
    /// Programs that are answered differently from run to run, which proves nothing.
    pub(crate) undetermined: usize,
}

impl Sum {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.runs += other.runs;
        self.injected += other.injected;
        self.failed += other.failed;
        self.undetermined += other.undetermined;
    }
}

impl Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            runs,
            injected,
            failed,
            undetermined,
        } = self;
        write!(
            f,
            "{calls} calls, {injected} failures in {runs} runs, {failed} answered"
        )?;
        match undetermined {
            0 => Ok(()),
            _ => write!(f, ", {undetermined} times not determined"),
        }
    }
}

/// By what something fails: Documentation/fault-injection/fault-injection.rst of the kernel.
#[derive(Clone, Copy)]
pub(crate) enum By {
    /// The kernel counts what a thread allocates and accesses: `/proc/thread-self/fail-nth`.
    Count(i64),
    /// It counts calls of functions that `fail_function` has been told of: how many succeed, and how
    /// many fail then.
    Functions { space: i64, times: i64 },
}

impl By {
    /// Opens what there is. The suite has chosen the functions.
    pub(crate) fn open() -> Result<Vec<Self>, String> {
        let file = |path: &str| match sys::open(path, c::O_RDWR) {
            file if file >= 0 => Ok(file),
            error => Err(format!("no {path}: errno {}", -error)),
        };
        let mut found = vec![Self::Count(file("/proc/thread-self/fail-nth")?)];
        let folder = "/sys/kernel/debug/fail_function";
        if std::fs::exists(folder).unwrap_or(false) {
            let [space, times] = ["space", "times"].map(|name| file(&format!("{folder}/{name}")));
            found.push(Self::Functions {
                space: space?,
                times: times?,
            });
        }
        Ok(found)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count(_) => "memory",
            Self::Functions { .. } => "functions",
        }
    }

    /// Lets the `nth` one fail.
    pub(crate) fn arm(self, nth: u32) {
        match self {
            Self::Count(file) => sys::write_text(file, &format!("{nth}\n")),
            Self::Functions { space, times } => {
                sys::write_text(space, &format!("{nth}\n"));
                sys::write_text(times, "1\n")
            }
        };
    }

    /// Lets nothing fail any more. Returns whether something did.
    pub(crate) fn disarm(self) -> bool {
        let (Self::Count(file) | Self::Functions { times: file, .. }) = self;
        // What is left to count, or the failures that are left: 0 if it has happened.
        let happened = sys::read_text(file).trim() == "0";
        sys::write_text(file, "0\n");
        happened
    }
}

/// What is to fail while a program runs.
pub(crate) struct Failing {
    by: By,
    /// How far the next point of failure of a call is from the one before.
    step: u32,
    /// For each call the point that is next, or nothing if the call is made as it is.
    next: Vec<Option<u32>>,
    /// What is answered if nothing fails.
    wanted: Trace,
    /// What has failed, and how often the call failed therefore.
    done: Vec<Failure>,
    failed: usize,
    /// Whether something failed in the last call.
    happened: bool,
    /// Whether a call could not write what it had done, so that what follows is answered differently.
    is_lost: bool,
}

/// Calls that cannot undo what they have done when they cannot write how much it was.
const FINAL: [&str; 2] = ["ioas_unmap", "vfio_unmap_dma"];

/// What comes after a call in which something was to fail.
pub(crate) enum Then {
    /// It is made again.
    Again,
    /// It has done what it should, or its answer is wrong.
    On,
}

impl Failing {
    /// Makes a call, and lets the next thing fail in it.
    pub(crate) fn fail(&mut self, call: usize, make: impl FnOnce() -> i64) -> i64 {
        let Some(nth) = self.next.get(call).copied().flatten() else {
            return make();
        };
        self.by.arm(nth);
        let result = make();
        self.happened = self.by.disarm();
        if self.happened {
            self.done.push(Failure { call, nth });
        }
        self.next[call] = Some(nth + self.step).filter(|&next| self.happened && next < MOST);
        result
    }

    /// Says what comes after a call of that name, of which this is the answer.
    pub(crate) fn then(&mut self, call: usize, name: &str, result: i64, answer: &str) -> Then {
        let happened = std::mem::take(&mut self.happened);
        if !happened || result >= 0 || answer == self.wanted[call] {
            return Then::On;
        }
        self.failed += 1;
        if result == -i64::from(c::EFAULT) && FINAL.contains(&name) {
            self.is_lost = true;
            return Then::On;
        }
        Then::Again
    }
}

/// The first line that differs, without and with failures.
type Differs = Option<(String, String)>;

/// A program in which things fail.
struct Trial<'a> {
    executor: &'a mut Executor,
    program: &'a Program,
    by: By,
    wanted: Trace,
    sum: &'a mut Sum,
}

impl Trial<'_> {
    /// Runs the program once.
    fn run(&mut self, step: u32, next: Vec<Option<u32>>) -> (Failing, Differs) {
        let failing = Failing {
            by: self.by,
            step,
            next,
            wanted: self.wanted.clone(),
            done: Vec::new(),
            failed: 0,
            happened: false,
            is_lost: false,
        };
        let (got, failing) = self.executor.run_failing(self.program, failing);
        self.sum.runs += 1;
        self.sum.injected += failing.done.len();
        self.sum.failed += failing.failed;
        let mut both = self.wanted.iter().zip(&got);
        let differs = if failing.is_lost {
            // What stays pinned is the same in any case.
            let pinned = |line: &str| line.split(',').next().map(str::to_string);
            both.last()
                .filter(|(wanted, got)| pinned(wanted) != pinned(got))
        } else {
            both.find(|(wanted, got)| wanted != got)
        };
        (
            failing,
            differs.map(|(wanted, got)| (wanted.clone(), got.clone())),
        )
    }

    /// What is wrong if nothing else fails. How much a call allocates may change from run to run: what is
    /// wrong is wrong each time.
    fn alone(&mut self, failure: Failure) -> Differs {
        let mut differs = None;
        for _ in 0..3 {
            let mut next = vec![None; self.program.calls.len()];
            next[failure.call] = Some(failure.nth);
            differs = Some(self.run(MOST, next).1?);
        }
        differs
    }

    /// Looks for what is wrong in a run that began with `next`, and in which these things failed.
    fn search(&mut self, step: u32, next: Vec<Option<u32>>, done: &[Failure]) -> Option<Broken> {
        let by = self.by.name();
        let broken = |last, alone, (wanted, got)| Broken {
            last,
            alone,
            by,
            wanted,
            got,
        };
        for &failure in done {
            if let Some(differs) = self.alone(failure) {
                return Some(broken(failure, true, differs));
            }
        }
        let (again, differs) = self.run(step, next);
        Some(broken(*again.done.last()?, false, differs?))
    }
}

/// Tries each call of a program, and each `step`-th point of failure. Returns what is wrong.
pub(crate) fn each(
    executor: &mut Executor,
    program: &Program,
    by: By,
    step: u32,
    sum: &mut Sum,
) -> Vec<Broken> {
    let mut broken = Vec::new();
    if program.has_threads() {
        return broken;
    }
    let wanted = executor.run(program);
    if executor.run(program) != wanted {
        sum.undetermined += 1;
        return broken;
    }
    let can_fail = |call: usize| {
        let made = &program.calls[call];
        let is_ioctl = matches!(made.of.action, Action::Ioctl(_) | Action::Direct(_));
        // These stand for hardware, whose events are lost if there is no memory.
        let is_event = made.of.name.starts_with("trigger_");
        is_ioctl && !is_event && made.who == Who::Main
    };
    let first = |call: usize| can_fail(call).then_some(1 + call as u32 % step);
    let mut next: Vec<_> = (0..program.calls.len()).map(first).collect();
    sum.calls += next.iter().flatten().count();
    let mut trial = Trial {
        executor,
        program,
        by,
        wanted,
        sum,
    };
    while next.iter().any(Option::is_some) {
        let begin = next.clone();
        let (after, differs) = trial.run(step, next);
        next = after.next;
        if differs.is_none() {
            continue;
        }
        if let Some(found) = trial.search(step, begin, &after.done) {
            // One failure of a call is enough.
            next[found.last.call] = None;
            broken.push(found);
        }
    }
    broken
}
