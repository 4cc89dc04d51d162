// SPDX-License-Identifier: GPL-2.0-only

//! Programs of several threads. Whatever they do, no page is pinned when all is closed, and the
//! answers are those of some order in which the calls are made one after the other.

use crate::{
    execute::{
        Executor,
        Trace, //
    },
    program::{
        Program,
        Who, //
    },
};

/// How often a program runs.
const RUNS: usize = 6;
/// The most orders that are tried.
const MOST_ORDERS: usize = 24;

/// Runs a program of threads. Returns what is wrong.
pub(crate) fn judge(executor: &mut Executor, program: &Program) -> Option<String> {
    let begin = program
        .calls
        .iter()
        .position(|call| matches!(call.who, Who::Thread(_)))?;
    let mut orders: Option<Vec<Trace>> = None;
    for _ in 0..RUNS {
        let trace = executor.run(program);
        if let Some(last) = trace
            .last()
            .filter(|last| !last.starts_with("after close: 0 KiB"))
        {
            return Some(last.clone());
        }
        // A call that meets another one at work may be refused.
        if trace.iter().any(|line| {
            ["EBUSY", "EAGAIN", "ENOENT"]
                .iter()
                .any(|name| line.starts_with(name))
        }) {
            continue;
        }
        let orders = orders.get_or_insert_with(|| {
            let orders = interleavings(program, begin);
            let few = orders.iter().filter(|_| orders.len() < MOST_ORDERS);
            few.map(|order| in_order(executor, program, begin, order))
                .collect()
        });
        let calls = program.calls.len();
        let is_explained =
            orders.is_empty() || orders.iter().any(|order| order[..calls] == trace[..calls]);
        if !is_explained {
            return Some(format!(
                "no order of the calls explains: {}",
                trace[begin..calls].join("; ")
            ));
        }
    }
    None
}

/// Returns the orders of the threads' calls, each as the numbers of the calls.
fn interleavings(program: &Program, begin: usize) -> Vec<Vec<usize>> {
    let mut threads: Vec<Vec<usize>> = vec![Vec::new(); 4];
    for (index, call) in program.calls.iter().enumerate().skip(begin) {
        if let Who::Thread(thread) = call.who {
            threads[thread].push(index);
        }
    }
    let mut orders = Vec::new();
    extend(&mut vec![0; 4], &threads, &mut Vec::new(), &mut orders);
    orders
}

fn extend(
    done: &mut Vec<usize>,
    threads: &[Vec<usize>],
    order: &mut Vec<usize>,
    orders: &mut Vec<Vec<usize>>,
) {
    if orders.len() >= MOST_ORDERS {
        return;
    }
    let mut is_end = true;
    for thread in 0..threads.len() {
        if let Some(&call) = threads[thread].get(done[thread]) {
            is_end = false;
            done[thread] += 1;
            order.push(call);
            extend(done, threads, order, orders);
            order.pop();
            done[thread] -= 1;
        }
    }
    if is_end {
        orders.push(order.clone());
    }
}

/// Runs the calls one after the other. Returns the answers in the order of the program.
fn in_order(executor: &mut Executor, program: &Program, begin: usize, order: &[usize]) -> Trace {
    let mut calls = program.calls[..begin].to_vec();
    // Calls of threads refer to what was made before the threads only.
    calls.extend(order.iter().map(|&index| {
        let mut call = program.calls[index].clone();
        call.who = Who::Main;
        call
    }));
    let trace = executor.run(&Program { calls });
    let mut sorted = trace.clone();
    for (at, &index) in order.iter().enumerate() {
        sorted[index].clone_from(&trace[begin + at]);
    }
    sorted
}
