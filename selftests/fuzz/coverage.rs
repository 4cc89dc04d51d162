// SPDX-License-Identifier: GPL-2.0-only

//! What code of the module a program reaches, by KCOV: Documentation/dev-tools/kcov.rst of the
//! kernel.

use std::{
    collections::BTreeSet,
    fs, //
};

use crate::{
    memory::{
        get,
        put, //
    },
    sys::{
        self,
        c, //
    },
};

/// How many places a program may report.
const PLACES: u64 = 1 << 20;

pub(crate) struct Coverage {
    file: i64,
    buffer: u64,
    /// Where the module's code is.
    code: std::ops::Range<u64>,
    /// The places reached, relative to the beginning of the code.
    pub(crate) seen: BTreeSet<u32>,
}

impl Coverage {
    /// Returns nothing if the kernel has no KCOV. The module must be loaded.
    pub(crate) fn open() -> Option<Self> {
        let file = sys::open("/sys/kernel/debug/kcov", c::O_RDWR);
        if file < 0 || sys::ioctl(file, c::NR_KCOV_INIT_TRACE as u64, PLACES) != 0 {
            return None;
        }
        let buffer = sys::mmap(
            0,
            PLACES * 8,
            c::PROT_READ | c::PROT_WRITE,
            c::MAP_SHARED,
            file,
            0,
        );
        Some(Self {
            file,
            buffer: (buffer > 0).then_some(buffer as u64)?,
            code: code()?,
            seen: BTreeSet::new(),
        })
    }

    pub(crate) fn begin(&self) {
        put(self.buffer, &[0; 8]);
        sys::ioctl(self.file, c::NR_KCOV_ENABLE as u64, c::KCOV_TRACE_PC.into());
    }

    /// Returns how many places were reached for the first time since `begin`.
    pub(crate) fn end(&mut self) -> usize {
        sys::ioctl(self.file, c::NR_KCOV_DISABLE as u64, 0);
        let before = self.seen.len();
        for place in 1..=get(self.buffer, 8).min(PLACES - 1) {
            let at = get(self.buffer + 8 * place, 8);
            if self.code.contains(&at) {
                self.seen.insert((at - self.code.start) as u32);
            }
        }
        self.seen.len() - before
    }

    /// Prints the places, relative to the module's section .text, for coverage.py.
    pub(crate) fn print(&self) {
        let text = fs::read_to_string(format!("/sys/module/{}/sections/.text", name()))
            .unwrap_or_default();
        let text = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16)
            .unwrap_or(self.code.start);
        let shift = (text - self.code.start) as u32;
        let places: Vec<String> = self
            .seen
            .iter()
            .filter_map(|place| place.checked_sub(shift))
            .map(|place| format!("{place:x}"))
            .collect();
        for line in places.chunks(64) {
            println!("# reached {}", line.join(" "));
        }
    }
}

/// Returns the name of the module that is loaded.
fn name() -> &'static str {
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
