// SPDX-License-Identifier: GPL-2.0-only

//! Compares what two modules answered to the same programs.

use std::{
    collections::BTreeMap,
    fmt, //
};

use crate::{
    differences::Differences,
    execute::{
        Trace,
        NOTHING_PINNED,
        NO_PIN_LEFT, //
    },
    program::Program, //
};

/// The first answer of a program that differs.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) at: usize,
    /// The name of the call, or what the line is about.
    pub(crate) call: String,
    pub(crate) c: String,
    pub(crate) ours: String,
}

impl Found {
    /// Two programs with the same kind are taken for the same finding.
    pub(crate) fn kind(&self) -> String {
        let word = |line: &str| {
            let fields = line
                .split(' ')
                .map(|word| word.split(['=', ':']).next().unwrap_or(word));
            fields.collect::<Vec<_>>().join(" ")
        };
        let (c, ours) = (word(&self.c), word(&self.ours));
        format!("{}: C {c}; ours {ours}", self.call)
    }
}

/// What differs in the answers to a program.
pub(crate) enum Verdict {
    Nothing,
    /// Something that is meant to: the number of the difference, and how many calls come after it. They are not
    /// compared, since what they answer depends on it.
    Meant(String, usize),
    Found(Found),
}

impl Verdict {
    pub(crate) fn found(self) -> Option<Found> {
        match self {
            Self::Found(found) => Some(found),
            Self::Nothing | Self::Meant(..) => None,
        }
    }
}

/// How many lines a trace has that are about the end of a program.
pub(crate) const LINES_OF_END: usize = 4;

/// Compares the answers to a program. Whatever else they are, and whatever differences are meant, our module
/// leaves nothing charged and no page pinned when all is closed.
pub(crate) fn judge(
    program: &Program,
    c: &Trace,
    ours: &Trace,
    differences: &Differences,
) -> Verdict {
    let calls = &program.calls;
    let of = |at: usize| {
        let [c, ours] = [c, ours].map(|trace| match trace.get(at) {
            Some(line) => line.clone(),
            None => "no answer".to_string(),
        });
        let call = match calls.get(at) {
            Some(call) => call.of.name.to_string(),
            None => ours.split(':').next().unwrap_or("").to_string(),
        };
        Found { at, call, c, ours }
    };
    for (line, must) in [(1, NOTHING_PINNED), (3, NO_PIN_LEFT)] {
        let at = calls.len() + line;
        if ours.get(at).is_none_or(|line| line != must) {
            return Verdict::Found(of(at));
        }
    }
    let lines = c.len().max(ours.len()).max(calls.len() + LINES_OF_END);
    let differs = |&at: &usize| c.get(at).is_none() || c.get(at) != ours.get(at);
    let Some(found) = (0..lines).find(differs).map(of) else {
        return Verdict::Nothing;
    };
    match differences.meaning(&found, calls, c) {
        Some(number) => Verdict::Meant(number.to_string(), calls.len() - found.at - 1),
        None => Verdict::Found(found),
    }
}

/// Whether an answer to a program needs no look, since it is that of both modules.
pub(crate) fn is_same(c: &str, ours: &str) -> bool {
    let says = |what| ours.lines().any(|line| line == what);
    c == ours && says(NOTHING_PINNED) && says(NO_PIN_LEFT)
}

/// Reads traces: lines, with an empty one after each program's.
pub(crate) fn parse_traces(text: &str) -> Vec<Trace> {
    let mut traces = Vec::new();
    let mut trace = Trace::new();
    for line in text.lines() {
        if line.is_empty() {
            traces.push(std::mem::take(&mut trace));
        } else {
            trace.push(line.to_string());
        }
    }
    traces
}

/// The programs with a difference, and how many calls come after it, by its number if it is meant.
#[derive(Default)]
pub(crate) struct NotCompared(BTreeMap<String, (usize, usize)>);

impl fmt::Display for NotCompared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&(usize, usize)) -> usize| self.0.values().map(of).sum::<usize>();
        write!(
            f,
            "{} calls of {} programs come after a difference",
            sum(|both| both.1),
            sum(|both| both.0)
        )?;
        for (index, (number, (programs, calls))) in self.0.iter().enumerate() {
            let mark = if index == 0 { ": " } else { "; " };
            write!(f, "{mark}{number}: {calls} of {programs}")?;
        }
        Ok(())
    }
}

/// Returns a finding of each kind, with its shortest program, and what was not compared.
pub(crate) fn findings(
    programs: &[Program],
    c: &[Trace],
    ours: &[Trace],
    differences: &Differences,
) -> (Vec<(Program, Found)>, NotCompared) {
    let mut kinds: BTreeMap<String, (Program, Found)> = BTreeMap::new();
    let mut not = NotCompared::default();
    for ((program, c), ours) in programs.iter().zip(c).zip(ours) {
        let found = match judge(program, c, ours, differences) {
            Verdict::Nothing => continue,
            Verdict::Meant(number, calls) => {
                let (programs, sum) = not.0.entry(number).or_default();
                *programs += 1;
                *sum += calls;
                continue;
            }
            Verdict::Found(found) => {
                let (programs, sum) = not.0.entry("finding".to_string()).or_default();
                *programs += 1;
                *sum += program.calls.len().saturating_sub(found.at + 1);
                found
            }
        };
        // What follows the answer does not matter.
        let program = program.without(&|index| index > found.at);
        let shorter = kinds
            .get(&found.kind())
            .is_none_or(|(other, _)| other.calls.len() > program.calls.len());
        if shorter {
            kinds.insert(found.kind(), (program, found));
        }
    }
    (kinds.into_values().collect(), not)
}
