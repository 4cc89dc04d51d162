// SPDX-License-Identifier: GPL-2.0-only

//! Models of tasks that pin and unpin memory of one source.
//!
//! As in `../src`, the files under test are the module's own, unchanged. These are models of their own
//! since those of address spaces replace what is modelled here: `ioas/pages.rs` and `pin.rs`.

// The files under test, and stand-ins that others share, define items that are not used here.
#![allow(dead_code, unused_imports, unused_macros)]

mod ioas;
mod kapi;
mod object;
#[path = "../src/orders.rs"]
mod orders;
mod tests;
mod world;
