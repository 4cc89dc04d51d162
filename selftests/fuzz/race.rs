// SPDX-License-Identifier: GPL-2.0-only

//! Programs of several threads. Whatever they do, no page is pinned when all is closed, and what they
//! answer and leave is what some order leaves, in which the calls are made one after the other.
//!
//! A call that meets another one at work may be refused, and then has done nothing. So orders are tried
//! without the calls that were refused, and then with them.

use std::{
    collections::{
        BTreeMap,
        HashMap, //
    },
    fmt,
    time::{
        Duration,
        Instant, //
    }, //
};

use crate::{
    end::with_state,
    execute::{
        left_pinned,
        Executor,
        Trace, //
    },
    generate::Generator,
    program::{
        Call,
        Program,
        Value,
        Who, //
    },
    table::{
        Action,
        Kind, //
    }, //
};

/// How often a program runs.
const RUNS: usize = 6;
/// The most orders that are tried to explain a run.
const MOST_ORDERS: usize = 120;
/// How long a program of the tree runs.
const AT_LEAST: Duration = Duration::from_secs(2);
/// How many programs may be wrong before no further ones run.
const MOST_WRONG: usize = 5;

/// How many runs were judged, and by how many orders.
#[derive(Default)]
struct Tally {
    programs: usize,
    runs: usize,
    given_up: usize,
    orders: usize,
    /// Programs by their number of threads, from two on.
    by_threads: [usize; 3],
    /// Calls that may have been refused because of another thread, and how often they were.
    refused: BTreeMap<String, usize>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [two, three, four] = self.by_threads;
        write!(
            f,
            "{} programs, {two} of two threads, {three} of three, {four} of four: {} runs, \
             {} orders tried, {} runs that {MOST_ORDERS} orders do not decide",
            self.programs, self.runs, self.orders, self.given_up
        )
    }
}

/// Runs programs of the corpus, whose calls are spread over threads, for so many seconds. Prints a test.
pub(crate) fn spread(
    executor: &mut Executor,
    corpus: &[Program],
    seed: u64,
    seconds: u64,
) -> Result<(), String> {
    let mut generator = Generator::new(seed);
    let next = || {
        let one = generator.random.pick(corpus)?.clone();
        let other = generator.random.pick(corpus)?;
        let changed = if generator.random.one_in(2) {
            generator.mutate(&one, other)
        } else {
            one
        };
        Some(with_state(generator.spread(&changed)))
    };
    judge_all(executor, next, seconds, Duration::MAX, MOST_WRONG)
}

/// Runs the programs, one after the other, again and again for so many seconds, or until one is wrong. Each
/// has two seconds or more, so that short ones run often, and no more than leaves each other one as much.
/// Prints a test.
pub(crate) fn meet(
    executor: &mut Executor,
    programs: &[Program],
    seconds: u64,
) -> Result<(), String> {
    let share = Duration::from_secs(seconds) / programs.len().max(1) as u32;
    let mut programs = programs.iter().cycle();
    let (mut program, mut since) = (programs.next(), Instant::now());
    let next = || {
        if since.elapsed() > AT_LEAST {
            (program, since) = (programs.next(), Instant::now());
        }
        program.cloned()
    };
    judge_all(executor, next, seconds, share, 1)
}

/// Runs and judges programs for so many seconds, each for no longer than `share`.
fn judge_all(
    executor: &mut Executor,
    mut next: impl FnMut() -> Option<Program>,
    seconds: u64,
    share: Duration,
    most_wrong: usize,
) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut tally, mut wrong) = (Tally::default(), 0);
    println!("KTAP version 1\n1..1");
    while Instant::now() < end && wrong < most_wrong {
        let program = next().ok_or("no programs")?;
        if !program.is_sound() {
            continue;
        }
        let until = Instant::now().checked_add(share);
        let until = until.map_or(end, |until| until.min(end));
        if let Some(message) = judge(executor, &program, until, &mut tally) {
            println!("# {message}");
            print!("{}", crate::commented(&program));
            wrong += 1;
        }
    }
    println!("# {tally}");
    let refused: Vec<_> = (tally.refused.iter())
        .map(|(call, times)| format!("{call} {times}"))
        .collect();
    println!("# refused, or may have been: {}", refused.join(", "));
    // Runs of which nothing is known are no test.
    let is_judged = tally.runs > 2 * tally.given_up;
    if !is_judged {
        println!("# half of the runs, or more, were not decided");
    }
    if let Some(coverage) = &executor.coverage {
        coverage.print("reached");
    }
    println!(
        "{} 1 programs of threads",
        if wrong == 0 && is_judged {
            "ok"
        } else {
            "not ok"
        }
    );
    Ok(())
}

