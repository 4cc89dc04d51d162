// SPDX-License-Identifier: GPL-2.0-only

//! What code the programs of the tree reach, and loading and unloading the module, which may fail at each
//! allocation.

use crate::{
    coverage::Coverage,
    execute::{
        left_pinned,
        Executor, //
    },
    inject::By,
    observe,
    program::Program,
    sys::{
        self,
        c, //
    },
};

/// How often a program of threads runs: they meet in other places each time.
const RUNS: usize = 8;

/// The most allocations that fail when the module is loaded. Those of the kernel's loader are made first.
const MOST: u32 = 240;

/// Runs the programs of the tree, and those with threads; then again while what can be seen of contexts is
/// read, and the kernel's tracepoints are on. Unloads the module and loads it from a file. Prints what all of
/// it reached.
pub(crate) fn all(programs: &[Program], threads: &[Program], module: &str) -> Result<(), String> {
    let file = open(module)?;
    let mut executor = Executor::with_coverage()?;
    for looks in [false, true] {
        if looks {
            with_coverage(&mut executor, |_| observe::turn_on())??;
        }
        // Why a call was refused is said until another one is.
        executor.looks = looks;
        for program in programs {
            executor.run(program);
        }
        executor.looks = false;
        for program in threads {
            for _ in 0..RUNS {
                let trace = executor.run(program);
                if let Some(left) = left_pinned(&trace) {
                    return Err(format!("{left}:\n{program}"));
                }
            }
        }
    }
    let mut coverage = executor.coverage.ok_or("the kernel has no KCOV")?;
    coverage.unload()?;
    match coverage.load(file) {
        0 => coverage.print("corpus reached"),
        error => return Err(format!("loading: errno {}", -error)),
    }
    Ok(())
}

fn open(path: &str) -> Result<i64, String> {
    match sys::open(path, c::O_RDONLY) {
        file if file >= 0 => Ok(file),
        error => Err(format!("{path}: errno {}", -error)),
    }
}

fn with_coverage<T>(
    executor: &mut Executor,
    f: impl FnOnce(&mut Coverage) -> T,
) -> Result<T, String> {
    let coverage = executor.coverage.as_mut().ok_or("the kernel has no KCOV")?;
    coverage.begin();
    let result = f(coverage);
    coverage.end();
    Ok(result)
}

/// Unloads the module, and lets each `step`-th of the last allocations fail that are made when it is loaded.
/// It must be possible to load it afterwards. Prints a test.
pub(crate) fn failing_loads(step: u32, module: &str) -> Result<(), String> {
    let file = open(module)?;
    let by = By::open()?.into_iter().next().ok_or("nothing can fail")?;
    let mut coverage = Coverage::open().ok_or("the kernel has no KCOV")?;
    coverage.unload()?;
    // This one says where code is.
    whole_load(&mut coverage, file)?;
    let mut try_one = |nth| {
        by.arm(nth);
        let result = coverage.load(file);
        let happened = by.disarm();
        if result == 0 {
            coverage.unload()?;
        }
        Ok::<_, String>((happened, result))
    };
    // Looks for the last allocation.
    let mut none = 64;
    while try_one(none)?.0 {
        none *= 2;
    }
    let mut some = none / 2;
    while none - some > 1 {
        let middle = (some + none) / 2;
        match try_one(middle)?.0 {
            true => some = middle,
            false => none = middle,
        }
    }
    let (mut count, mut failed) = (0, 0);
    for nth in (some.saturating_sub(MOST) + 1..=some).step_by(step as usize) {
        let (happened, result) = try_one(nth)?;
        count += u32::from(happened);
        failed += u32::from(result != 0);
    }
    if coverage.load(file) != 0 {
        return Err("the module cannot be loaded any more".to_string());
    }
    if count == 0 {
        return Err("nothing failed while the module was loaded".to_string());
    }
    println!("KTAP version 1\n1..1");
    coverage.print("reached");
    println!("ok 1 the module is loaded: {some} allocations, {count} failures, {failed} answered");
    Ok(())
}

fn whole_load(coverage: &mut Coverage, file: i64) -> Result<(), String> {
    match coverage.load(file) {
        0 => coverage.unload(),
        error => Err(format!("loading: errno {}", -error)),
    }
}
