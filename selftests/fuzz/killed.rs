// SPDX-License-Identifier: GPL-2.0-only

//! Programs in which a child is killed at work. What remains is what remains without its call, or with the whole
//! of it, and no page stays pinned.

use std::{
    fmt,
    time::{
        Duration,
        Instant, //
    },
};

use crate::{
    end::with_state,
    execute::{
        left_pinned,
        Executor,
        Killing, //
    },
    program::Program, //
};

/// At how many places of a call a child is killed.
const PLACES: u32 = 16;

/// What is left of a killed call.
#[derive(Default)]
struct Tally {
    runs: usize,
    nothing: usize,
    all: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.nothing += other.nothing;
        self.all += other.all;
    }

    /// Whether a program's call was sometimes killed before it had done anything that stays, and sometimes
    /// after that. Else nothing says that it was ever killed at work.
    fn is_of_both(&self) -> bool {
        self.nothing != 0 && self.all != 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, nothing, all } = self;
        write!(f, "{runs} times, {nothing} left nothing, {all} all")
    }
}

/// Runs the programs again and again for so many seconds. Prints a test for each, and one for all.
pub(crate) fn judge_all(
    executor: &mut Executor,
    programs: &[Program],
    seconds: u64,
) -> Result<(), String> {
    if programs.is_empty() {
        return Err("no programs".to_string());
    }
    println!("KTAP version 1\n1..{}", programs.len() + 1);
    let mut sum = Tally::default();
    let mut mixed = 0;
    let share = Duration::from_secs(seconds) / programs.len().max(1) as u32;
    for (number, program) in programs.iter().enumerate() {
        let mut tally = Tally::default();
        let wrong = judge(executor, &with_state(program.clone()), share, &mut tally);
        if let Some(wrong) = &wrong {
            println!("# {wrong}");
            print!("{}", crate::commented(program));
        }
        println!(
            "{} {} killed at work, program {}: {tally}",
            if wrong.is_none() { "ok" } else { "not ok" },
            number + 1,
            number + 1,
        );
        sum.add(&tally);
        mixed += usize::from(tally.is_of_both());
    }
    println!(
        "{} {} killed before the call was done, and after it: {mixed} of the programs; {sum}",
        if mixed > 0 { "ok" } else { "not ok" },
        programs.len() + 1,
    );
    if let Some(coverage) = &executor.coverage {
        coverage.print("reached");
    }
    Ok(())
}

/// Runs a program for some time, and once at each place at least. Returns what is wrong.
fn judge(
    executor: &mut Executor,
    program: &Program,
    share: Duration,
    tally: &mut Tally,
) -> Option<String> {
    let run = |executor: &mut Executor, killing| {
        executor.killing = killing;
        executor.run(program)
    };
    let nothing = run(executor, Killing::Before);
    let all = run(executor, Killing::After);
    // Whatever is left would then be right.
    if nothing == all {
        return Some("the call leaves what is left without it".to_string());
    }
    let length = *executor.worked.lock().ok()?;
    let end = Instant::now() + share;
    let mut place = 0;
    while place < PLACES || Instant::now() < end {
        let time = length * (place % PLACES) / PLACES;
        let got = run(executor, Killing::AtWork(time));
        place += 1;
        tally.runs += 1;
        if let Some(left) = left_pinned(&got) {
            return Some(left.clone());
        }
        match (got == nothing, got == all) {
            (true, _) => tally.nothing += 1,
            (_, true) => tally.all += 1,
            (false, false) => {
                let at = (0..got.len()).find(|&at| got[at] != nothing[at] && got[at] != all[at]);
                let at = at.or_else(|| (0..got.len()).find(|&at| got[at] != nothing[at]))?;
                return Some(format!(
                    "killed after {time:?}: {}; without the call {}, with it {}",
                    got[at], nothing[at], all[at]
                ));
            }
        }
    }
    None
}