/// Runs a program of threads, until `end` at most. Returns what is wrong.
fn judge(
    executor: &mut Executor,
    program: &Program,
    end: Instant,
    tally: &mut Tally,
) -> Option<String> {
    let threads = threads(program);
    if threads.len() < 2 {
        return None;
    }
    tally.programs += 1;
    tally.by_threads[threads.len() - 2] += 1;
    let mut orders = Orders {
        program,
        end,
        known: HashMap::new(),
    };
    for _ in 0..RUNS {
        if Instant::now() > end {
            break;
        }
        let trace = executor.run(program);
        if let Some(left) = left_pinned(&trace) {
            return Some(left.clone());
        }
        tally.runs += 1;
        let is_refused = |&index: &usize| is_refusal(&program.calls, index, &trace[index]);
        for &index in threads.iter().flatten().filter(|index| is_refused(index)) {
            let errno = trace[index].split(' ').next().unwrap_or_default();
            let refused = format!("{} {errno}", program.calls[index].of.name);
            *tally.refused.entry(refused).or_default() += 1;
        }
        let made: Vec<Vec<usize>> = threads
            .iter()
            .map(|calls| calls.iter().copied().filter(|c| !is_refused(c)).collect())
            .collect();
        let mut verdict = orders.explain(executor, &made, &trace);
        if verdict == Verdict::No && made != threads {
            verdict = orders.explain(executor, &threads, &trace);
        }
        match verdict {
            Verdict::Yes => {}
            Verdict::GivenUp => tally.given_up += 1,
            Verdict::No => {
                let calls = threads.iter().flatten().map(|&call| &*trace[call]);
                let answers: Vec<&str> = calls.chain(left(program, &trace)).collect();
                return Some(format!(
                    "no order of the calls explains: {}",
                    answers.join("; ")
                ));
            }
        }
    }
    tally.orders += orders.known.len();
    None
}

/// Whether an answer is one that a call may have because another thread is at work on the same. What that removes is
/// not there for a moment, what it uses cannot be changed, and an access does not begin in what it unmaps.
fn is_refusal(calls: &[Call], index: usize, answer: &str) -> bool {
    let name = calls[index].of.name;
    // Names, or parts of them, of what the other thread may be doing.
    let causes: &[_] = match answer.split(' ').next() {
        Some("EBUSY" | "EAGAIN") => &[""],
        Some("ENOENT") => &["destroy", "unmap", "close", "replace", "detach"],
        Some("EINVAL") if matches!(name, "access_pages" | "access_rw") => &["unmap"],
        _ => return false,
    };
    let groups = groups(calls);
    let meets = |other: &Call| {
        causes.iter().any(|cause| match *cause {
            "unmap" => other.of.name.contains("unmap") && may_meet(other, &calls[index]),
            cause => other.of.name.contains(cause),
        })
    };
    (0..calls.len()).any(|other| {
        let call = &calls[other];
        matches!(call.who, Who::Thread(_))
            && call.who != calls[index].who
            && meets(call)
            && (groups[other] == groups[index]
                || [other, index].iter().any(|&at| is_about_all(&calls[at])))
    })
}

/// Whether a call may be about addresses that an unmap has: it names some, and no others as far as both are numbers.
fn may_meet(unmap: &Call, other: &Call) -> bool {
    let value = |call: &Call, names: [&str; 2]| {
        let field = names.iter().find_map(|name| call.of.field(name));
        field.map(|field| call.values[field].clone())
    };
    let start = |call| value(call, ["iova", "src_iova"]);
    let range = |call| match (start(call), value(call, ["length", "size"])) {
        (Some(Value::Number(start)), Some(Value::Number(length))) if length > 0 => {
            Some((start, start.saturating_add(length)))
        }
        _ => None,
    };
    start(other).is_some()
        && match (range(unmap), range(other)) {
            (Some(one), Some(other)) => one.0 < other.1 && other.0 < one.1,
            _ => true,
        }
}

/// Returns a number for each call, which is that of others if some call names what both made or named: an address
/// space, its page tables and devices, and what accesses of it were moved to.
fn groups(calls: &[Call]) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..calls.len()).collect();
    for (index, call) in calls.iter().enumerate() {
        for maker in call.references() {
            let (from, to) = (groups[maker], groups[index]);
            if calls[maker].of.action != Action::Open {
                let same = groups.iter_mut().filter(|group| **group == from);
                same.for_each(|group| *group = to);
            }
        }
    }
    groups
}

