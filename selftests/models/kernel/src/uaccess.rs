// SPDX-License-Identifier: GPL-2.0-only

//! User memory, which is a vector of bytes. Between two accesses another task may run.

use crate::error::{
    code::EFAULT,
    Result, //
};

/// Memory that is written. What is behind `end` cannot be.
pub struct UserSliceWriter {
    written: Vec<u8>,
    room: usize,
    end: usize,
}

impl UserSliceWriter {
    /// Returns memory of `room` bytes, of which the first `end` can be written.
    pub fn new(room: usize, end: usize) -> Self {
        Self {
            written: Vec::new(),
            room,
            end,
        }
    }

    /// Returns how many bytes are left.
    pub fn len(&self) -> usize {
        self.room - self.written.len()
    }

    /// Writes bytes. Returns `EFAULT`.
    pub fn write_slice(&mut self, bytes: &[u8]) -> Result {
        loom::thread::yield_now();
        if bytes.len() > self.len() || self.written.len() + bytes.len() > self.end {
            return Err(EFAULT);
        }
        self.written.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns what was written.
    pub fn written(&self) -> &[u8] {
        &self.written
    }
}

/// Memory that is read.
pub struct UserSliceReader {
    bytes: Vec<u8>,
    at: usize,
}

impl UserSliceReader {
    /// Returns memory with that content.
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            at: 0,
        }
    }

    /// Returns how many bytes are left.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a value. Returns `EFAULT`.
    pub fn read<T: FromBytes>(&mut self) -> Result<T> {
        loom::thread::yield_now();
        let bytes = self
            .bytes
            .get(self.at..self.at + size_of::<T>())
            .ok_or(EFAULT)?;
        self.at += size_of::<T>();
        Ok(T::from_bytes(bytes))
    }
}

/// A type that is read from user memory.
pub trait FromBytes {
    /// Returns the value with these bytes.
    fn from_bytes(bytes: &[u8]) -> Self;
}
