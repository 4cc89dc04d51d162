// SPDX-License-Identifier: GPL-2.0-only

//! Tests of the module's pure logic.
//!
//! The files under test are the module's own, unchanged, at their usual paths in the crate; what
//! they import from the kernel is in `../kernel`, and pins are those of `kapi/mm/pin.rs` here,
//! which keeps a ledger of them.

#![cfg(test)]
#![forbid(unsafe_code)]
// Each file of the module offers what others of its files use.
#![allow(dead_code)]

mod drivers;
mod ioas;
mod kapi;
mod tests;
