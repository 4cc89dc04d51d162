// SPDX-License-Identifier: GPL-2.0-only

//! Programs, and programs as text.
//!
//! A program is a list of calls. Each line is one:
//!
//! ```text
//! r1 = ioas_alloc()
//! r2 = mock_domain(id=r1.out_ioas_id)
//! r3 = ioas_map(flags=0x7, ioas_id=r1.out_ioas_id, user_va=m+0x1000, length=0x1000, iova=0x1000000)
//! ```
//!
//! Fields that are left out have their usual value: the size of the struct, the context `r0`, 0. A
//! value is a number; `rN.FIELD`, what a field of call N was afterwards, with `+NUMBER` or not;
//! `m+OFFSET`, an address in the arena; `fN`, a file; `[{a=1, b=2}, {...}]`, the address of an
//! array; `buf:BYTES`, the address of a buffer. Before a call: `cN:` if child N makes it (the N-th
//! fork), `kN:` if that child is killed at work, `tN:` if thread N does, `ro:`, `cut:` or `fresh:` if its struct is in memory that cannot be
//! written, is cut off, or is mapped by the first access.

use std::fmt;

use crate::{
    memory::Place,
    table::{
        find,
        Action,
        CallType,
        Field,
        Kind,
        Layout, //
    },
};

/// The most calls that a program has, and the most with those that say what it leaves.
pub(crate) const MOST_CALLS: usize = 48;
pub(crate) const MOST_WITH_END: usize = 96;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(u64),
    /// What a field of an earlier call was after the call, plus a number.
    Of {
        call: usize,
        field: usize,
        plus: u64,
    },
    /// An offset in the arena.
    Memory(u64),
    File(usize),
    Array(Vec<Element>),
    /// A buffer of so many bytes.
    Buffer(u64),
}

/// An element of an array: the layout, as an index of the field's, and the values of its fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    pub(crate) layout: &'static Layout,
    pub(crate) values: Vec<Value>,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Main,
    Child(usize),
    /// A child that is killed at work.
    Killed(usize),
    Thread(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) of: &'static CallType,
    pub(crate) who: Who,
    pub(crate) place: Place,
    pub(crate) values: Vec<Value>,
    /// What it is to answer, in programs that no other module runs.
    pub(crate) answer: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// The first one opens the context.
    pub(crate) calls: Vec<Call>,
}

impl Call {
    /// Returns a call with the usual values.
    pub(crate) fn new(of: &'static CallType) -> Self {
        Self {
            of,
            who: Who::Main,
            place: Place::Normal,
            values: usual_values(of.layout),
            answer: None,
        }
    }

    /// Returns what the call refers to: the calls, with the fields.
    pub(crate) fn references(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for value in &self.values {
            each_reference(value, &mut |call| found.push(call));
        }
        found
    }

    /// Changes the number of each call that is referred to.
    pub(crate) fn renumber(&mut self, new: &dyn Fn(usize) -> Option<usize>) {
        for value in &mut self.values {
            renumber(value, new);
        }
    }
}

fn each_reference(value: &Value, see: &mut dyn FnMut(usize)) {
    match value {
        Value::Of { call, .. } => see(*call),
        Value::Array(elements) => {
            for element in elements {
                element
                    .values
                    .iter()
                    .for_each(|value| each_reference(value, see));
            }
        }
        _ => {}
    }
}

/// A reference to a call that is gone becomes 0.
fn renumber(value: &mut Value, new: &dyn Fn(usize) -> Option<usize>) {
    match value {
        Value::Of { call, .. } => match new(*call) {
            Some(number) => *call = number,
            None => *value = Value::Number(0),
        },
        Value::Array(elements) => {
            for element in elements {
                element
                    .values
                    .iter_mut()
                    .for_each(|value| renumber(value, new));
            }
        }
        _ => {}
    }
}

/// Returns the usual value of each field.
pub(crate) fn usual_values(layout: &'static Layout) -> Vec<Value> {
    layout
        .fields
        .iter()
        .map(|field| usual(layout, field))
        .collect()
}

fn usual(layout: &Layout, field: &Field) -> Value {
    match field.kind {
        Kind::Size => Value::Number(layout.size as u64),
        Kind::Fixed(of) => Value::Number(of.first().map_or(0, |named| named.value)),
        // The context.
        Kind::Fd(of) if field.size == 0 && of.contains(&crate::table::Res::Context) => Value::Of {
            call: 0,
            field: 0,
            plus: 0,
        },
        _ => Value::Number(0),
    }
}

