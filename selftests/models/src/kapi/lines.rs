// SPDX-License-Identifier: GPL-2.0-only

//! Lines that nobody reads.

use core::marker::PhantomData;

use kernel::{
    fmt,
    prelude::*, //
};

/// Writes nothing.
pub(crate) struct Lines<'a>(PhantomData<&'a ()>);

impl<'a> Lines<'a> {
    /// Lines about an object.
    pub(crate) fn of(&self, _kind: &'static CStr, _id: u32) -> Self {
        Self(PhantomData)
    }

    /// Writes a line.
    pub(crate) fn line(&self, _key: &str, _value: fmt::Arguments<'_>) {}

    /// Writes a number.
    pub(crate) fn number(&self, _key: &str, _number: impl Into<u64>) {}

    /// Says that the object is busy.
    pub(crate) fn busy(&self) {}
}
