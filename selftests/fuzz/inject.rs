// SPDX-License-Identifier: GPL-2.0-only

//! Lets each allocation and each access of user memory of each call fail in turn, and each function
//! that pins, maps or attaches.
//!
//! A call that fails for that reason must have changed nothing: it is made again, and it and all that
//! follow must be answered as in a run without failures. Calls that say what is mapped and charged, and what
//! page tables have, are appended to the program. At the end no page may be pinned, also none that is charged
//! to another process. In one run of a program many things fail, one after the other: all calls are made again
//! until they succeed. If the answers differ then, each failure of that run is tried alone. A call whose failure
//! may make later answers differ has runs of its own, in which nothing else fails.

use std::{
    fmt::{
        self,
        Display, //
    },
    fs, //
};

use crate::{
    end::with_state,
    execute::{
        left_pinned,
        Executor,
        Trace,
        NOTHING_PINNED, //
    },
    program::{
        Call,
        Program,
        Who, //
    },
    sys::{
        self,
        c, //
    },
    table::{
        Action,
        CallType, //
    },
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
    /// Calls with more points of failure than are tried.
    pub(crate) cut: usize,
    /// Runs that were answered differently, and not again.
    pub(crate) unseen: usize,
    /// Runs of which the answers are judged up to a call, and then only what stays pinned.
    pub(crate) lost: usize,
}

impl Sum {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.runs += other.runs;
        self.injected += other.injected;
        self.failed += other.failed;
        self.undetermined += other.undetermined;
        self.cut += other.cut;
        self.unseen += other.unseen;
        self.lost += other.lost;
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
            cut,
            unseen,
            lost,
        } = self;
        write!(
            f,
            "{calls} calls, {injected} failures in {runs} runs, {failed} answered"
        )?;
        if *lost > 0 {
            write!(f, ", {lost} runs judged up to a call")?;
        }
        if *cut > 0 {
            write!(f, ", {cut} calls not beyond point {MOST}")?;
        }
        if *unseen > 0 {
            write!(f, ", {unseen} differences not seen again")?;
        }
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
    /// It counts calls of functions that `fail_function` has been told of.
    Functions,
}

/// How many calls of these functions succeed, and how many fail then. These files are opened each time: what was read
/// once is not read again, and they know no offsets.
const SPACE: &str = "/sys/kernel/debug/fail_function/space";
const TIMES: &str = "/sys/kernel/debug/fail_function/times";

impl By {
    /// Opens what there is. The suite has chosen the functions.
    pub(crate) fn open() -> Result<Vec<Self>, String> {
        let file = |path: &str| match sys::open(path, c::O_RDWR) {
            file if file >= 0 => Ok(file),
            error => Err(format!("no {path}: errno {}", -error)),
        };
        let mut found = vec![Self::Count(file("/proc/thread-self/fail-nth")?)];
        if fs::exists(TIMES).unwrap_or(false) {
            found.push(Self::Functions);
        }
        Ok(found)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count(_) => "memory",
            Self::Functions => "functions",
        }
    }

    /// Lets the `nth` one fail. Returns whether that was possible: it takes a capability that a child may
    /// have given up.
    pub(crate) fn arm(self, nth: u32) -> bool {
        match self {
            Self::Count(file) => sys::write_text(file, &format!("{nth}\n")) > 0,
            Self::Functions => {
                fs::write(SPACE, format!("{nth}\n")).is_ok() && fs::write(TIMES, "1\n").is_ok()
            }
        }
    }

    /// Makes the file about this thread, which was its parent's, one about the thread itself.
    pub(crate) fn become_own(self) {
        if let Self::Count(file) = self {
            let own = sys::open("/proc/thread-self/fail-nth", c::O_RDWR);
            sys::duplicate_to(own, file);
            sys::close(own);
        }
    }

    /// Makes a call, and lets the `nth` thing fail in it. Returns its result, and whether that happened.
    pub(crate) fn fail(self, nth: u32, make: impl FnOnce() -> i64) -> (i64, bool) {
        let is_armed = self.arm(nth);
        let result = make();
        (result, self.disarm() && is_armed)
    }

    /// Lets nothing fail any more. Returns whether something did.
    pub(crate) fn disarm(self) -> bool {
        // What is left to count, or the failures that are left: 0 if it has happened.
        let left = match self {
            Self::Count(file) => {
                let left = sys::read_text(file);
                sys::write_text(file, "0\n");
                left
            }
            Self::Functions => {
                let left = fs::read_to_string(TIMES).unwrap_or_default();
                let _ = fs::write(TIMES, "0\n");
                left
            }
        };
        left.trim() == "0"
    }
}

