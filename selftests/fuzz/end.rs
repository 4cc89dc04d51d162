// SPDX-License-Identifier: GPL-2.0-only

//! Calls that say what a program leaves, which are appended to it: what is mapped, whether page tables have that, and
//! how much is charged.

use crate::{
    memory::{
        PAGE,
        SHARED, //
    },
    program::{
        Call,
        Program,
        Value,
        Who,
        MOST_WITH_END, //
    },
    table::{
        find,
        Res, //
    }, //
};

/// How often page tables of a program are checked at most.
const MOST_CHECKS: usize = 12;

/// Whether the program's process makes a call, and not a child of it.
fn is_of_process(call: &Call) -> bool {
    matches!(call.who, Who::Main | Who::Thread(_))
}

/// Appends calls that say what is left after the others: how many ranges each address space of the
/// program has, and how many bytes are mapped there.
fn with_end(mut program: Program) -> Program {
    let is_ours = |call: &Call| is_of_process(call) && call.of.name == "ioas_alloc";
    let made: Vec<usize> = (0..program.calls.len())
        .filter(|&index| is_ours(&program.calls[index]))
        .collect();
    for index in made {
        for name in ["ioas_iova_ranges", "ioas_unmap"] {
            let Some(of) = find(name).filter(|_| program.calls.len() < MOST_WITH_END) else {
                return program;
            };
            let mut call = Call::new(of);
            let maker = &program.calls[index];
            call.values[0] = maker.values[0].clone();
            if let (Some(id), Some(field)) = (of.field("ioas_id"), maker.of.field("out_ioas_id")) {
                call.values[id] = of_call(index, field);
            }
            if let Some(length) = of.field("length") {
                call.values[length] = Value::Number(u64::MAX);
            }
            program.calls.push(call);
        }
    }
    program
}

/// As `with_end`. Before that, checks by the mock whether page tables have what was mapped, the last mappings first, and
/// asks how much is charged.
pub(crate) fn with_state(mut program: Program) -> Program {
    program.calls.extend(checks(&program.calls));
    program.calls.extend(find("charged").map(Call::new));
    with_end(program)
}

/// Returns calls that check page tables: for each mapping in page tables of its address space one about all of it, and one
/// about its last page. The mock looks no further than the first page that differs.
fn checks(calls: &[Call]) -> Vec<Call> {
    let maps = (0..calls.len())
        .rev()
        .filter(|&at| is_of_process(&calls[at]));
    let tables = (0..calls.len()).rev().flat_map(|at| {
        let made = calls[at].of.makes().filter(|(_, res)| *res == Res::Hwpt);
        made.map(move |(field, _)| of_call(at, field))
    });
    let tables: Vec<Value> = tables.collect();
    let all = maps.flat_map(|at| tables.iter().filter_map(move |id| check(calls, at, id)));
    let both = all.flat_map(|check| {
        let last = last_page(&check);
        std::iter::once(check).chain(last)
    });
    both.take(MOST_CHECKS).collect()
}

/// Returns the check of the last page of what a call checks, if that has several.
fn last_page(check: &Call) -> Option<Call> {
    let mut last = check.clone();
    let place = |name| check.of.field(name);
    let (length, iova, memory) = (place("length")?, place("iova")?, place("uptr")?);
    let skip = match check.values[length] {
        Value::Number(length) if length > PAGE && length % PAGE == 0 => length - PAGE,
        _ => return None,
    };
    last.values[length] = Value::Number(PAGE);
    if let Value::Of { plus, .. } = &mut last.values[iova] {
        *plus = plus.wrapping_add(skip);
    }
    match &mut last.values[memory] {
        Value::Memory(offset) => *offset = offset.wrapping_add(skip),
        _ => return None,
    }
    Some(last)
}

/// Returns a call that checks whether page tables have what a call has mapped, if they are those of the address space in
/// which it is, and the memory is part of the arena.
fn check(calls: &[Call], at: usize, tables: &Value) -> Option<Call> {
    let map = &calls[at];
    let value = |name| map.of.field(name).map(|field| &map.values[field]);
    if value("ioas_id") != Some(&space_of(calls, tables)?) {
        return None;
    }
    let memory = match (map.of.name, value("start")) {
        ("ioas_map", _) => value("user_va")?.clone(),
        ("ioas_map_file", Some(Value::Number(start))) => match value("fd")? {
            // These are the memory that is also in the arena.
            Value::File(0 | 1) => Value::Memory((SHARED.start * PAGE).wrapping_add(*start)),
            _ => return None,
        },
        _ => return None,
    };
    let mut check = Call::new(find("check_map")?);
    let values = [
        ("context", map.values.first()?.clone()),
        ("id", tables.clone()),
        // The kernel may have chosen it.
        ("iova", of_call(at, map.of.field("iova")?)),
        ("length", value("length")?.clone()),
        ("uptr", memory),
    ];
    for (name, value) in values {
        let field = check.of.field(name)?;
        check.values[field] = value;
    }
    Some(check)
}

/// Returns the id of the address space that page tables have, if a call of the program made both.
pub(crate) fn space_of(calls: &[Call], tables: &Value) -> Option<Value> {
    let mut id = tables.clone();
    loop {
        let Value::Of {
            call,
            field,
            plus: 0,
        } = id
        else {
            return None;
        };
        let maker = &calls[call];
        match maker.of.makes().find(|(made, _)| *made == field)?.1 {
            Res::Ioas => return Some(id),
            // Page tables are made for an address space, or from others.
            Res::Hwpt => {
                let from = maker.of.field("pt_id").or(maker.of.field("id"))?;
                id = maker.values[from].clone();
            }
            _ => return None,
        }
    }
}

fn of_call(call: usize, field: usize) -> Value {
    Value::Of {
        call,
        field,
        plus: 0,
    }
}
