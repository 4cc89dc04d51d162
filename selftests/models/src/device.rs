// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `device/`: the accesses of emulated devices.

#[path = "../../../device/access.rs"]
mod access;

pub(crate) use access::Access;
