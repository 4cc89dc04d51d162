// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the module's pure logic.
//!
//! The files under test are the module's own, unchanged, at their usual paths in the crate; what
//! they import from the kernel is in `../kernel`. `kapi/mm/pin.rs` here replaces the module's pins
//! and records them in a ledger.

#![cfg(test)]
#![forbid(unsafe_code)]
// The files under test define items that only other files of the module use.
#![allow(dead_code)]

mod drivers;
mod ioas;
mod kapi;
mod tests;
