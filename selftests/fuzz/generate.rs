// SPDX-License-Identifier: GPL-2.0-only

//! Makes programs at random, and changes programs at random.

use crate::{
    memory::{
        Place,
        ARENA_PAGES,
        FILES,
        PAGE, //
    },
    program::{
        left,
        usual_values,
        Call,
        Element,
        Program,
        Value,
        Who,
        MOST_CALLS, //
    },
    random::Random,
    sys::c,
    table::{
        calls,
        Action,
        CallType,
        Kind,
        Layout,
        Named,
        Res, //
    },
};

pub(crate) struct Generator {
    pub(crate) random: Random,
    types: Vec<&'static CallType>,
    sum: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let types: Vec<_> = calls().collect();
        Self {
            random: Random::new(seed),
            sum: types.iter().map(|of| of.weight as usize).sum(),
            types,
        }
    }

    /// Returns a program of at most so many calls more than what resources they need.
    pub(crate) fn program(&mut self, length: usize) -> Program {
        let mut program = Program::new();
        let calls = 1 + self.random.below(length);
        for _ in 0..calls {
            self.append(&mut program);
        }
        program
    }

    /// Returns a changed copy of a program. Another one may lend it calls.
    pub(crate) fn mutate(&mut self, program: &Program, other: &Program) -> Program {
        let mut program = program.clone();
        for _ in 0..1 + self.random.below(4) {
            match self.random.below(10) {
                0..=2 => self.append(&mut program),
                3..=6 => self.change(&mut program),
                7 => {
                    let gone = 1 + self.random.below(program.calls.len());
                    program = program.without(&|index| index == gone);
                }
                8 => self.repeat(&mut program),
                _ => splice(&mut program, other),
            }
        }
        if program.calls.len() > MOST_CALLS {
            program = program.without(&|index| index >= MOST_CALLS);
        }
        program
    }

    /// Moves the last calls of a program to threads. The calls that make their resources stay.
    pub(crate) fn spread(&mut self, program: &Program) -> Program {
        let mut program = program.without(&|index| {
            let call = &program.calls[index];
            matches!(
                call.of.action,
                Action::Fork | Action::Kill | Action::Limit | Action::Open
            ) || call.who != Who::Main
        });
        let threads = 2 + self.random.below(3);
        let most = program.calls.len().min(MOST_CALLS / 2);
        let begin = most - self.random.below(most.max(1) / 2 + 1);
        let head = program.calls.clone();
        program.calls.truncate(begin);
        // Each thread makes the last calls and some others, which refer to what is made before.
        for thread in 0..threads {
            for _ in 0..2 + self.random.below(4) {
                let from = 1 + self.random.below(head.len().saturating_sub(1));
                let Some(call) = head.get(from) else { continue };
                let mut call = call.clone();
                call.who = Who::Thread(thread);
                call.renumber(&|old| (old < begin).then_some(old));
                if program.calls.len() < MOST_CALLS {
                    program.calls.push(call);
                }
            }
        }
        program
    }

    fn append(&mut self, program: &mut Program) {
        let mut at = self.random.below(self.sum);
        let mut chosen = self.types.first().copied();
        for &of in &self.types {
            chosen = Some(of);
            match at.checked_sub(of.weight as usize) {
                Some(rest) => at = rest,
                None => break,
            }
        }
        if let Some(of) = chosen {
            self.append_type(program, of, 0);
        }
    }

    fn append_type(&mut self, program: &mut Program, of: &'static CallType, depth: usize) {
        if program.calls.len() >= MOST_CALLS - 1 {
            return;
        }
        let mut call = Call::new(of);
        for index in 0..of.layout.fields.len() {
            if let Some(value) = self.value(program, of.layout, index, depth) {
                call.values[index] = value;
            }
        }
        self.count(&mut call);
        if of.action == Action::Fork && count(program, Action::Fork) >= 2 {
            return;
        }
        let children = count(program, Action::Fork);
        if children > 0 && of.action != Action::Fork && self.random.one_in(3) {
            call.who = Who::Child(self.random.below(children));
        }
        if matches!(of.action, Action::Ioctl(_)) && self.random.one_in(60) {
            call.place = match self.random.below(3) {
                0 => Place::ReadOnly,
                1 => Place::Cut,
                _ => Place::Fresh,
            };
        }
        program.calls.push(call);
    }

    /// Sets the fields that say how large arrays and buffers are.
    fn count(&mut self, call: &mut Call) {
        for (index, field) in call.of.layout.fields.iter().enumerate() {
            let (Kind::Array(_, name) | Kind::Buffer(name)) = field.kind else {
                continue;
            };
            let number = match &call.values[index] {
                Value::Array(elements) if name == "data_len" || name == "length" => elements
                    .iter()
                    .map(|element| element.layout.size as u64)
                    .sum(),
                Value::Array(elements) => elements.len() as u64,
                Value::Buffer(bytes) => *bytes,
                _ => continue,
            };
            if let Some(count) = call.of.field(name) {
                if !self.random.one_in(25) {
                    call.values[count] = Value::Number(number);
                }
            }
        }
    }

    /// Changes a value of a call.
    fn change(&mut self, program: &mut Program) {
        let index = 1 + self.random.below(program.calls.len().saturating_sub(1));
        if index >= program.calls.len() {
            return;
        }
        let of = program.calls[index].of;
        if of.layout.fields.is_empty() {
            return;
        }
        let field = self.random.below(of.layout.fields.len());
        // The value may refer to what was made before the call only.
        let mut before = Program {
            calls: program.calls[..index].to_vec(),
        };
        let Some(value) = self.value(&mut before, of.layout, field, usize::MAX) else {
            return;
        };
        let call = &mut program.calls[index];
        call.values[field] = value;
        if matches!(
            of.layout.fields[field].kind,
            Kind::Array(..) | Kind::Buffer(_)
        ) {
            self.count(call);
        }
    }

    fn repeat(&mut self, program: &mut Program) {
        let index = 1 + self.random.below(program.calls.len().saturating_sub(1));
        if let Some(call) = program.calls.get(index).cloned() {
            if call.of.action != Action::Fork {
                program.calls.push(call);
            }
        }
    }

    /// Returns a value for a field, or nothing if it keeps the usual one. Makes what it refers to.
    fn value(
        &mut self,
        program: &mut Program,
        layout: &'static Layout,
        index: usize,
        depth: usize,
    ) -> Option<Value> {
        let field = &layout.fields[index];
        let number = match field.kind {
            Kind::Size if self.random.one_in(40) => {
                let size = layout.size as u64;
                *self.random.pick(&[
                    0,
                    4,
                    size - 4,
                    size + 8,
                    size + 64,
                    PAGE,
                    PAGE + 1,
                    size - 1,
                ])?
            }
            Kind::Zero if self.random.one_in(60) => {
                1 << self.random.below(8 * field.size.clamp(1, 8))
            }
            Kind::Fixed(_)
            | Kind::Size
            | Kind::Zero
            | Kind::OutId(_)
            | Kind::OutFd(_)
            | Kind::Result
            | Kind::Echo
            | Kind::Count => {
                return None;
            }
            Kind::Flags(bits) => self.flags(bits, field.size),
            Kind::Choice(of) => {
                let numbers: Vec<u64> = of.iter().map(|named| named.value).collect();
                self.number(&numbers)
            }
            Kind::Number(of) => self.number(of),
            Kind::Id(of) => return Some(self.resource(program, of, depth)),
            Kind::Fd(of) => {
                if field.size == 0 && of.contains(&Res::Context) && !self.random.one_in(20) {
                    return None;
                }
                return Some(self.resource(program, of, depth));
            }
            Kind::File => match self.random.below(8) {
                0 => {
                    return Some(self.resource(
                        program,
                        &[
                            Res::Context,
                            Res::FaultFd,
                            Res::AccessFd,
                            Res::DmaBuf,
                            Res::Vfio,
                        ],
                        depth,
                    ))
                }
                1 => return Some(Value::File(self.random.below(FILES))),
                _ => return Some(Value::File(0)),
            },
            Kind::Iova => return Some(self.iova(program)),
            Kind::Length => self.length(),
            Kind::Memory => {
                if self.random.one_in(30) {
                    return Some(Value::Number(*self.random.pick(&[
                        0,
                        u64::MAX,
                        u64::MAX - PAGE + 1,
                        1 << 47,
                    ])?));
                }
                // Most of it is the first pages, so that areas share pages.
                let pages = if self.random.one_in(3) {
                    ARENA_PAGES as usize
                } else {
                    8
                };
                let page = self.random.below(pages) as u64;
                let odd = if self.random.one_in(10) {
                    self.random.below(PAGE as usize) as u64
                } else {
                    0
                };
                return Some(Value::Memory(page * PAGE + odd));
            }
            // Most calls need no data.
            Kind::Array(_, "data_len")
                if layout.name != "iommu_viommu_alloc" && self.random.one_in(2) =>
            {
                0
            }
            Kind::Array(layouts, _) => {
                if self.random.one_in(30) {
                    return Some(Value::Number(*self.random.pick(&[0, 1, u64::MAX])?));
                }
                let element = *self.random.pick(layouts)?;
                let count = [0, 1, 1, 1, 1, 2, 2, 3][self.random.below(8)];
                return Some(Value::Array(
                    (0..count).map(|_| self.element(program, element)).collect(),
                ));
            }
            Kind::Buffer(_) => {
                return Some(Value::Buffer(*self.random.pick(&[0, 4, 8, 16, 24, 64])?))
            }
            Kind::Bitmap => return Some(Value::Buffer(*self.random.pick(&[8, 64, 512])?)),
        };
        Some(Value::Number(number))
    }

    fn element(&mut self, program: &mut Program, layout: &'static Layout) -> Element {
        let mut values = usual_values(layout);
        for (index, value) in values.iter_mut().enumerate() {
            if let Some(new) = self.value(program, layout, index, usize::MAX) {
                *value = new;
            }
        }
        Element { layout, values }
    }

    fn number(&mut self, of: &[u64]) -> u64 {
        let first = of.first().copied().unwrap_or(0);
        match self.random.below(40) {
            0 => self.random.next(),
            1 => 1 << self.random.below(64),
            // What comes first is what works.
            2..=22 => first,
            _ => self.random.pick(of).copied().unwrap_or(first),
        }
    }

    fn flags(&mut self, bits: &[Named], size: usize) -> u64 {
        let chosen: u64 = match self.random.below(6) {
            0 => 0,
            1..=2 => bits.iter().fold(0, |flags, bit| flags | bit.value),
            3..=4 => self.random.pick(bits).map_or(0, |bit| bit.value),
            _ => bits
                .iter()
                .filter(|_| self.random.one_in(2))
                .fold(0, |flags, bit| flags | bit.value),
        };
        if self.random.one_in(50) {
            chosen | 1 << self.random.below(8 * size.clamp(1, 8))
        } else {
            chosen
        }
    }

    fn length(&mut self) -> u64 {
        let pages = [1, 1, 1, 2, 2, 3, 4, 8, 16][self.random.below(9)];
        match self.random.below(30) {
            0 => 0,
            1 => u64::MAX - [0, PAGE - 1, 7][self.random.below(3)],
            2 => 1 << self.random.below(64),
            3..=4 => pages * PAGE / 2,
            5 => 1 + self.random.below(3 * PAGE as usize) as u64,
            _ => pages * PAGE,
        }
    }

    fn iova(&mut self, program: &Program) -> Value {
        let known = resources(program, &|kind| matches!(kind, Kind::Iova));
        if let Some(&(call, field)) = self.random.pick(&known) {
            if self.random.below(4) < 2 {
                let plus = if self.random.one_in(3) {
                    PAGE * (1 + self.random.below(3) as u64)
                } else {
                    0
                };
                return Value::Of { call, field, plus };
            }
        }
        let start = u64::from(c::MOCK_APERTURE_START);
        Value::Number(match self.random.below(16) {
            0 => 0,
            1 => u64::MAX - [0, PAGE - 1, 2 * PAGE - 1][self.random.below(3)],
            2 => u64::from(c::MOCK_APERTURE_LAST) + 1 - PAGE * self.random.below(4) as u64,
            3 => start + u64::from(c::MOCK_PAGE_SIZE) * self.random.below(32) as u64,
            4 => 1 << self.random.below(64),
            5 => start - PAGE,
            _ => start + PAGE * self.random.below(16) as u64,
        })
    }

    /// Returns a reference to a resource, which is made if there is none.
    fn resource(&mut self, program: &mut Program, of: &[Res], depth: usize) -> Value {
        match self.random.below(60) {
            0 => return Value::Number(self.random.below(12) as u64),
            1 => {
                return Value::Number(
                    *self
                        .random
                        .pick(&[u64::from(u32::MAX), 0x7fff_ffff, 1 << 31])
                        .unwrap_or(&0),
                )
            }
            2 => {
                // The modules number faults otherwise, so that a cookie is an id in one of them only.
                let any = resources(
                    program,
                    &|kind| matches!(kind, Kind::OutId(res) | Kind::OutFd(res) if *res != Res::Cookie),
                );
                if let Some(&(call, field)) = self.random.pick(&any) {
                    return Value::Of {
                        call,
                        field,
                        plus: 0,
                    };
                }
            }
            _ => {}
        }
        let Some(&wanted) = self.random.pick(of) else {
            return Value::Number(0);
        };
        let exactly =
            |kind: &Kind| matches!(kind, Kind::OutId(res) | Kind::OutFd(res) if *res == wanted);
        let any_of =
            |kind: &Kind| matches!(kind, Kind::OutId(res) | Kind::OutFd(res) if of.contains(res));
        let mut known = resources(program, &exactly);
        // The maker of what is missing, which may need something itself.
        if (known.is_empty() || self.random.one_in(12)) && depth < 5 {
            let makers: Vec<_> = self
                .types
                .iter()
                .copied()
                .filter(|of| of.weight > 0 && of.makes().any(|(_, res)| res == wanted))
                .collect();
            if let Some(&maker) = self.random.pick(&makers) {
                self.append_type(program, maker, depth + 1);
            }
            known = resources(program, &exactly);
        }
        if known.is_empty() {
            known = resources(program, &any_of);
        }
        match self.random.pick(&known) {
            Some(&(call, field)) => Value::Of {
                call,
                field,
                plus: 0,
            },
            None => Value::Number(0),
        }
    }
}

fn count(program: &Program, action: Action) -> usize {
    program
        .calls
        .iter()
        .filter(|call| call.of.action == action)
        .count()
}

/// Returns the calls and fields of such a kind.
fn resources(program: &Program, wanted: &dyn Fn(&Kind) -> bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (number, call) in program.calls.iter().enumerate() {
        for (index, field) in left(call.of).iter().enumerate() {
            if wanted(&field.kind) {
                found.push((number, index));
            }
        }
    }
    found
}

/// Appends the calls of another program.
fn splice(program: &mut Program, other: &Program) {
    let shift = program.calls.len() - 1;
    for call in other.calls.iter().skip(1) {
        if call.of.action == Action::Fork || call.who != Who::Main {
            // The children of two programs would be mixed up.
            return;
        }
        let mut call = call.clone();
        call.renumber(&|old| Some(if old == 0 { 0 } else { old + shift }));
        program.calls.push(call);
    }
}
