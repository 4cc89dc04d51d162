// SPDX-License-Identifier: GPL-2.0-only

//! Devices: binding them to a context, and attaching them to page tables.
//!
//! Locks: `Access::state` (5); `Ioas::hwpts` (10), then `Group::state` (15), `Window::state` (17),
//! then those of the address space; `Claims::state` (16).

mod access;
mod attach;
mod bind;
mod claim;
mod claims;
mod group;
pub(crate) mod ioctl;
mod msi;

pub(crate) use access::Access;
pub(crate) use attach::How;
pub(crate) use bind::BoundDevice;
pub(crate) use claim::{
    Claim,
    Making, //
};
pub(crate) use group::Group;
pub(crate) use msi::DoorbellRanges;
