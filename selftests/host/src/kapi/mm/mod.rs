// SPDX-License-Identifier: GPL-2.0-only

//! Memory management without a kernel.

pub(crate) mod pin;
pub(crate) mod unpin;
