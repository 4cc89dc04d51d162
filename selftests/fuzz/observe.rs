// SPDX-License-Identifier: GPL-2.0-only

//! Reads what the kernel says about a context and its queues: fdinfo, and the tables in debugfs that
//! our module has. What they say is not compared, since the C module has no such lines.

use std::fs;

/// Where the kernel's tracepoints of our module are turned on, and its measuring of calls.
const EVENTS: &str = "/sys/kernel/tracing/events/iommufd_rs/enable";
const TIMING: &str = "/sys/kernel/debug/iommufd_rs/timing";

use crate::{
    memory::{
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
    read_all(&format!("/proc/self/fdinfo/{fd}"), buffer)
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

fn read_all(path: &str, buffer: u64) -> i64 {
    let file = sys::open(path, c::O_RDONLY);
    if file < 0 {
        return file;
    }
    while sys::read(file, buffer, PAGE) > 0 {}
    sys::close(file);
    0
}
