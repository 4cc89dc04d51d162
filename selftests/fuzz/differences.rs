// SPDX-License-Identifier: GPL-2.0-only

//! What differs between the modules on purpose, and what is not tried: `differences.txt`, whose head
//! describes its lines.

use std::ops::Range;

use crate::{
    answer::mask,
    compare::Found,
    end::space_of,
    execute::Trace,
    memory::{
        Place,
        ARENA,
        PAGE,
        READ_ONLY, //
    },
    program::{
        left,
        Call,
        Program,
        Value,
        Who, //
    },
    table::{
        Field,
        Kind,
        Res, //
    },
};

/// A difference that is meant: its number, the call and both answers, all with `*`, and what comes before it, in
/// any order.
struct Meant {
    number: String,
    call: Which,
    c: String,
    ours: String,
    after: Vec<After>,
}

/// A call that is not made on the C module, which would warn or hang, or not after all of these.
struct Avoided {
    call: Which,
    after: Vec<Which>,
}

/// Calls of a name, with `*`, of which all these conditions hold.
struct Which {
    name: String,
    conditions: Vec<Condition>,
}

enum Condition {
    Field(String, Test),
    /// The kernel cannot write its answer.
    ReadOnly,
    Succeeds,
    /// It is a response to what is no fault that was read, or may be another one's on the C module by now.
    Stale,
    /// A child makes it.
    Child,
    /// It maps pages of the arena that may only be read.
    Unwritable,
    /// The memory that it names has a part in two pages or more.
    Spans,
    /// It maps something in the address space of the page tables that the judged call is about.
    Same,
}

/// What a field is.
enum Test {
    /// A number that is not less.
    AtLeast(u64),
    AtMost(u64),
    Equals(u64),
    /// One of the fuzzer's files.
    File(usize),
    /// Something that a call made, of that kind if one is named.
    Reference(String),
}

/// What a program has before a call that answers differently.
enum After {
    Call(Which),
    /// One of that name that has succeeded, and then one that guessed an id.
    Guess(String),
}

#[derive(Default)]
pub(crate) struct Differences {
    meant: Vec<Meant>,
    avoided: Vec<Avoided>,
}

impl Differences {
    /// Reads the file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            read.parse_line(&words)
                .ok_or_else(|| format!("differences, line {}: {line}", number + 1))?;
        }
        Ok(read)
    }

    fn parse_line(&mut self, words: &[&str]) -> Option<()> {
        match *words {
            [] | ["#", ..] => {}
            ["avoid", _, call, ref after @ ..] => self.avoided.push(Avoided {
                call: Which::parse(call)?,
                after: after
                    .iter()
                    .map(|word| Which::parse(word))
                    .collect::<Option<_>>()?,
            }),
            ["meant", number, call, c, ours, ref after @ ..] => self.meant.push(Meant {
                number: number.to_string(),
                call: Which::parse(call)?,
                c: c.to_string(),
                ours: ours.to_string(),
                after: after
                    .iter()
                    .map(|word| After::parse(word))
                    .collect::<Option<_>>()?,
            }),
            _ => return None,
        }
        Some(())
    }

    /// Whether a program has a call that is not made on the C module.
    pub(crate) fn avoids(&self, program: &Program) -> bool {
        let calls = &program.calls;
        (0..calls.len()).any(|at| self.avoided.iter().any(|avoided| avoided.is(calls, at)))
    }

    /// Returns the number of the difference if it is one of a call, and meant. The answers are those of the C module.
    pub(crate) fn meaning(&self, found: &Found, calls: &[Call], answers: &Trace) -> Option<&str> {
        let is_meant = |meant: &&Meant| {
            meant.call.is(calls, found.at, Some(answers), found.at)
                && matches(&meant.c, &found.c)
                && is_answer(&meant.ours, found)
                && meant
                    .after
                    .iter()
                    .all(|after| after.is_before(found.at, calls, answers))
        };
        calls.get(found.at)?;
        let meant = self.meant.iter().find(is_meant)?;
        Some(&meant.number)
    }
}

/// Whether our answer is that of a pattern. If that begins with `=`, the result is the same as that of C, and
/// the pattern is that of the rest. If it begins with `~`, all is the same but a field of that name.
fn is_answer(pattern: &str, found: &Found) -> bool {
    if let Some(field) = pattern.strip_prefix('~') {
        let is_other = |word: &&str| word.split_once('=').is_none_or(|(name, _)| name != field);
        let [c, ours] = [&found.c, &found.ours].map(|line| line.split(' ').filter(is_other));
        return c.eq(ours);
    }
    let Some(rest) = pattern.strip_prefix('=') else {
        return matches(pattern, &found.ours);
    };
    let [(c, _), (ours, text)] = [&found.c, &found.ours].map(|line| {
        let end = line.find(' ').unwrap_or(line.len());
        line.split_at(end)
    });
    c == ours && matches(rest, text)
}

