// SPDX-License-Identifier: GPL-2.0-only

//! What code of the module a program reaches, by KCOV: Documentation/dev-tools/kcov.rst of the
//! kernel.

use std::{
    collections::BTreeSet,
    fs, //
};

use crate::{
    children,
    memory::{
        get,
        put, //
    },
    sys::{
        self,
        c, //
    },
};

/// How many places the program may report, and each child or thread of it.
const PLACES: u64 = 1 << 20;
const FURTHER: u64 = 1 << 17;

/// The most threads of a program.
const THREADS: usize = 4;

/// Where the places are noted that one task reaches.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    file: i64,
    buffer: u64,
    places: u64,
}

impl Lane {
    fn open(places: u64) -> Option<Self> {
        let file = sys::open("/sys/kernel/debug/kcov", c::O_RDWR);
        if file < 0 || sys::ioctl(file, c::NR_KCOV_INIT_TRACE as u64, places) != 0 {
            return None;
        }
        let rw = c::PROT_READ | c::PROT_WRITE;
        let buffer = sys::mmap(0, places * 8, rw, c::MAP_SHARED, file, 0);
        (buffer > 0).then_some(Self {
            file,
            buffer: buffer as u64,
            places,
        })
    }

    fn forget(&self) {
        put(self.buffer, &[0; 8]);
    }

    /// Notes what the calling task reaches from now on, until it ends or calls `disable`.
    pub(crate) fn enable(&self) {
        sys::ioctl(self.file, c::NR_KCOV_ENABLE as u64, c::KCOV_TRACE_PC.into());
    }

    pub(crate) fn disable(&self) {
        sys::ioctl(self.file, c::NR_KCOV_DISABLE as u64, 0);
    }

    /// Returns the places that were noted.
    fn noted(&self) -> impl Iterator<Item = u64> + '_ {
        let count = get(self.buffer, 8).min(self.places - 1);
        (1..=count).map(|place| get(self.buffer + 8 * place, 8))
    }
}

/// The lanes of the tasks that a program makes.
pub(crate) struct Lanes([Lane; children::MOST + THREADS]);

impl Lanes {
    pub(crate) fn of_child(&self, child: usize) -> &Lane {
        &self.0[child.min(children::MOST - 1)]
    }

    pub(crate) fn of_thread(&self, thread: usize) -> &Lane {
        &self.0[children::MOST + thread.min(THREADS - 1)]
    }
}

pub(crate) struct Coverage {
    main: Lane,
    further: Lanes,
    /// Where the module's code is.
    code: std::ops::Range<u64>,
    /// Which of the places that are noted while the module is loaded is the first one of its code, and
    /// where it is, relative to the beginning of the code.
    first: Option<usize>,
    first_place: u64,
    /// The places that all programs have reached, relative to the beginning of the code; those of the last
    /// one; and how many of them none before had reached.
    pub(crate) seen: BTreeSet<u32>,
    pub(crate) last: BTreeSet<u32>,
    pub(crate) new: usize,
    printed: BTreeSet<u32>,
}

impl Coverage {
    /// Returns nothing if the kernel has no KCOV. The module must be loaded.
    pub(crate) fn open() -> Option<Self> {
        let main = Lane::open(PLACES)?;
        let mut lanes = [main; children::MOST + THREADS];
        for lane in &mut lanes {
            *lane = Lane::open(FURTHER)?;
        }
        Some(Self {
            main,
            further: Lanes(lanes),
            code: code()?,
            first: None,
            first_place: 0,
            seen: BTreeSet::new(),
            last: BTreeSet::new(),
            new: 0,
            printed: BTreeSet::new(),
        })
    }

    /// Returns where a program's children and threads are to note what they reach.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.further
    }

    /// Notes what the calling task reaches from now on.
    pub(crate) fn begin(&self) {
        self.further.0.iter().for_each(Lane::forget);
        self.main.forget();
        self.main.enable();
    }

    /// Unloads the module. Returns whether that was done. Nothing may have it open.
    pub(crate) fn unload(&mut self) -> Result<(), String> {
        self.begin();
        let result = sys::unload_module(name());
        self.end();
        match result {
            0 => Ok(()),
            error => Err(format!("unloading: errno {}", -error)),
        }
    }

    /// Loads the module from its file, while the module is not loaded. Returns whether that was done, or a
    /// negative errno. What is noted is there in either case.
    pub(crate) fn load(&mut self, file: i64) -> i64 {
        self.begin();
        let result = sys::load_module(file);
        self.main.disable();
        let noted = self.main.noted().collect::<Vec<_>>();
        if let Some(code) = code() {
            // The same places are noted in the same order when loading fails, and the code is somewhere else.
            self.first = noted.iter().position(|at| code.contains(at));
            self.first_place = self.first.map_or(0, |first| noted[first] - code.start);
            self.code = code;
        } else if let Some(at) = self.first.and_then(|first| noted.get(first)) {
            let start = at - self.first_place;
            self.code = start..start + (self.code.end - self.code.start);
        } else {
            return result;
        }
        self.collect();
        result
    }

    /// Whether there is little room for further places of the program's first task.
    pub(crate) fn is_nearly_full(&self) -> bool {
        get(self.main.buffer, 8) > self.main.places / 2
    }

    /// Collects what was noted since `begin`. The program's children and threads must have ended.
    pub(crate) fn end(&mut self) {
        self.main.disable();
        self.collect();
    }

    fn collect(&mut self) {
        let lanes = [&self.main].into_iter().chain(&self.further.0);
        self.last = lanes
            .flat_map(Lane::noted)
            .filter(|at| self.code.contains(at))
            .map(|at| (at - self.code.start) as u32)
            .collect();
        let before = self.seen.len();
        self.seen.extend(&self.last);
        self.new = self.seen.len() - before;
    }

    /// Prints the places that were not printed yet, as `print` does.
    pub(crate) fn print_new(&mut self, mark: &str) {
        let new = self.seen.difference(&self.printed).copied().collect();
        self.print_places(mark, &new);
        self.printed.clone_from(&self.seen);
    }

    /// Prints the places, relative to the module's section .text, for coverage.py, on lines
    /// that begin with `mark`.
    pub(crate) fn print(&self, mark: &str) {
        println!("# {} places of the module's code reached", self.seen.len());
        self.print_places(mark, &self.seen);
    }

    fn print_places(&self, mark: &str, places: &BTreeSet<u32>) {
        let text = fs::read_to_string(format!("/sys/module/{}/sections/.text", name()))
            .unwrap_or_default();
        let text = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16)
            .unwrap_or(self.code.start);
        let shift = (text - self.code.start) as u32;
        let places: Vec<String> = places
            .iter()
            .filter_map(|place| place.checked_sub(shift))
            .map(|place| format!("{place:x}"))
            .collect();
        for line in places.chunks(64) {
            println!("# {mark} {}", line.join(" "));
        }
    }
}

/// Returns the name of the module that is loaded.
pub(crate) fn name() -> &'static str {
    if fs::exists("/sys/module/iommufd_rs").unwrap_or(false) {
        "iommufd_rs"
    } else {
        "iommufd"
    }
}

fn code() -> Option<std::ops::Range<u64>> {
    let modules = fs::read_to_string("/proc/modules").ok()?;
    let line = modules
        .lines()
        .find(|line| line.split(' ').next() == Some(name()))?;
    let words: Vec<&str> = line.split(' ').collect();
    let size: u64 = words.get(1)?.parse().ok()?;
    let start = u64::from_str_radix(words.get(5)?.trim_start_matches("0x"), 16).ok()?;
    Some(start..start + size)
}