/// What is to fail while a program runs.
pub(crate) struct Failing {
    pub(crate) by: By,
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
    /// How many calls have more points than are tried.
    cut: usize,
    /// The call that could not write what it had done, or has others, so that what follows is answered
    /// differently.
    is_lost: Option<usize>,
}

/// Calls that cannot undo what they have done when they cannot write how much it was.
const FINAL: [&str; 2] = ["ioas_unmap", "vfio_unmap_dma"];

/// Whether a call succeeds that has done a part: one that reads or writes a queue, or the kernel's `iova_bitmap`, which
/// loses dirty bits that it cannot write.
fn may_do_part(of: &CallType) -> bool {
    is_transfer(of) || of.name == "hwpt_get_dirty_bitmap"
}

/// Whether what follows may be answered differently if something fails in such a call.
fn hides_others(of: &CallType) -> bool {
    FINAL.contains(&of.name) || may_do_part(of)
}

/// Returns the words of an answer, without which earlier call was given the same id.
fn without_names(answer: &str) -> Vec<&str> {
    let is_name = |value: &str| value == "+" || value.starts_with('@');
    let strip = |word| match str::split_once(word, '=') {
        Some((field, value)) if is_name(value) => field,
        _ => word,
    };
    answer.split(' ').map(strip).collect()
}

/// Whether a call reads or writes a queue.
fn is_transfer(of: &CallType) -> bool {
    matches!(
        of.action,
        Action::ReadFaults | Action::ReadEvents | Action::Respond
    )
}

/// What comes after a call in which something was to fail.
pub(crate) enum Then {
    /// It is made again.
    Again,
    /// It has done what it should, or its answer is wrong.
    On,
}

impl Failing {
    /// Returns the point of a call that is to fail, or nothing.
    pub(crate) fn point(&self, call: usize) -> Option<u32> {
        self.next.get(call).copied().flatten()
    }

    /// Notes whether something failed at the point of a call, and chooses the next one.
    pub(crate) fn note(&mut self, call: usize, happened: bool) {
        let Some(nth) = self.point(call) else { return };
        self.happened = happened;
        self.next[call] = None;
        if happened {
            self.done.push(Failure { call, nth });
            if nth + self.step < MOST {
                self.next[call] = Some(nth + self.step);
            } else {
                self.cut += 1;
            }
        }
    }

    /// Makes a call, and lets the next thing fail in it.
    pub(crate) fn fail(&mut self, call: usize, make: impl FnOnce() -> i64) -> i64 {
        let Some(nth) = self.point(call) else {
            return make();
        };
        let (result, happened) = self.by.fail(nth, make);
        self.note(call, happened);
        result
    }