impl Which {
    fn parse(word: &str) -> Option<Self> {
        let (name, conditions) = word.split_once(':').unwrap_or((word, ""));
        let conditions = conditions.split('&').filter(|text| !text.is_empty());
        Some(Self {
            name: name.to_string(),
            conditions: conditions.map(Condition::parse).collect::<Option<_>>()?,
        })
    }

    /// Whether a call is one of these. What was answered is known if there are answers, about one of which, of
    /// the call `judged`, it is decided.
    fn is(&self, calls: &[Call], at: usize, answers: Option<&Trace>, judged: usize) -> bool {
        let holds = |condition: &Condition| condition.holds(calls, at, answers, judged);
        matches(&self.name, calls[at].of.name) && self.conditions.iter().all(holds)
    }
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "ro" => return Some(Self::ReadOnly),
            "ok" => return Some(Self::Succeeds),
            "stale" => return Some(Self::Stale),
            "child" => return Some(Self::Child),
            "unwritable" => return Some(Self::Unwritable),
            "spans" => return Some(Self::Spans),
            "same" => return Some(Self::Same),
            _ => {}
        }
        let (field, test) = if let Some((field, number)) = text.split_once(">=") {
            (field, Test::AtLeast(parse(number)?))
        } else if let Some((field, number)) = text.split_once("<=") {
            (field, Test::AtMost(parse(number)?))
        } else {
            let (field, value) = text.split_once('=')?;
            let test = if let Some(kind) = value.strip_prefix("reference:") {
                Test::Reference(kind.to_string())
            } else if let Some(file) = value.strip_prefix('f') {
                Test::File(file.parse().ok()?)
            } else {
                Test::Equals(parse(value)?)
            };
            (field, test)
        };
        Some(Self::Field(field.to_string(), test))
    }

    fn holds(&self, calls: &[Call], at: usize, answers: Option<&Trace>, judged: usize) -> bool {
        let call = &calls[at];
        match self {
            Self::ReadOnly => call.place == Place::ReadOnly,
            Self::Succeeds => answers.is_some_and(|answers| answers[at].starts_with('0')),
            Self::Stale => answers.is_some_and(|answers| is_stale(calls, answers, at)),
            Self::Child => matches!(call.who, Who::Child(_)),
            Self::Unwritable => maps_unwritable(call),
            Self::Spans => spans_pages(call),
            Self::Same => maps_for(calls, at, judged),
            Self::Field(name, test) => call.of.field(name).is_some_and(|index| {
                let value = fitting(&call.of.layout.fields[index], &call.values[index]);
                // What another call leaves may be any number.
                test.holds(calls, &value, answers.is_some())
            }),
        }
    }
}

impl Test {
    fn holds(&self, calls: &[Call], value: &Value, may_be: bool) -> bool {
        match (self, value) {
            (Self::AtLeast(least), Value::Number(number)) => number >= least,
            (Self::AtMost(most), Value::Number(number)) => number <= most,
            (Self::AtLeast(_) | Self::AtMost(_), Value::Of { .. }) => may_be,
            (Self::Equals(equal), Value::Number(number)) => number == equal,
            (Self::File(wanted), Value::File(number)) => number == wanted,
            (Self::Reference(kind), Value::Of { call, field, .. }) => {
                let made = calls[*call].of.makes().find(|(made, _)| made == field);
                kind == "any" || made.is_some_and(|(_, res)| format!("{res:?}") == *kind)
            }
            // A number may be the id of anything.
            (Self::Reference(_), Value::Number(number)) => *number != 0,
            _ => false,
        }
    }
}

impl After {
    fn parse(word: &str) -> Option<Self> {
        match word.strip_suffix(":guess") {
            Some(call) => Some(Self::Guess(call.to_string())),
            None => Which::parse(word).map(Self::Call),
        }
    }

    /// Whether the program has it before the call `at`.
    fn is_before(&self, at: usize, calls: &[Call], answers: &Trace) -> bool {
        let mut before = 0..at;
        match self {
            Self::Call(which) => before.any(|before| which.is(calls, before, Some(answers), at)),
            // A guess that found nothing has changed nothing.
            Self::Guess(name) => before
                .find(|&from| calls[from].of.name == name && answers[from].starts_with('0'))
                .is_some_and(|from| {
                    (from + 1..=at).any(|guess| {
                        guesses(calls, answers, guess)
                            && (guess == at || !answers[guess].starts_with("ENOENT"))
                    })
                }),
        }
    }
}

impl Avoided {
    fn is(&self, calls: &[Call], at: usize) -> bool {
        let is_after = |after: &Which| (0..at).any(|before| after.is(calls, before, None, at));
        self.call.is(calls, at, None, at) && self.after.iter().all(is_after)
    }
}

/// Returns the value as it is in the field, which may be too small for a number.
fn fitting(field: &Field, value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(number & mask(field)),
        value => value.clone(),
    }
}

