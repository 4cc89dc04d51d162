// SPDX-License-Identifier: GPL-2.0-only

//! A fuzzer of `/dev/iommu` that compares two modules. Documentation/fuzzing.rst says how it is
//! used.
//!
//! It runs in a guest in steps, because only one module is loaded at a time: programs are made, run
//! on one module, run on the other, and the answers are compared.

mod answer;
mod calls;
mod calls_other;
mod calls_test;
mod check;
mod children;
mod compare;
mod cover;
mod coverage;
mod describe;
mod differences;
mod distill;
mod end;
mod evolve;
mod execute;
mod generate;
mod inject;
mod killed;
mod memory;
mod minimise;
mod observe;
mod program;
mod race;
mod random;
mod slots;
mod sys;
mod table;
mod vfio;

use std::{
    fs,
    io::Write,
    process::ExitCode,
    time::{
        Duration,
        Instant, //
    },
};

use compare::{
    parse_traces,
    Found, //
};
use differences::Differences;
use end::with_state;
use execute::Executor;
use generate::Generator;
use program::{
    parse_all,
    Program, //
};

const USAGE: &str = "usage:
  fuzz corpus [CALL]                 print the programs of the tree that both modules can run: all, or
                                     those with such a call
  fuzz describe                      print descriptions for syzkaller
  fuzz check                         check those of the tree, that programs can be read, that the
                                     corpus is small, and what is a finding
  fuzz generate SEED COUNT [CALL]    print programs: any, or those with such a call
  fuzz run PROGRAMS ANSWERS          run programs; write what the module answered
  fuzz evolve SEED SECONDS MOST PROGRAMS ANSWERS POOL
                                     make and run programs, at most so many, guided by what they
                                     reach; write them, the answers, and those that reached
                                     something new, with which the next run begins
  fuzz cover MODULE                  run the programs of the tree, unload the module and load it from that
                                     file; print what code that reaches
  fuzz show [PROGRAMS]               run programs, or those of the tree; print them with the answers, and
                                     with the ids and descriptors, which are not compared
  fuzz load STEP MODULE              let each STEP-th allocation of loading the module fail
  fuzz distill SECONDS PROGRAMS      print those of the programs, smaller if possible, that reach code
                                     that neither the tree's nor others of them do
  fuzz inject STEP SHARE [PROGRAMS]  let each STEP-th thing that can fail in programs, or those of
                                     the tree, fail; SHARE is which of how many parts of them: 1/1
  fuzz race SEED SECONDS             run programs of threads
  fuzz meet SECONDS                  run those of the tree that have threads, until one is wrong
  fuzz kill SECONDS                  run those of the tree in which a child is killed at work
  fuzz compare PROGRAMS C OURS [KNOWN]
                                     print findings, programs with different answers, without
                                     those of the file KNOWN; say how many calls were not compared
  fuzz smaller FINDINGS              print programs that are a step smaller
  fuzz pick FINDINGS SMALLER C OURS  print findings: the smallest that differ in the same way
  fuzz report COMPARED FINDINGS      print findings as KTAP; COMPARED says what was compared";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Err(message) = become_user() {
        eprintln!("{message}");
        return ExitCode::FAILURE;
    }
    let done = match words[..] {
        ["generate", seed, count] => generate(seed, count, None),
        ["generate", seed, count, call] => generate(seed, count, Some(call)),
        ["run", programs, traces] => run(programs, traces),
        ["evolve", seed, seconds, most, programs, answers, pool] => {
            evolve(seed, seconds, most, [programs, answers, pool])
        }
        ["cover", module] => {
            corpus().and_then(|programs| cover::all(&programs, &threads()?, module))
        }
        ["show"] => corpus().and_then(show),
        ["show", programs] => read(programs).and_then(|text| show(parse_all(&text)?)),
        ["load", step, module] => {
            number(step).and_then(|step| cover::failing_loads(step.max(1) as u32, module))
        }
        ["distill", seconds, programs] => distill(seconds, programs),
        ["inject", step, share] => corpus().and_then(|programs| inject(step, share, programs)),
        ["inject", step, share, programs] => {
            read(programs).and_then(|text| inject(step, share, parse_all(&text)?))
        }
        ["race", seed, seconds] => race(seed, seconds),
        ["meet", seconds] => meet(seconds),
        ["kill", seconds] => kill(seconds),
        ["describe"] => {
            print!("{}", describe::all());
            Ok(())
        }
        ["check"] => differences().and_then(|rules| check::all(&rules)),
        ["corpus"] => print_corpus(None),
        ["corpus", call] => print_corpus(Some(call)),
        ["compare", programs, c, ours] => compare(programs, c, ours, ""),
        ["compare", programs, c, ours, known] => {
            read(known).and_then(|known| compare(programs, c, ours, &known))
        }
        ["smaller", findings] => smaller(findings),
        ["pick", findings, smaller, c, ours] => pick(findings, smaller, c, ours),
        ["report", compared, findings] => report(compared, findings),
        _ => Err(USAGE.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), String>;

/// Becomes the user whose number is in FUZZ_USER, if that is set. What is charged to one user is not charged
/// to another.
fn become_user() -> Done {
    let Ok(user) = std::env::var("FUZZ_USER") else {
        return Ok(());
    };
    match sys::become_user(number(&user)?) {
        0 => Ok(()),
        error => Err(format!("FUZZ_USER={user}: errno {}", -error)),
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("no number: {text}"))
}

/// Returns the programs of the tree's corpus, without those that have threads.
fn corpus() -> Result<Vec<Program>, String> {
    let mut programs = parse_all(include_str!(env!("FUZZ_CORPUS")))?;
    programs.retain(|program| !program.has_threads() && !program.has_killed());
    Ok(programs)
}

/// Returns those that have threads: what they answer depends on who is first.
fn threads() -> Result<Vec<Program>, String> {
    let mut programs = parse_all(include_str!(env!("FUZZ_CORPUS")))?;
    programs.retain(Program::has_threads);
    Ok(programs)
}

/// Returns those in which a child is killed at work.
fn killed() -> Result<Vec<Program>, String> {
    let mut programs = parse_all(include_str!(env!("FUZZ_CORPUS")))?;
    programs.retain(Program::has_killed);
    Ok(programs)
}

/// Removes programs that have no such call, if one is named.
fn retain_with(programs: &mut Vec<Program>, call: Option<&str>) -> Done {
    let Some(name) = call else { return Ok(()) };
    table::find(name).ok_or_else(|| format!("no call: {name}"))?;
    programs.retain(|program| has_call(program, call));
    Ok(())
}

fn has_call(program: &Program, call: Option<&str>) -> bool {
    call.is_none_or(|name| program.calls.iter().any(|call| call.of.name == name))
}

fn print_corpus(call: Option<&str>) -> Done {
    let (mut programs, avoided) = (corpus()?, differences()?);
    retain_with(&mut programs, call)?;
    programs.retain(|program| !avoided.avoids(program));
    for program in programs {
        println!("{}", with_state(program));
    }
    Ok(())
}

fn differences() -> Result<Differences, String> {
    Differences::parse(include_str!("differences.txt"))
}

fn generate(seed: &str, count: &str, call: Option<&str>) -> Done {
    let (differences, mut corpus) = (differences()?, corpus()?);
    retain_with(&mut corpus, call)?;
    let mut generator = Generator::new(number(seed)?);
    let mut left = number(count)?;
    while left > 0 {
        let program = match (
            generator.random.pick(&corpus).cloned(),
            generator.random.pick(&corpus),
        ) {
            (Some(one), Some(other)) if generator.random.one_in(2) => generator.mutate(&one, other),
            _ => generator.program(12),
        };
        if program.is_sound() && has_call(&program, call) && !differences.avoids(&program) {
            println!("{}", with_state(program));
            left -= 1;
        }
    }
    Ok(())
}

fn run(programs: &str, traces: &str) -> Done {
    let text = read(programs)?;
    let mut out = create(traces)?;
    let mut executor = Executor::new()?;
    let start = Instant::now();
    let (mut count, mut calls) = (0, 0);
    // One is read at a time: what memory there is slows each fork down.
    for block in blocks(&text) {
        for program in parse_all(block)? {
            for line in executor.run(&program) {
                writeln!(out, "{line}").map_err(|error| error.to_string())?;
            }
            writeln!(out).map_err(|error| error.to_string())?;
            count += 1;
            calls += program.calls.len();
        }
    }
    let rate = calls as f64 / start.elapsed().as_secs_f64().max(0.001);
    println!("# {count} programs, {calls} calls, {rate:.0} calls a second");
    Ok(())
}

fn show(programs: Vec<Program>) -> Done {
    let mut executor = Executor::new()?;
    for program in programs {
        let trace = executor.run(&program);
        let text = program.to_string();
        for (index, (line, answer)) in text.lines().zip(&trace).enumerate() {
            let made = executor.slots.made(program.calls[index].of, index);
            println!("{line}   # {answer}{made}");
        }
        println!();
    }
    Ok(())
}

fn create(path: &str) -> Result<std::io::BufWriter<fs::File>, String> {
    fs::File::create(path)
        .map(std::io::BufWriter::new)
        .map_err(|error| format!("{path}: {error}"))
}

fn evolve(seed: &str, seconds: &str, most: &str, files: [&str; 3]) -> Done {
    // What an earlier run found is the beginning of this one.
    let differences = differences()?;
    let mut begin = corpus()?;
    begin.retain(|program| !differences.avoids(program));
    begin.extend(fs::read_to_string(files[2]).map_or(Ok(Vec::new()), |text| parse_all(&text))?);
    let [mut programs, mut answers, mut pool] =
        [create(files[0])?, create(files[1])?, create(files[2])?];
    let mut evolution = evolve::Evolution::new(number(seed)?)?;
    let time = Duration::from_secs(number(seconds)?);
    let (start, most) = (Instant::now(), number(most)? as usize);
    evolution
        .go(
            &begin,
            time,
            most,
            &differences,
            &mut programs,
            &mut answers,
        )
        .map_err(|error| error.to_string())?;
    for program in &evolution.pool {
        writeln!(pool, "{program}").map_err(|error| error.to_string())?;
    }
    evolution.print(start.elapsed().as_secs_f64());
    Ok(())
}

fn distill(seconds: &str, programs: &str) -> Done {
    let differences = differences()?;
    let mut candidates = parse_all(&read(programs)?)?;
    candidates.retain(|program| !differences.avoids(program));
    let mut distiller = distill::Distiller::new()?;
    let time = Duration::from_secs(number(seconds)?);
    for program in distiller.choose(&corpus()?, candidates, time) {
        println!("{program}");
    }
    println!("# they and the tree's reach {} places", distiller.places());
    Ok(())
}

fn inject(step: &str, share: &str, mut programs: Vec<Program>) -> Done {
    let (ways, step) = (inject::By::open()?, number(step)?.max(1) as u32);
    let (part, parts) = share.split_once('/').ok_or("no share: 1/1")?;
    let (part, parts) = (number(part)? as usize, number(parts)?.max(1) as usize);
    let mut executor = Executor::with_coverage()?;
    if coverage::name() == "iommufd" {
        // It warns, or hangs.
        let differences = differences()?;
        programs.retain(|program| !differences.avoids(program));
    }
    let every = programs.iter().enumerate();
    let mine: Vec<_> = every.filter(|(at, _)| at % parts + 1 == part).collect();
    println!("KTAP version 1\n1..{}", mine.len());
    let mut all: Vec<_> = ways.iter().map(|_| inject::Sum::default()).collect();
    for (test, (at, program)) in mine.into_iter().enumerate() {
        let mut sum = inject::Sum::default();
        let mut found = inject::Outcome::default();
        let start = Instant::now();
        for (&by, all) in ways.iter().zip(&mut all) {
            // There are few calls of such functions: each is tried.
            let step = if matches!(by, inject::By::Count(_)) {
                step
            } else {
                1
            };
            let mut of_way = inject::Sum::default();
            found.extend(inject::each(&mut executor, program, by, step, &mut of_way));
            sum.add(&of_way);
            all.add(&of_way);
        }
        if !found.broken.is_empty() || !found.unseen.is_empty() {
            print!("{}", commented(program));
        }
        for (of, again) in [(&found.broken, ""), (&found.unseen, ", and not again")] {
            for broken in of {
                let inject::Failure { call, nth } = broken.last;
                println!(
                    "# call {call} fails at point {nth} ({}){}{again}: got {}, wanted {}",
                    broken.by,
                    if broken.alone { "" } else { " after others" },
                    broken.got,
                    broken.wanted
                );
            }
        }
        println!(
            "{} {} program {}: {sum}, {:.0} s",
            // Of a program that is answered differently each time nothing is known.
            if found.broken.is_empty() && sum.undetermined == 0 {
                "ok"
            } else {
                "not ok"
            },
            test + 1,
            at + 1,
            start.elapsed().as_secs_f64()
        );
        // A run that is stopped says as well what it has reached. In front of the test's line that would hide
        // what failed.
        if let Some(coverage) = &mut executor.coverage {
            coverage.print_new("reached");
        }
    }
    for (by, all) in ways.iter().zip(&all) {
        println!("# in all by {}: {all}", by.name());
    }
    match ways.iter().zip(&all).find(|(_, all)| all.injected == 0) {
        Some((by, _)) => Err(format!("nothing failed by {}", by.name())),
        None => Ok(()),
    }
}

fn commented(program: &Program) -> String {
    program
        .to_string()
        .lines()
        .map(|line| format!("# {line}\n"))
        .collect()
}

fn race(seed: &str, seconds: &str) -> Done {
    let mut executor = Executor::with_coverage()?;
    race::spread(&mut executor, &corpus()?, number(seed)?, number(seconds)?)
}

fn meet(seconds: &str) -> Done {
    let mut executor = Executor::with_coverage()?;
    let programs: Vec<_> = threads()?.into_iter().map(with_state).collect();
    race::meet(&mut executor, &programs, number(seconds)?)
}

fn kill(seconds: &str) -> Done {
    let mut executor = Executor::with_coverage()?;
    killed::judge_all(&mut executor, &killed()?, number(seconds)?)
}

fn compare(programs: &str, c: &str, ours: &str, known: &str) -> Done {
    let differences = differences()?;
    let (programs, c, ours) = (read(programs)?, read(c)?, read(ours)?);
    // Most answers are the same: these programs are not read.
    let [programs, c, ours] = [&programs, &c, &ours].map(|text| blocks(text));
    if c.len() != programs.len() || ours.len() != programs.len() {
        return Err(format!(
            "{} programs, but {} and {} answers",
            programs.len(),
            c.len(),
            ours.len()
        ));
    }
    let (mut differing, mut answers_c, mut answers_ours) = (Vec::new(), Vec::new(), Vec::new());
    for (program, (c, ours)) in programs.iter().zip(c.iter().zip(&ours)) {
        if !compare::is_same(c, ours) {
            differing.extend(parse_all(program)?);
            answers_c.push(lines(c));
            answers_ours.push(lines(ours));
        }
    }
    let known = findings_of(known)?;
    let (findings, not_compared) =
        compare::findings(&differing, &answers_c, &answers_ours, &differences);
    eprintln!("# {not_compared}");
    for (program, found) in findings {
        if !known.iter().any(|(kind, _)| *kind == found.kind()) {
            print_finding(&program, &found);
        }
    }
    Ok(())
}

/// Returns the parts of a text that empty lines separate.
fn blocks(text: &str) -> Vec<&str> {
    text.split("\n\n")
        .filter(|block| !block.trim().is_empty())
        .collect()
}

fn lines(block: &str) -> Vec<String> {
    block.lines().map(str::to_string).collect()
}

fn print_finding(program: &Program, found: &Found) {
    println!(
        "# {}\n# C:    {}\n# ours: {}\n{program}",
        found.kind(),
        found.c,
        found.ours
    );
}

/// Returns the kinds of findings in a file, with their programs.
fn findings_of(text: &str) -> Result<Vec<(String, Program)>, String> {
    let kinds = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains("; ours "));
    Ok(kinds.map(str::to_string).zip(parse_all(text)?).collect())
}

