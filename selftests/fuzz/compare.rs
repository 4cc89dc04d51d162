// SPDX-License-Identifier: GPL-2.0-only

//! Compares what two modules answered to the same programs. `differences.txt` has the differences
//! that are meant, each with its number in Documentation/uapi.rst.

use std::{
    collections::BTreeMap,
    ops::Range, //
};

use crate::{
    execute::Trace,
    memory::Place,
    program::{
        left,
        Call,
        Program,
        Value, //
    },
    table::{
        Kind,
        Res, //
    },
};

/// A difference that is meant: the call and both answers, all with `*`, and a call that comes before it, or
/// nothing. If there is a file, the field must be that file.
struct Meant {
    call: String,
    file: Option<(String, usize)>,
    c: String,
    ours: String,
    after: Option<After>,
}

/// What a program has before a call that answers differently.
enum After {
    /// A call of that name.
    Call(String),
    /// One that has succeeded, and then one that guessed an id.
    Guess(String),
    /// One of which the field is not less than the number, or may not be.
    AtLeast(String, String, u64),
}

/// A call that is not made on the C module, which would warn or hang: its name, a field, its value, and
/// the name of a call that comes before it, or nothing.
struct Avoided {
    call: String,
    field: String,
    test: Test,
    after: String,
}

enum Test {
    AtLeast(u64),
    Equals(u64),
    /// The field refers to something that a call made, of that kind if one is named.
    Reference(String),
    /// The kernel cannot write its answer.
    ReadOnly,
}

#[derive(Default)]
pub(crate) struct Differences {
    meant: Vec<Meant>,
    avoided: Vec<Avoided>,
}

impl Differences {
    /// Reads the file, whose format its head describes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let wrong = || format!("differences, line {}: {line}", number + 1);
            match words[..] {
                [] | ["#", ..] => {}
                ["avoid", _, call, condition, ref after @ ..] if after.len() <= 1 => {
                    let (field, test) = if condition == "ro" {
                        ("", Test::ReadOnly)
                    } else if let Some((field, number)) = condition.split_once(">=") {
                        (field, Test::AtLeast(parse(number).ok_or_else(wrong)?))
                    } else if let Some((field, kind)) = condition.split_once("=reference:") {
                        (field, Test::Reference(kind.to_string()))
                    } else {
                        let (field, number) = condition.split_once('=').ok_or_else(wrong)?;
                        (field, Test::Equals(parse(number).ok_or_else(wrong)?))
                    };
                    read.avoided.push(Avoided {
                        call: call.to_string(),
                        field: field.to_string(),
                        test,
                        after: after.concat(),
                    });
                }
                ["meant", _, call, c, ours, ref after @ ..] if after.len() <= 1 => {
                    let (call, condition) = call.split_once(':').unwrap_or((call, ""));
                    let file = condition
                        .split_once("=f")
                        .map(|(field, file)| Some((field.to_string(), file.parse().ok()?)));
                    let after = after
                        .first()
                        .map(|word| After::parse(word).ok_or_else(wrong));
                    read.meant.push(Meant {
                        call: call.to_string(),
                        file: file.map(|file| file.ok_or_else(wrong)).transpose()?,
                        c: c.to_string(),
                        ours: ours.to_string(),
                        after: after.transpose()?,
                    })
                }
                _ => return Err(wrong()),
            }
        }
        Ok(read)
    }

    /// Whether a program has a call that is not made on the C module.
    pub(crate) fn avoids(&self, program: &Program) -> bool {
        let calls = &program.calls;
        (0..calls.len()).any(|at| self.avoided.iter().any(|avoided| avoided.is(calls, at)))
    }

    fn means(&self, found: &Found, calls: &[Call], answers: &Trace) -> bool {
        self.meant.iter().any(|meant| {
            let is_file = meant.file.as_ref().is_none_or(|(field, file)| {
                let call = calls.get(found.at);
                let value = call.and_then(|call| call.values.get(call.of.field(field)?));
                value == Some(&Value::File(*file))
            });
            is_file
                && matches(&meant.call, &found.call)
                && matches(&meant.c, &found.c)
                && matches(&meant.ours, &found.ours)
                && meant
                    .after
                    .as_ref()
                    .is_none_or(|after| after.is_before(found.at, calls, answers))
        })
    }
}

impl After {
    fn parse(word: &str) -> Option<Self> {
        let Some((call, condition)) = word.split_once(':') else {
            return Some(Self::Call(word.to_string()));
        };
        if condition == "guess" {
            return Some(Self::Guess(call.to_string()));
        }
        let (field, least) = condition.split_once(">=")?;
        Some(Self::AtLeast(
            call.to_string(),
            field.to_string(),
            parse(least)?,
        ))
    }