/// Returns the fields whose values a call leaves behind: its own, and those of the first elements
/// of arrays that it may have. References name them.
pub(crate) fn left(of: &'static CallType) -> Vec<&'static Field> {
    let mut fields: Vec<_> = of.layout.fields.iter().collect();
    for field in of.layout.fields {
        if let Kind::Array(layouts, _) = field.kind {
            fields.extend(layouts.iter().flat_map(|layout| layout.fields));
        }
    }
    fields
}

impl Program {
    /// Returns a program that opens the context.
    pub(crate) fn new() -> Self {
        Self {
            calls: find("open").map(Call::new).into_iter().collect(),
        }
    }

    /// Returns the program without these calls.
    pub(crate) fn without(&self, gone: &dyn Fn(usize) -> bool) -> Self {
        let mut numbers = Vec::new();
        let mut calls: Vec<Call> = Vec::new();
        for (index, call) in self.calls.iter().enumerate() {
            let stays = index == 0 || !gone(index);
            numbers.push(stays.then_some(calls.len()));
            if stays {
                calls.push(call.clone());
            }
        }
        for call in &mut calls {
            call.renumber(&|old| numbers.get(old).copied().flatten());
        }
        Self { calls }
    }

    /// Whether each call refers to earlier ones only, and to children that are there.
    pub(crate) fn is_sound(&self) -> bool {
        let mut forks = 0;
        let mut threads = false;
        self.calls.len() <= MOST_WITH_END
            && self.calls.iter().enumerate().all(|(index, call)| {
                forks += usize::from(call.of.action == Action::Fork);
                threads |= matches!(call.who, Who::Thread(_));
                let is_run = match call.who {
                    Who::Child(child) | Who::Killed(child) => {
                        child < forks && call.of.action != Action::Fork
                    }
                    Who::Main => call.of.action != Action::Fork || !threads && forks <= 2,
                    Who::Thread(thread) => {
                        thread < 4 && !matches!(call.of.action, Action::Fork | Action::Kill)
                    }
                };
                is_run && call.references().iter().all(|&other| other < index)
            })
    }

    /// Whether a child is killed at work.
    pub(crate) fn has_killed(&self) -> bool {
        self.calls
            .iter()
            .any(|call| matches!(call.who, Who::Killed(_)))
    }

    pub(crate) fn has_threads(&self) -> bool {
        self.calls
            .iter()
            .any(|call| matches!(call.who, Who::Thread(_)))
    }
}

fn show(
    out: &mut fmt::Formatter<'_>,
    layout: &'static Layout,
    values: &[Value],
    calls: &[Call],
) -> fmt::Result {
    let mut first = true;
    for (field, value) in layout.fields.iter().zip(values) {
        if *value == usual(layout, field) {
            continue;
        }
        write!(out, "{}{}=", if first { "" } else { ", " }, field.name)?;
        first = false;
        show_value(out, value, calls)?;
    }
    Ok(())
}

fn show_value(out: &mut fmt::Formatter<'_>, value: &Value, calls: &[Call]) -> fmt::Result {
    match value {
        Value::Number(number) => write!(out, "{number:#x}"),
        Value::Of { call, field, plus } => {
            let name = calls
                .get(*call)
                .and_then(|call| left(call.of).get(*field).map(|field| field.name));
            write!(out, "r{call}.{}", name.unwrap_or("?"))?;
            if *plus != 0 {
                write!(out, "+{plus:#x}")?;
            }
            Ok(())
        }
        Value::Memory(offset) => write!(out, "m+{offset:#x}"),
        Value::File(number) => write!(out, "f{number}"),
        Value::Buffer(bytes) => write!(out, "buf:{bytes}"),
        Value::Array(elements) => {
            write!(out, "[")?;
            for (index, element) in elements.iter().enumerate() {
                write!(
                    out,
                    "{}{}{{",
                    if index == 0 { "" } else { ", " },
                    element.layout.name
                )?;
                show(out, element.layout, &element.values, calls)?;
                write!(out, "}}")?;
            }
            write!(out, "]")
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, call) in self.calls.iter().enumerate() {
            match call.who {
                Who::Main => {}
                Who::Child(number) => write!(out, "c{number}: ")?,
                Who::Killed(number) => write!(out, "k{number}: ")?,
                Who::Thread(number) => write!(out, "t{number}: ")?,
            }
            match call.place {
                Place::Normal => {}
                Place::ReadOnly => write!(out, "ro: ")?,
                Place::Cut => write!(out, "cut: ")?,
                Place::Fresh => write!(out, "fresh: ")?,
            }
            write!(out, "r{index} = {}(", call.of.name)?;
            show(out, call.of.layout, &call.values, &self.calls)?;
            writeln!(out, ")")?;
        }
        Ok(())
    }
}

/// What is wrong with a text.
pub(crate) type Wrong = String;

/// Reads the programs of a text, between which are empty lines. Lines that begin with # are
/// comments, and what follows " # " is what a call is to answer.
pub(crate) fn parse_all(text: &str) -> Result<Vec<Program>, Wrong> {
    let mut programs = Vec::new();
    let mut program = Program::default();
    for (number, line) in text.lines().chain([""]).enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            if !program.calls.is_empty() {
                programs.push(std::mem::take(&mut program));
            }
            continue;
        }
        let call = Reader {
            rest: line,
            program: &program,
        }
        .call()
        .map_err(|wrong| format!("line {}: {wrong}: {line}", number + 1))?;
        program.calls.push(call);
    }
    match programs.iter().find(|program| !program.is_sound()) {
        Some(program) => Err(format!(
            "a call refers to a later one, or to no child:\n{program}"
        )),
        None => Ok(programs),
    }
}

