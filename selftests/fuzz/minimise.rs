// SPDX-License-Identifier: GPL-2.0-only

//! Makes programs smaller, by one step at a time: a call less, or a field with its usual value.

use crate::{
    memory::Place,
    program::{
        usual_values,
        Program,
        Value,
        Who, //
    }, //
};

/// Returns what is one step smaller than the program. What leaves out most is first.
pub(crate) fn smaller(program: &Program) -> Vec<Program> {
    let count = program.calls.len();
    let mut found = Vec::new();
    let mut width = count / 2;
    while width > 0 {
        for start in (1..count).step_by(width) {
            found.push(program.without(&|index| (start..start + width).contains(&index)));
        }
        width /= 2;
    }
    for index in 1..count {
        let call = &program.calls[index];
        let mut change = |change: &dyn Fn(&mut Program)| {
            let mut changed = program.clone();
            change(&mut changed);
            found.push(changed);
        };
        if call.place != Place::Normal {
            change(&|program| program.calls[index].place = Place::Normal);
        }
        if matches!(call.who, Who::Child(_)) {
            change(&|program| program.calls[index].who = Who::Main);
        }
        for (field, usual) in usual_values(call.of.layout).into_iter().enumerate() {
            if call.values[field] != usual {
                change(&|program| program.calls[index].values[field] = usual.clone());
            }
            if let Value::Array(elements) = &call.values[field] {
                if elements.len() > 1 {
                    change(&|program| {
                        if let Value::Array(elements) = &mut program.calls[index].values[field] {
                            elements.pop();
                        }
                    });
                }
            }
        }
    }
    found.retain(|smaller| smaller.is_sound());
    found
}

/// Returns how large a program is: calls count more than values.
pub(crate) fn size(program: &Program) -> usize {
    let values = |call: &crate::program::Call| {
        usual_values(call.of.layout)
            .iter()
            .zip(&call.values)
            .filter(|(usual, value)| usual != value)
            .count()
    };
    program.calls.iter().map(|call| 100 + values(call)).sum()
}
