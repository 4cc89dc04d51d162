// SPDX-License-Identifier: GPL-2.0-only

//! Lines of a key, a colon, a tab and a value, as `/proc/PID/fdinfo/N` has them.

use kernel::{
    fmt,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// Writes lines to a file that is being read. All keys begin with `iommufd-`.
pub(crate) struct Lines<'a> {
    out: &'a SeqFile,
    /// The kind and the id of the object that the lines are about.
    object: Option<(&'static CStr, u32)>,
}

impl<'a> Lines<'a> {
    /// Lines about a context.
    pub(crate) fn new(out: &'a SeqFile) -> Self {
        Self { out, object: None }
    }

    /// Lines about an object. Their keys have the kind and the id.
    pub(crate) fn of(&self, kind: &'static CStr, id: u32) -> Self {
        Self {
            out: self.out,
            object: Some((kind, id)),
        }
    }

    /// Writes a line. Neither allocates nor sleeps. A line for which the file has no room is left
    /// out, and the kernel reads again with more room.
    pub(crate) fn line(&self, key: &str, value: fmt::Arguments<'_>) {
        match self.object {
            Some((kind, id)) => seq_print!(self.out, "iommufd-{kind}-{id}-{key}:\t{value}\n"),
            None => seq_print!(self.out, "iommufd-{key}:\t{value}\n"),
        }
    }

    /// Writes a line whose key has a number before the last word.
    pub(crate) fn numbered(&self, key: &str, number: u32, word: &str, value: impl Into<u64>) {
        let value: u64 = value.into();
        match self.object {
            Some((kind, id)) => seq_print!(
                self.out,
                "iommufd-{kind}-{id}-{key}-{number}-{word}:\t{value}\n"
            ),
            None => seq_print!(self.out, "iommufd-{key}-{number}-{word}:\t{value}\n"),
        }
    }

    /// Writes a line about the number of objects of a kind.
    pub(crate) fn number_of(&self, kind: &'static CStr, number: u64) {
        seq_print!(self.out, "iommufd-objects-{kind}:\t{number}\n");
    }

    /// Returns the id of the object that the lines are about.
    pub(crate) fn id(&self) -> Option<u32> {
        self.object.map(|(_, id)| id)
    }

    /// Writes a line whose value is a number.
    pub(crate) fn number(&self, key: &str, number: impl Into<u64>) {
        let number: u64 = number.into();
        self.line(key, fmt!("{number}"));
    }

    /// Writes a line that says that the object's numbers are being changed, so that they cannot be
    /// read without waiting.
    pub(crate) fn busy(&self) {
        self.line("busy", fmt!("yes"));
    }

    /// Writes a line whose value is "yes" or "no".
    pub(crate) fn flag(&self, key: &str, flag: bool) {
        let word = if flag { "yes" } else { "no" };
        self.line(key, fmt!("{word}"));
    }
}