struct Reader<'a> {
    rest: &'a str,
    program: &'a Program,
}

impl<'a> Reader<'a> {
    /// Takes a text, if it is next.
    fn take(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, text: &str) -> Result<(), Wrong> {
        if self.take(text) {
            Ok(())
        } else {
            Err(format!("'{text}' is missing before '{}'", self.rest))
        }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<u64, Wrong> {
        let word = self.word();
        match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        }
        .map_err(|_| format!("no number: '{word}'"))
    }

    fn call(&mut self) -> Result<Call, Wrong> {
        let (mut who, mut place) = (Who::Main, Place::Normal);
        while let Some((prefix, rest)) = self
            .rest
            .split_once(": ")
            .filter(|(prefix, _)| !prefix.contains('='))
        {
            let number = || {
                prefix[1..]
                    .parse()
                    .map_err(|_| format!("what is '{prefix}:'"))
            };
            match (prefix, prefix.chars().next()) {
                ("ro", _) => place = Place::ReadOnly,
                ("cut", _) => place = Place::Cut,
                ("fresh", _) => place = Place::Fresh,
                (_, Some('c')) => who = Who::Child(number()?),
                (_, Some('k')) => who = Who::Killed(number()?),
                (_, Some('t')) => who = Who::Thread(number()?),
                _ => return Err(format!("what is '{prefix}:'")),
            }
            self.rest = rest;
        }
        self.want(&format!("r{}", self.program.calls.len()))?;
        self.want("=")?;
        let name = self.word();
        let of = find(name).ok_or_else(|| format!("no call is named '{name}'"))?;
        self.want("(")?;
        let values = self.fields(of.layout, ")")?;
        let mut call = Call::new(of);
        call.answer = match self.rest.split_once(" # ") {
            Some((_, answer)) => Some(answer.trim().to_string()),
            None if self.rest.is_empty() => None,
            None => return Err(format!("what is '{}'", self.rest)),
        };
        (call.who, call.place, call.values) = (who, place, values);
        Ok(call)
    }

    fn fields(&mut self, layout: &'static Layout, end: &str) -> Result<Vec<Value>, Wrong> {
        let mut values = usual_values(layout);
        while !self.take(end) {
            let name = self.word();
            let index = layout.fields.iter().position(|field| field.name == name);
            let index = index.ok_or_else(|| format!("no field is named '{name}'"))?;
            self.want("=")?;
            values[index] = self.value(&layout.fields[index])?;
            self.take(",");
        }
        Ok(values)
    }

    fn value(&mut self, field: &Field) -> Result<Value, Wrong> {
        if self.take("m+") {
            return Ok(Value::Memory(self.number()?));
        }
        if self.take("buf:") {
            return Ok(Value::Buffer(self.number()?));
        }
        if self.take("f") {
            return Ok(Value::File(self.number()? as usize));
        }
        if self.take("r") {
            let call = self.number()? as usize;
            self.want(".")?;
            let name = self.word();
            let of = self
                .program
                .calls
                .get(call)
                .ok_or_else(|| format!("there is no r{call} before"))?
                .of;
            let index = left(of).iter().position(|field| field.name == name);
            let index = index.ok_or_else(|| format!("r{call} has no field '{name}'"))?;
            let plus = if self.take("+") { self.number()? } else { 0 };
            return Ok(Value::Of {
                call,
                field: index,
                plus,
            });
        }
        if self.take("[") {
            let Kind::Array(layouts, _) = field.kind else {
                return Err(format!("{} is no array", field.name));
            };
            let mut elements = Vec::new();
            while !self.take("]") {
                let name = self.word();
                let layout = layouts.iter().find(|layout| layout.name == name);
                let layout = *layout
                    .ok_or_else(|| format!("no struct of {} is named '{name}'", field.name))?;
                self.want("{")?;
                elements.push(Element {
                    layout,
                    values: self.fields(layout, "}")?,
                });
                self.take(",");
            }
            return Ok(Value::Array(elements));
        }
        Ok(Value::Number(self.number()?))
    }
}