    /// Whether the program has it before the call `at`.
    fn is_before(&self, at: usize, calls: &[Call], answers: &Trace) -> bool {
        let mut before = calls.iter().zip(answers).take(at);
        match self {
            Self::Call(name) => before.any(|(call, _)| call.of.name == name),
            Self::Guess(name) => before
                .position(|(call, answer)| call.of.name == name && answer.starts_with('0'))
                .is_some_and(|from| {
                    let last = at.min(calls.len() - 1);
                    (from + 1..=last).any(|at| guesses(calls, answers, at))
                }),
            Self::AtLeast(name, field, least) => before.any(|(call, _)| {
                let value = call.of.field(field).map(|field| &call.values[field]);
                let is_less = matches!(value, Some(Value::Number(number)) if number < least);
                call.of.name == name && !is_less
            }),
        }
    }
}

impl Avoided {
    fn is(&self, calls: &[Call], at: usize) -> bool {
        let call = &calls[at];
        if !matches(&self.call, call.of.name) {
            return false;
        }
        if let Test::ReadOnly = self.test {
            return call.place == Place::ReadOnly;
        }
        let is_after = calls[..at].iter().any(|call| call.of.name == self.after);
        let Some(field) = call
            .of
            .field(&self.field)
            .filter(|_| self.after.is_empty() || is_after)
        else {
            return false;
        };
        match (&self.test, &call.values[field]) {
            (Test::AtLeast(least), Value::Number(number)) => number >= least,
            (Test::Equals(equal), Value::Number(number)) => number == equal,
            (Test::Reference(kind), Value::Of { call, field, .. }) => {
                let made = calls[*call].of.makes().find(|(made, _)| made == field);
                kind == "any" || made.is_some_and(|(_, res)| format!("{res:?}") == *kind)
            }
            // A number may be the id of anything.
            (Test::Reference(_), Value::Number(number)) => *number != 0,
            _ => false,
        }
    }
}

/// Ids are smaller: each program begins with a new context.
const MOST_IDS: u64 = 256;

/// Whether a call names something by a number that is not, or no longer, the id of what a call made.
fn guesses(calls: &[Call], answers: &[String], at: usize) -> bool {
    let call = &calls[at];
    let made = |call: usize, field: usize| Some(left(calls[call].of).get(field)?.kind);
    let mut values = call.of.layout.fields.iter().zip(&call.values);
    values.any(|(field, value)| match (field.kind, value) {
        (Kind::Id(_), Value::Number(id)) => (1..MOST_IDS).contains(id),
        (Kind::Id(_), Value::Of { call, field, .. }) => match made(*call, *field) {
            Some(Kind::OutId(res)) => is_gone(calls, answers, *call..at, res),
            _ => true,
        },
        (Kind::Fd(_), Value::Of { call, field, .. }) => {
            !matches!(made(*call, *field), Some(Kind::OutFd(_)))
        }
        _ => false,
    })
}

/// Whether what the first of these calls made is destroyed by the others: by an id that the call made, by a
/// number, or since it is automatic page tables that may have no device any more.
fn is_gone(calls: &[Call], answers: &[String], range: Range<usize>, made: Res) -> bool {
    let maker = range.start;
    let automatic = made == Res::Hwpt && calls[maker].of.name.starts_with("mock_domain");
    let mut done = range.filter(|&index| answers[index].starts_with('0'));
    done.any(|index| match calls[index].of.name {
        "mock_replace" => automatic,
        "destroy" => match calls[index]
            .of
            .field("id")
            .map(|field| &calls[index].values[field])
        {
            Some(Value::Of { call, .. }) => automatic || *call == maker,
            _ => true,
        },
        _ => false,
    })
}

fn parse(number: &str) -> Option<u64> {
    match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    }
}

/// Whether a text is that of a pattern, in which `*` stands for any text, and `_` for a space.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.replace('_', " ");
    let text = text.replace('_', " ");
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

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

/// Returns the first answer that differs and is not meant to.
pub(crate) fn first(
    program: &Program,
    c: &Trace,
    ours: &Trace,
    differences: &Differences,
) -> Option<Found> {
    let at = c.iter().zip(ours).position(|(c, ours)| c != ours)?;
    let answers = c;
    let (c, ours) = (c[at].clone(), ours[at].clone());
    let call = match program.calls.get(at) {
        Some(call) => call.of.name.to_string(),
        None => c.split(':').next().unwrap_or("").to_string(),
    };
    let found = Found { at, call, c, ours };
    (!differences.means(&found, &program.calls, answers)).then_some(found)
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

/// Returns a finding of each kind, with its shortest program.
pub(crate) fn findings(
    programs: &[Program],
    c: &[Trace],
    ours: &[Trace],
    differences: &Differences,
) -> Vec<(Program, Found)> {
    let mut kinds: BTreeMap<String, (Program, Found)> = BTreeMap::new();
    for ((program, c), ours) in programs.iter().zip(c).zip(ours) {
        let Some(found) = first(program, c, ours, differences) else {
            continue;
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
    kinds.into_values().collect()
}
