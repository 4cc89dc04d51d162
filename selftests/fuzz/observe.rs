// SPDX-License-Identifier: GPL-2.0-only

//! Reads what the kernel says about a context and its queues: fdinfo, and the tables in debugfs that
//! our module has. What they say is not compared, since the C module has no such lines.

use std::fs;

/// Where the kernel's tracepoints of our module are turned on, and its measuring of calls.
const EVENTS: &str = "/sys/kernel/tracing/events/iommufd_rs/enable";
const TIMING: &str = "/sys/kernel/debug/iommufd_rs/timing";

use crate::{
    memory::{
        put,
        Scratch,
        PAGE, //
    },
    sys::{
        self,
        c, //
    },
};

/// Reads all that there is about a descriptor, and about all contexts. Returns 0, or why there is no
/// fdinfo.
pub(crate) fn look(scratch: &mut Scratch, fd: i64) -> i64 {
    let Some(buffer) = scratch.push(&vec![0; PAGE as usize]) else {
        return 0;
    };
    for path in debugfs() {
        read_all(&path, buffer);
    }
    let result = read_all(&format!("/proc/self/fdinfo/{fd}"), buffer);
    // The modules say different things, and a struct of a later call may be long enough to have them in it.
    put(buffer, &[0; PAGE as usize]);
    result
}

/// Returns the files of our module in debugfs: there are some in a folder of each context.
fn debugfs() -> Vec<String> {
    let Ok(contexts) = fs::read_dir("/sys/kernel/debug/iommufd_rs") else {
        return Vec::new();
    };
    let files = contexts
        .flatten()
        .filter_map(|context| fs::read_dir(context.path()).ok());
    files
        .flat_map(|files| files.flatten())
        .map(|file| file.path().display().to_string())
        .collect()
}

/// Turns on what the kernel can say about calls: tracepoints, and how long they take. Also reads the switch
/// of the latter, and writes to it what is no number.
pub(crate) fn turn_on() -> Result<(), String> {
    let mut scratch = Scratch::new(0);
    let buffer = scratch.push(&[0; PAGE as usize]).ok_or("no memory")?;
    for (path, text) in [(TIMING, "?"), (TIMING, "0"), (TIMING, "1"), (EVENTS, "1")] {
        let file = sys::open(path, c::O_WRONLY);
        let result = sys::write(file, text.as_ptr() as u64, text.len() as u64);
        sys::close(file);
        if result != 1 && text != "?" {
            return Err(format!("{path}: errno {}", -result));
        }
    }
    read_all(TIMING, buffer);
    Ok(())
}

/// The kernel's counters of pages that were pinned and unpinned by any process.
pub(crate) struct Pins {
    refresh: i64,
    vmstat: i64,
    last: i64,
}

impl Pins {
    /// Opens the files that have them.
    pub(crate) fn open() -> Result<Self, String> {
        let file = |path: &str, flags| match sys::open(path, flags) {
            file if file >= 0 => Ok(file),
            error => Err(format!("{path}: errno {}", -error)),
        };
        let mut pins = Self {
            refresh: file("/proc/sys/vm/stat_refresh", c::O_WRONLY)?,
            vmstat: file("/proc/vmstat", c::O_RDONLY)?,
            last: 0,
        };
        pins.last = pins.count().ok_or("/proc/vmstat does not count pins")?;
        Ok(pins)
    }

    fn count(&self) -> Option<i64> {
        // This adds up the counters of all CPUs.
        sys::write_text(self.refresh, "1\n");
        let text = sys::read_text(self.vmstat);
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<i64>().ok()
        };
        Some(number("nr_foll_pin_acquired ")? - number("nr_foll_pin_released ")?)
    }

    /// Returns how many more pages are pinned than the last time.
    pub(crate) fn more(&mut self) -> i64 {
        let count = self.count().unwrap_or(i64::MAX);
        count.wrapping_sub(std::mem::replace(&mut self.last, count))
    }
}

fn read_all(path: &str, buffer: u64) -> i64 {
    let file = sys::open(path, c::O_RDONLY);
    if file < 0 {
        return file;
    }
    while sys::read(file, buffer, PAGE) > 0 {}
    sys::close(file);
    0
}