    /// Says what comes after that call, which has been answered.
    pub(crate) fn then(&mut self, call: usize, made: &Call, result: i64, answer: &str) -> Then {
        let happened = std::mem::take(&mut self.happened);
        if !happened {
            return Then::On;
        }
        let is_final = FINAL.contains(&made.of.name);
        if answer == self.wanted[call] {
            if result >= 0 {
                return Then::On;
            }
            // The errno that is wanted may also be that of a failure before the call has done what it does in
            // spite of it: `ENOENT` is that of an id that is not looked up.
            if !is_final {
                return Then::Again;
            }
            // How much was done would tell, if it can be written.
            if made.place.is_read_only() {
                self.is_lost.get_or_insert(call);
            }
            return Then::On;
        }
        if result >= 0 {
            // A failure may say that page tables do not suit a device, which gets others then. Anything else that
            // succeeds must answer as it should.
            let has_others = without_names(answer) == without_names(&self.wanted[call]);
            if has_others || may_do_part(made.of) {
                self.failed += 1;
                self.is_lost.get_or_insert(call);
            }
            return Then::On;
        }
        self.failed += 1;
        // It may have ended half way, as it should, and not have written that.
        let is_half = answer.split(' ').next() == self.wanted[call].split(' ').next();
        if is_final && (result == -i64::from(c::EFAULT) || is_half) {
            self.is_lost.get_or_insert(call);
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
            cut: 0,
            is_lost: None,
        };
        let (got, failing) = self.executor.run_failing(self.program, failing);
        self.sum.runs += 1;
        self.sum.injected += failing.done.len();
        self.sum.failed += failing.failed;
        self.sum.lost += usize::from(failing.is_lost.is_some());
        let differs = match left_pinned(&got) {
            Some(left) => Some((NOTHING_PINNED.to_string(), left.clone())),
            None => {
                // What follows is answered differently.
                let end = failing.is_lost.unwrap_or(usize::MAX);
                let mut both = self.wanted.iter().zip(&got).take(end);
                both.find(|(wanted, got)| wanted != got)
                    .map(|(wanted, got)| (wanted.clone(), got.clone()))
            }
        };
        (failing, differs)
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

    /// Runs the program until all points from `next` on have failed, each `step`-th of a call.
    fn try_all(&mut self, step: u32, mut next: Vec<Option<u32>>, outcome: &mut Outcome) {
        while next.iter().any(Option::is_some) {
            let begin = next.clone();
            let (after, differs) = self.run(step, next);
            next = after.next;
            self.sum.cut += after.cut;
            let Some((wanted, got)) = differs else {
                continue;
            };
            if let Some(found) = self.search(step, begin, &after.done) {
                // One failure of a call is enough.
                next[found.last.call] = None;
                outcome.broken.push(found);
            } else if let Some(&last) = after.done.last() {
                let broken = Broken {
                    last,
                    alone: false,
                    by: self.by.name(),
                    wanted,
                    got,
                };
                // Pages that stay pinned are wrong, however seldom they do.
                if broken.wanted == NOTHING_PINNED {
                    outcome.broken.push(broken);
                } else {
                    self.sum.unseen += 1;
                    outcome.unseen.push(broken);
                }
            }
        }
    }
}

/// What was found in a program.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) broken: Vec<Broken>,
    /// What differed, and not again.
    pub(crate) unseen: Vec<Broken>,
}

impl Outcome {
    pub(crate) fn extend(&mut self, other: Self) {
        self.broken.extend(other.broken);
        self.unseen.extend(other.unseen);
    }
}

/// Returns what is wrong in a run in which nothing failed: an answer that is known, or a page that stays pinned.
fn wrong(program: &Program, got: &Trace) -> Option<Broken> {
    let left = left_pinned(got).map(|left| (0, NOTHING_PINNED, left));
    let mut known = (program.calls.iter().zip(got).enumerate())
        .filter_map(|(at, (call, got))| Some((at, call.answer.as_deref()?, got)));
    let (call, wanted, got) = left.or(known.find(|(_, answer, got)| answer != got))?;
    Some(Broken {
        last: Failure { call, nth: 0 },
        alone: true,
        by: "nothing",
        wanted: wanted.to_string(),
        got: got.clone(),
    })
}

/// Tries each call of a program, and each `step`-th point of failure.
pub(crate) fn each(
    executor: &mut Executor,
    program: &Program,
    by: By,
    step: u32,
    sum: &mut Sum,
) -> Outcome {
    let mut outcome = Outcome::default();
    if program.has_threads() {
        return outcome;
    }
    let whole = with_state(program.clone());
    let wanted = executor.run(&whole);
    if let Some(wrong) = wrong(&whole, &wanted) {
        outcome.broken.push(wrong);
        return outcome;
    }
    if executor.run(&whole) != wanted {
        sum.undetermined += 1;
        return outcome;
    }
    let can_fail = |call: usize| {
        let made = &program.calls[call];
        let is_call = matches!(
            made.of.action,
            Action::Ioctl(_) | Action::Direct(_) | Action::MapContext
        );
        // These stand for hardware, whose events are lost if there is no memory.
        let is_event = made.of.name.starts_with("trigger_");
        (is_call || is_transfer(made.of)) && !is_event && !matches!(made.who, Who::Thread(_))
    };
    let first = |call: usize| can_fail(call).then_some(1 + call as u32 % step);
    let (own, together): (Vec<_>, Vec<_>) = (0..program.calls.len())
        .filter(|&call| can_fail(call))
        .partition(|&call| hides_others(program.calls[call].of));
    sum.calls += own.len() + together.len();
    let alone = own.into_iter().map(|call| vec![call]);
    let mut trial = Trial {
        executor,
        program: &whole,
        by,
        wanted,
        sum,
    };
    for group in std::iter::once(together).chain(alone) {
        let mut next = vec![None; whole.calls.len()];
        for call in group {
            next[call] = first(call);
        }
        trial.try_all(step, next, &mut outcome);
    }
    outcome
}
