// SPDX-License-Identifier: GPL-2.0-only

//! Lets each allocation and each access of user memory of each call fail in turn, and each function
//! that pins, maps or attaches.
//!
//! A call that fails for that reason must have changed nothing: if it is made again, it and all
//! that follow are answered as in a run without failures, and at the end no page is pinned.

use crate::{
    execute::{
        Executor,
        Inject,
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

/// What was found: a program in which a call is made twice, and fails the first time.
pub(crate) struct Broken {
    pub(crate) program: Program,
    pub(crate) call: usize,
    pub(crate) nth: u32,
    /// By what it fails.
    pub(crate) by: &'static str,
    /// The first line that differs, without and with the failure.
    pub(crate) wanted: String,
    pub(crate) got: String,
}

#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) calls: usize,
    /// How often something failed, and how often the call failed therefore.
    pub(crate) injected: usize,
    pub(crate) failed: usize,
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
    // What differs by itself proves nothing.
    if executor.run(program) != wanted {
        return broken;
    }
    for call in 1..program.calls.len() {
        let made = &program.calls[call];
        let is_ioctl = matches!(made.of.action, Action::Ioctl(_) | Action::Direct(_));
        // These stand for hardware, whose events are lost if there is no memory.
        let is_event = made.of.name.starts_with("trigger_");
        if !is_ioctl || is_event || made.who != Who::Main {
            continue;
        }
        sum.calls += 1;
        for nth in (1 + call as u32 % step..MOST).step_by(step as usize) {
            let mut found = None;
            let mut happened = false;
            // How much a call allocates may change from run to run: what is wrong is wrong each time.
            for _ in 0..3 {
                let (was, wrong) = once(executor, program, &wanted, by, (call, nth), sum);
                (happened, found) = (was, wrong);
                if found.is_none() {
                    break;
                }
            }
            if !happened {
                break;
            }
            if let Some(found) = found {
                broken.push(found);
                // One failure of a call is enough.
                break;
            }
        }
    }
    broken
}

/// Lets something of a call fail. Returns whether it happened, and what is wrong.
fn once(
    executor: &mut Executor,
    program: &Program,
    wanted: &Trace,
    by: By,
    (call, nth): (usize, u32),
    sum: &mut Sum,
) -> (bool, Option<Broken>) {
    let inject = || Inject {
        by,
        call,
        nth,
        happened: false,
    };
    let (got, happened) = executor.run_injected(program, inject());
    if !happened {
        return (false, None);
    }
    sum.injected += 1;
    let (program, found) = if got[call] == wanted[call] {
        (program.clone(), differs(wanted, &got))
    } else {
        sum.failed += 1;
        let twice = repeated(program, call);
        let (again, _) = executor.run_injected(&twice, inject());
        // Else the call did not fail in the same way.
        let is_same = again[call] == got[call];
        let rest = again.iter().enumerate().filter(|(at, _)| *at != call);
        let rest: Trace = rest.map(|(_, line)| shifted(line, call)).collect();
        (twice, differs(wanted, &rest).filter(|_| is_same))
    };
    let broken = found.map(|(wanted, got)| Broken {
        program,
        call,
        nth,
        by: by.name(),
        wanted,
        got,
    });
    (true, broken)
}

fn differs(wanted: &Trace, got: &Trace) -> Option<(String, String)> {
    let (wanted, got) = wanted.iter().zip(got).find(|(wanted, got)| wanted != got)?;
    Some((wanted.clone(), got.clone()))
}

/// Returns the program with a call made twice. What refers to the call refers to the second one.
fn repeated(program: &Program, call: usize) -> Program {
    let mut calls = program.calls.clone();
    calls.insert(call, program.calls[call].clone());
    for later in &mut calls[call + 2..] {
        later.renumber(&|old| Some(if old < call { old } else { old + 1 }));
    }
    Program { calls }
}

/// Returns a line in which calls behind `call` have the numbers that they have without it.
fn shifted(line: &str, call: usize) -> String {
    let words = line.split(' ').map(|word| match word.split_once("=@") {
        Some((name, number)) => match number.parse::<usize>() {
            Ok(number) if number > call => format!("{name}=@{}", number - 1),
            _ => word.to_string(),
        },
        None => word.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}