/// Whether a call may be about anything of a context: it names all, or by a number.
fn is_about_all(call: &Call) -> bool {
    // VFIO's that only ask, as does fdinfo, keep nobody from anything.
    let names = [
        "close",
        "ioas_change_process",
        "option",
        "vfio_map_dma",
        "vfio_unmap_dma",
        "vfio_set_iommu",
        "vfio_ioas",
    ];
    let mut values = call.of.layout.fields.iter().zip(&call.values);
    names.contains(&call.of.name)
        || values.any(|(field, value)| {
            let is_name = matches!(field.kind, Kind::Id(_) | Kind::Fd(_));
            is_name && matches!(value, Value::Number(1..))
        })
}

/// Returns the numbers of each thread's calls.
fn threads(program: &Program) -> Vec<Vec<usize>> {
    let mut threads: Vec<Vec<usize>> = vec![Vec::new(); 4];
    for (index, call) in program.calls.iter().enumerate() {
        if let Who::Thread(thread) = call.who {
            threads[thread].push(index);
        }
    }
    threads.retain(|calls| !calls.is_empty());
    threads
}

/// Returns the answers of the calls after the threads, and how much was pinned then.
fn left<'a>(program: &Program, trace: &'a Trace) -> impl Iterator<Item = &'a str> {
    let calls = &program.calls;
    let is_thread = |call: &Call| matches!(call.who, Who::Thread(_));
    let begin = calls.iter().rposition(is_thread).map_or(0, |last| last + 1);
    trace[begin..=calls.len()].iter().map(String::as_str)
}

#[derive(PartialEq)]
enum Verdict {
    Yes,
    No,
    GivenUp,
}

/// The orders of a program's calls.
struct Orders<'a> {
    program: &'a Program,
    /// When no further ones are tried.
    end: Instant,
    /// What those that were tried answered.
    known: HashMap<Vec<usize>, Trace>,
}

impl Orders<'_> {
    /// Looks for an order of the threads' calls that answers and leaves the same. One that differs at a
    /// call rules out all that begin with the same calls up to this one.
    fn explain(
        &mut self,
        executor: &mut Executor,
        threads: &[Vec<usize>],
        trace: &Trace,
    ) -> Verdict {
        let mut choices = completed(threads, Vec::new());
        for _ in 0..MOST_ORDERS {
            if Instant::now() > self.end {
                break;
            }
            let order = in_turn(threads, &choices);
            let program = self.program;
            let calls = &program.calls;
            let answered = self
                .known
                .entry(order.clone())
                .or_insert_with(|| executor.run_in_order(program, &order));
            let differs = |&index: &usize| {
                trace[index] != answered[index] && !is_refusal(calls, index, &trace[index])
            };
            let at = match order.iter().position(differs) {
                None if left(program, trace).eq(left(program, answered)) => return Verdict::Yes,
                None => order.len(),
                Some(at) => at + 1,
            };
            match next(threads, &choices[..at]) {
                Some(next) => choices = next,
                None => return Verdict::No,
            }
        }
        Verdict::GivenUp
    }
}

/// Returns the calls that are made if `choices` says which thread makes one each time.
fn in_turn(threads: &[Vec<usize>], choices: &[usize]) -> Vec<usize> {
    let mut done = vec![0; threads.len()];
    let mut order = Vec::new();
    for &thread in choices {
        order.push(threads[thread][done[thread]]);
        done[thread] += 1;
    }
    order
}

/// Returns the first choices that begin in this way.
fn completed(threads: &[Vec<usize>], mut choices: Vec<usize>) -> Vec<usize> {
    for (thread, calls) in threads.iter().enumerate() {
        let done = choices.iter().filter(|&&choice| choice == thread).count();
        choices.extend(std::iter::repeat_n(thread, calls.len() - done));
    }
    choices
}

/// Returns the first choices after all that begin in this way.
fn next(threads: &[Vec<usize>], choices: &[usize]) -> Option<Vec<usize>> {
    for at in (0..choices.len()).rev() {
        let (kept, last) = (&choices[..at], choices[at]);
        let has_calls = |&thread: &usize| {
            let done = kept.iter().filter(|&&choice| choice == thread).count();
            done < threads[thread].len()
        };
        if let Some(thread) = (last + 1..threads.len()).find(has_calls) {
            return Some(completed(threads, [kept, &[thread]].concat()));
        }
    }
    None
}
