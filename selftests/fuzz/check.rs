// SPDX-License-Identifier: GPL-2.0-only

//! Checks the fuzzer itself: what it describes for syzkaller, how programs are read and printed, the size of the
//! corpus, and the judge of answers, by programs with answers of which it is known whether they are findings.

use crate::{
    compare::{
        is_same,
        judge,
        Verdict,
        LINES_OF_END, //
    },
    describe,
    differences::Differences,
    execute::Trace,
    generate::Generator,
    program::{
        parse_all,
        Program, //
    }, //
};

/// What a program leaves that leaves nothing.
const END: [(&str, &str); LINES_OF_END] = [
    ("before close", "0 KiB pinned"),
    ("after close", "0 KiB pinned"),
    ("memory", "0"),
    ("pins", "0 left"),
];

/// A program, answers to it, and what the judge is to say: a part of `judged.txt`.
struct Case {
    name: String,
    program: Program,
    c: Trace,
    ours: Trace,
    wanted: String,
}

impl Case {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let name = lines.next()?.to_string();
        let (mut calls, mut c, mut ours) = (String::new(), Trace::new(), Trace::new());
        let mut wanted = String::new();
        let mut ends = END.iter().peekable();
        for line in lines {
            let both = |text: &str| {
                let (c, ours) = text.split_once(" | ").unwrap_or((text, text));
                [c, ours].map(str::to_string)
            };
            if let Some((call, answers)) = line.split_once("  # ") {
                calls += &format!("{call}\n");
                let [one, other] = both(answers);
                c.push(one);
                ours.push(other);
            } else if let Some((about, says)) = line.split_once(": ") {
                let usual = ends.by_ref().take_while(|(name, _)| *name != about);
                usual.for_each(|(name, says)| {
                    c.push(format!("{name}: {says}"));
                    ours.push(format!("{name}: {says}"));
                });
                let [one, other] = both(says).map(|says| format!("{about}: {says}"));
                c.push(one);
                ours.push(other);
            } else {
                wanted = line.to_string();
            }
        }
        for (name, says) in ends {
            c.push(format!("{name}: {says}"));
            ours.push(format!("{name}: {says}"));
        }
        for trace in [&mut c, &mut ours] {
            let gone = trace.iter().position(|line| line.ends_with('-'));
            trace.truncate(gone.unwrap_or(trace.len()));
        }
        Some(Self {
            name,
            program: parse_all(&calls).ok()?.pop()?,
            c,
            ours,
            wanted,
        })
    }

    /// Says what the judge says instead, if that is not what it is to say.
    fn wrong(&self, differences: &Differences) -> Option<String> {
        let Self { c, ours, .. } = self;
        let calls = self.program.calls.len();
        let got = match judge(&self.program, c, ours, differences) {
            Verdict::Nothing => "nothing".to_string(),
            Verdict::Meant(number, _) => format!("meant {number}"),
            Verdict::Found(found) if found.at < calls => format!("found r{}", found.at),
            Verdict::Found(found) => format!("found {}", END[found.at - calls].0),
        };
        // Programs of which the answers are the same are not judged.
        let is_left_out = is_same(&c.join("\n"), &ours.join("\n"));
        if is_left_out && got != "nothing" {
            return Some("not judged".to_string());
        }
        (got != self.wanted).then_some(got)
    }
}

/// Returns the cases of `judged.txt`, or the first one that cannot be read.
fn cases() -> Result<Vec<Case>, String> {
    let parts = include_str!("judged.txt").split("\n== ").skip(1);
    parts
        .map(|part| Case::parse(part).ok_or_else(|| format!("judged.txt: {part}")))
        .collect()
}

/// Whether programs are read as they were printed.
fn reads() -> bool {
    let mut generator = Generator::new(1);
    let programs: Vec<Program> = (0..500)
        .map(|_| generator.program(12))
        .filter(Program::is_sound)
        .collect();
    let mut reads = true;
    for text in programs.iter().map(ToString::to_string) {
        let again = match parse_all(&text) {
            Ok(read) => read.iter().map(ToString::to_string).collect(),
            Err(wrong) => wrong,
        };
        if again != text {
            reads = false;
            println!("# printed:\n{text}# read:\n{again}");
        }
    }
    reads
}

/// Prints a test for each thing that is checked.
pub(crate) fn all(differences: &Differences) -> Result<(), String> {
    let cases = cases()?;
    let size = include_str!(env!("FUZZ_CORPUS")).len();
    let described = describe::all() == include_str!("dev_iommu_rs.txt");
    println!("KTAP version 1\n1..{}", 4 + cases.len());
    println!("# the corpus has {size} bytes");
    let mut number = 0;
    let mut say = |is_ok: bool, name: &str| {
        number += 1;
        println!("{} {number} {name}", if is_ok { "ok" } else { "not ok" });
    };
    say(described, "dev_iommu_rs.txt is what the table says");
    say(reads(), "programs are read as they were printed");
    say(size < 1 << 20, "the corpus is smaller than 1 MiB");
    let corpus = crate::corpus()?;
    let unknown = corpus.iter().find(|program| {
        differences.avoids(program) && program.calls.iter().any(|call| call.answer.is_none())
    });
    if let Some(program) = unknown {
        println!(
            "# not every answer is known:\n{}",
            crate::commented(program)
        );
    }
    say(
        unknown.is_none(),
        "answers are known of programs that C does not run",
    );
    for case in cases {
        let wrong = case.wrong(differences);
        if let Some(got) = &wrong {
            println!("# the judge says {got}, not {}", case.wanted);
        }
        say(wrong.is_none(), &format!("the judge: {}", case.name));
    }
    Ok(())
}