/// Whether a call maps memory of which pages of the arena are that may only be read. What another call leaves
/// may be any address and any length.
fn maps_unwritable(call: &Call) -> bool {
    let value = |names: [&str; 2]| {
        let field = names.iter().find_map(|name| call.of.field(name));
        field.map(|field| &call.values[field])
    };
    let start = match value(["user_va", "vaddr"]) {
        Some(Value::Memory(offset)) => *offset,
        Some(Value::Number(address)) => address.wrapping_sub(ARENA),
        Some(Value::Of { .. }) => 0,
        _ => return false,
    };
    let length = match value(["length", "size"]) {
        Some(Value::Number(length)) => *length,
        _ => u64::MAX,
    };
    start < READ_ONLY.end * PAGE && start.saturating_add(length) > READ_ONLY.start * PAGE
}

/// Whether the memory of a HW queue has a part in two pages or more. What another call leaves may be any address
/// and any length.
fn spans_pages(call: &Call) -> bool {
    let number = |name| match call.of.field(name).map(|field| &call.values[field]) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    };
    match (number("nesting_parent_iova"), number("length")) {
        (Some(start), Some(length)) => (start % PAGE).saturating_add(length) > PAGE,
        (None, Some(length)) => length > 1,
        _ => true,
    }
}

/// Whether a call maps something in the address space of the page tables that call `judged` names. It may do so
/// if it is not known which one that is.
fn maps_for(calls: &[Call], at: usize, judged: usize) -> bool {
    let value = |call: &Call, name| {
        let field = call.of.field(name);
        field.map(|field| call.values[field].clone())
    };
    let tables = value(&calls[judged], "hwpt_id").and_then(|id| space_of(calls, &id));
    let map = &calls[at];
    let mapped = value(map, "dst_ioas_id").or(value(map, "ioas_id"));
    // This is known of an address space, too.
    let mapped = mapped.and_then(|id| space_of(calls, &id));
    mapped.is_none() || tables.is_none() || mapped == tables
}

/// Ids are smaller: each program begins with a new context.
const MOST_IDS: u64 = 256;

/// Whether a call names something by a number that is not, or no longer, the id of what a call made.
fn guesses(calls: &[Call], answers: &[String], at: usize) -> bool {
    let call = &calls[at];
    let made = |call: usize, field: usize| Some(left(calls[call].of).get(field)?.kind);
    let mut values = call.of.layout.fields.iter().zip(&call.values);
    values.any(|(field, value)| match (field.kind, value) {
        (Kind::Id(_), Value::Number(id)) => (1..MOST_IDS).contains(&(id & mask(field))),
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

/// What a response names as a fault's cookie.
fn cookies(call: &Call) -> impl Iterator<Item = &Value> {
    let data = call.of.field("data").map(|field| &call.values[field]);
    let elements: &[_] = match data {
        Some(Value::Array(elements)) => elements,
        _ => &[],
    };
    elements.iter().flat_map(|element| {
        let fields = element.layout.fields.iter().zip(&element.values);
        fields
            .filter(|(field, _)| matches!(field.kind, Kind::Id([Res::Cookie])))
            .map(|(_, value)| value)
    })
}

/// How many faults a call has read.
fn faults(calls: &[Call], answers: &[String], at: usize) -> usize {
    match calls[at].of.name {
        "read_faults" => answers[at].matches("cookie=+").count(),
        _ => 0,
    }
}

/// What ends an attachment, whose faults are then answered.
const DETACHING: [&str; 5] = [
    "mock_replace",
    "destroy",
    "close",
    "pasid_detach",
    "pasid_replace",
];

/// Whether a response names something else than a fault that was read from the same queue, or one whose cookie
/// has become free, and after which another fault was read, which has the cookie on the C module.
fn is_stale(calls: &[Call], answers: &[String], at: usize) -> bool {
    let fd = |call: &Call| call.of.field("fd").map(|field| call.values[field].clone());
    cookies(&calls[at]).any(|cookie| {
        let &Value::Of {
            call: reader,
            field,
            plus: 0,
        } = cookie
        else {
            return true;
        };
        let number = calls[reader].of.makes().position(|(made, _)| made == field);
        if number.is_none_or(|number| number >= faults(calls, answers, reader))
            || fd(&calls[reader]) != fd(&calls[at])
        {
            return true;
        }
        let frees = |at: &usize| {
            let is_named = |other: &Value| other == cookie || !matches!(other, Value::Of { .. });
            DETACHING.contains(&calls[*at].of.name) || cookies(&calls[*at]).any(is_named)
        };
        let free = (reader + 1..at).find(frees);
        free.is_some_and(|from| (from + 1..at).any(|at| faults(calls, answers, at) > 0))
    })
}

fn parse(number: &str) -> Option<u64> {
    match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    }
}

/// Whether a text is that of a pattern, in which `*` stands for any text, `_` for a space, and `|` is between
/// alternatives.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|pattern| matches_one(pattern, text))
}

fn matches_one(pattern: &str, text: &str) -> bool {
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
