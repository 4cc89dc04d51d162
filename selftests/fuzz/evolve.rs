// SPDX-License-Identifier: GPL-2.0-only

//! Makes programs out of programs that reached something new: code, if the kernel has KCOV, and
//! answers.

use std::{
    collections::HashSet,
    io::Write,
    time::{
        Duration,
        Instant, //
    },
};

use crate::{
    differences::Differences,
    end::with_state,
    execute::{
        Executor,
        Trace, //
    },
    generate::Generator,
    program::Program,
};

/// The most programs that are kept to be changed.
const MOST: usize = 4096;

pub(crate) struct Evolution {
    executor: Executor,
    generator: Generator,
    /// The names of calls, each with the first word of an answer.
    answers: HashSet<String>,
    /// Those that reached something new.
    pub(crate) pool: Vec<Program>,
    pub(crate) programs: usize,
    pub(crate) calls: usize,
    /// The time that programs ran.
    running: Duration,
}

impl Evolution {
    pub(crate) fn new(seed: u64) -> Result<Self, String> {
        Ok(Self {
            executor: Executor::with_coverage()?,
            generator: Generator::new(seed),
            answers: HashSet::new(),
            pool: Vec::new(),
            programs: 0,
            calls: 0,
            running: Duration::ZERO,
        })
    }

    /// Runs a program. Returns its answers, and whether it reached something new.
    pub(crate) fn run(&mut self, program: &Program) -> (Trace, bool) {
        let start = Instant::now();
        let trace = self.executor.run(program);
        self.running += start.elapsed();
        let coverage = self.executor.coverage.as_ref();
        let mut is_new = coverage.is_some_and(|coverage| coverage.new > 0);
        for (call, line) in program.calls.iter().zip(&trace) {
            let word = line.split(' ').next().unwrap_or("");
            is_new |= self.answers.insert(format!("{} {word}", call.of.name));
        }
        self.programs += 1;
        self.calls += program.calls.len();
        (trace, is_new)
    }

    /// Makes and runs programs for some time, and writes them and their answers.
    pub(crate) fn go(
        &mut self,
        corpus: &[Program],
        time: Duration,
        most: usize,
        differences: &Differences,
        programs: &mut dyn Write,
        answers: &mut dyn Write,
    ) -> std::io::Result<()> {
        let mut write = |program: &Program, trace: &Trace| {
            writeln!(programs, "{program}")?;
            writeln!(answers, "{}\n", trace.join("\n"))
        };
        for program in corpus {
            let whole = with_state(program.clone());
            let (trace, is_new) = self.run(&whole);
            write(&whole, &trace)?;
            if is_new {
                self.pool.push(program.clone());
            }
        }
        let end = Instant::now() + time;
        while Instant::now() < end && self.programs < most {
            let random = &mut self.generator.random;
            let (one, other) = (
                random.pick(&self.pool).cloned(),
                random.pick(&self.pool).cloned(),
            );
            let program = match (one, other) {
                (Some(one), Some(other)) if !random.one_in(6) => {
                    self.generator.mutate(&one, &other)
                }
                _ => self.generator.program(12),
            };
            if !program.is_sound() || differences.avoids(&program) {
                continue;
            }
            let whole = with_state(program.clone());
            let (trace, is_new) = self.run(&whole);
            write(&whole, &trace)?;
            if is_new && self.pool.len() < MOST {
                self.pool.push(program);
            }
        }
        Ok(())
    }

    /// Prints what was done and reached.
    pub(crate) fn print(&self, seconds: f64) {
        let rate = |count: usize| count as f64 / seconds.max(0.001);
        println!(
            "# {} programs, {} calls, {:.1} programs and {:.0} calls a second, {:.0} % of the time in programs",
            self.programs,
            self.calls,
            rate(self.programs),
            rate(self.calls),
            100.0 * self.running.as_secs_f64() / seconds.max(0.001)
        );
        println!(
            "# {} kinds of answers, {} programs reached something new",
            self.answers.len(),
            self.pool.len()
        );
        if let Some(coverage) = &self.executor.coverage {
            coverage.print("reached");
        }
    }
}
