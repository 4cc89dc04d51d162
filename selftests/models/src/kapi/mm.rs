// SPDX-License-Identifier: GPL-2.0-only

//! User memory.

pub(crate) mod pin;
pub(crate) mod user;
