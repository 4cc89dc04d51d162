// SPDX-License-Identifier: GPL-2.0-only

//! Models of what tasks do at once.
//!
//! The files under test are the module's own, unchanged, at their usual paths in the crate. What they
//! import from the kernel is in `../kernel`; what of the module talks to C is replaced here.

#![cfg(test)]
// The files under test define items that only other files of the module use.
#![allow(dead_code, unused_imports)]

mod device;
mod drivers;
mod hwpt;
mod ioas;
mod kapi;
mod object;
mod orders;
mod tests;
mod viommu;