fn smaller(findings: &str) -> Done {
    let differences = differences()?;
    for (_, program) in findings_of(&read(findings)?)? {
        let mut steps = minimise::smaller(&program);
        steps.retain(|smaller| !differences.avoids(smaller));
        for smaller in steps {
            println!("{smaller}");
        }
    }
    Ok(())
}

fn pick(findings: &str, candidates: &str, c: &str, ours: &str) -> Done {
    let differences = differences()?;
    let (candidates, c, ours) = (
        parse_all(&read(candidates)?)?,
        parse_traces(&read(c)?),
        parse_traces(&read(ours)?),
    );
    let text = read(findings)?;
    for (kind, program) in findings_of(&text)? {
        let best = candidates
            .iter()
            .zip(c.iter().zip(&ours))
            .filter(|(candidate, _)| minimise::size(candidate) < minimise::size(&program))
            .filter_map(|(candidate, (c, ours))| {
                let found = compare::judge(candidate, c, ours, &differences).found()?;
                (found.kind() == kind).then_some((candidate, found))
            })
            .min_by_key(|(candidate, _)| minimise::size(candidate));
        match best {
            Some((candidate, found)) => {
                print_finding(&candidate.without(&|index| index > found.at), &found)
            }
            None => {
                let comments = text
                    .lines()
                    .skip_while(|line| *line != format!("# {kind}"))
                    .take(3);
                comments.for_each(|line| println!("{line}"));
                println!("{program}");
            }
        }
    }
    Ok(())
}

fn report(compared: &str, findings: &str) -> Done {
    let text = read(findings)?;
    let findings = findings_of(&text)?;
    if compared.starts_with("0 ") || compared.ends_with(" 0 calls") {
        return Err("nothing was compared".into());
    }
    println!("KTAP version 1\n1..{}", findings.len() + 1);
    println!("ok 1 {compared} were compared");
    for (number, (kind, program)) in findings.iter().enumerate() {
        let comments = text
            .lines()
            .skip_while(|line| **line != format!("# {kind}"))
            .skip(1)
            .take(2);
        comments.for_each(|line| println!("{line}"));
        print!("{}", commented(program));
        println!("not ok {} {kind}", number + 2);
    }
    Ok(())
}
