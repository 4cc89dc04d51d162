// SPDX-License-Identifier: GPL-2.0-only

//! Chooses few and small programs that reach all code that many do.

use std::{
    collections::BTreeSet,
    time::{
        Duration,
        Instant, //
    },
};

use crate::{
    execute::Executor,
    program::Program, //
};

pub(crate) struct Distiller {
    executor: Executor,
    /// What the programs that were kept reach.
    reached: BTreeSet<u32>,
}

impl Distiller {
    pub(crate) fn new() -> Result<Self, String> {
        let executor = Executor::with_coverage()?;
        if executor.coverage.is_none() {
            return Err("the kernel has no KCOV".to_string());
        }
        Ok(Self {
            executor,
            reached: BTreeSet::new(),
        })
    }

    fn run(&mut self, program: &Program) -> BTreeSet<u32> {
        self.executor.run(program);
        let coverage = self.executor.coverage.as_ref();
        coverage.map_or(BTreeSet::new(), |coverage| coverage.last.clone())
    }

    /// Returns those of the candidates that reach what neither the programs of `kept` nor smaller ones do,
    /// each without the calls that this does not need. Takes not much longer than `time`.
    pub(crate) fn choose(
        &mut self,
        kept: &[Program],
        mut candidates: Vec<Program>,
        time: Duration,
    ) -> Vec<Program> {
        let end = Instant::now() + time;
        for program in kept {
            let reached = self.run(program);
            self.reached.extend(reached);
        }
        candidates.sort_by_key(|program| program.calls.len());
        let mut chosen = Vec::new();
        for program in candidates {
            if Instant::now() > end {
                break;
            }
            // What it does not reach the second time is no property of the program.
            let first: BTreeSet<u32> = self
                .run(&program)
                .difference(&self.reached)
                .copied()
                .collect();
            if first.is_empty() {
                continue;
            }
            let new = &first & &self.run(&program);
            if new.is_empty() {
                continue;
            }
            let program = self.smaller(program, &new);
            let reached = self.run(&program);
            self.reached.extend(reached);
            chosen.push(program);
        }
        chosen
    }

    /// Removes each call without which a program still reaches these places.
    fn smaller(&mut self, mut program: Program, places: &BTreeSet<u32>) -> Program {
        for index in (1..program.calls.len()).rev() {
            let without = program.without(&|at| at == index);
            if without.is_sound() && places.is_subset(&self.run(&without)) {
                program = without;
            }
        }
        program
    }

    /// Returns how many places the programs that were kept reach.
    pub(crate) fn places(&self) -> usize {
        self.reached.len()
    }
}
