// SPDX-License-Identifier: GPL-2.0-only

//! What calls left behind: results, the values of their fields, and their answers as text. It is in
//! memory that all processes and threads of a program share.

use std::borrow::Cow;

use crate::{
    memory::{
        copy,
        get,
        hash,
        put,
        PAGE, //
    },
    program::MOST_WITH_END,
    sys::{
        self,
        c, //
    },
    table::CallType,
};

const MOST_VALUES: usize = 40;
const MOST_TEXT: usize = 1024;
const SIZE: u64 = 8 + 8 * MOST_VALUES as u64 + 8 + MOST_TEXT as u64;

pub(crate) struct Slots {
    base: u64,
}

impl Slots {
    /// Returns slots for the calls of one program.
    pub(crate) fn new() -> Option<Self> {
        // The last word is the point.
        let length = (SIZE * MOST_WITH_END as u64 + 8).next_multiple_of(PAGE);
        let (rw, flags) = (
            c::PROT_READ | c::PROT_WRITE,
            c::MAP_SHARED | c::MAP_ANONYMOUS,
        );
        let base = sys::mmap(0, length, rw, flags, -1, 0);
        (base > 0).then_some(Self { base: base as u64 })
    }

    fn at(&self, call: usize) -> u64 {
        self.base + call as u64 * SIZE
    }

    /// At which point something is to fail in a child's call, and then whether that happened.
    pub(crate) fn point(&self) -> u64 {
        get(self.at(MOST_WITH_END), 8)
    }

    pub(crate) fn set_point(&self, point: u64) {
        put(self.at(MOST_WITH_END), &point.to_le_bytes());
    }

    /// Makes a call one that left nothing behind.
    pub(crate) fn clear(&self, call: usize) {
        put(self.at(call), &[0; 8 + 8 * MOST_VALUES + 8]);
    }

    pub(crate) fn set(&self, call: usize, result: i64, values: &[u64], text: &str) {
        let at = self.at(call);
        put(at, &result.to_le_bytes());
        for (index, value) in values.iter().take(MOST_VALUES).enumerate() {
            put(at + 8 + 8 * index as u64, &value.to_le_bytes());
        }
        let mut text = Cow::Borrowed(text.as_bytes());
        if text.len() > MOST_TEXT {
            // What does not fit counts all the same.
            let sum = format!(
                " ...:{:016x}",
                hash(text.as_ptr() as u64, text.len() as u64)
            );
            let whole = text.to_mut();
            whole.truncate(MOST_TEXT - sum.len());
            whole.extend_from_slice(sum.as_bytes());
        }
        put(
            at + 8 + 8 * MOST_VALUES as u64,
            &(text.len() as u64).to_le_bytes(),
        );
        put(at + 16 + 8 * MOST_VALUES as u64, &text);
    }

    pub(crate) fn result(&self, call: usize) -> i64 {
        get(self.at(call), 8) as i64
    }

    pub(crate) fn value(&self, call: usize, field: usize) -> u64 {
        if field < MOST_VALUES {
            get(self.at(call) + 8 + 8 * field as u64, 8)
        } else {
            0
        }
    }

    /// Returns as text the ids and descriptors that a call made, which are not compared.
    pub(crate) fn made(&self, of: &CallType, call: usize) -> String {
        if self.result(call) < 0 {
            return String::new();
        }
        of.makes()
            .map(|(field, res)| format!(" {res:?}:{}", self.value(call, field) as i64))
            .collect()
    }

    pub(crate) fn text(&self, call: usize) -> String {
        let at = self.at(call) + 8 + 8 * MOST_VALUES as u64;
        let length = get(at, 8).min(MOST_TEXT as u64);
        String::from_utf8_lossy(&copy(at + 8, length as usize)).into_owned()
    }
}
