// SPDX-License-Identifier: GPL-2.0-only

//! Containers. Those without unsafe code are the module's own files.

#[path = "../../../../../kapi/sync/chunks.rs"]
pub(crate) mod chunks;
pub(crate) mod range_tree;
pub(crate) mod vec;
