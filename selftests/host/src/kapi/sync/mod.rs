// SPDX-License-Identifier: GPL-2.0-only

//! Containers: those without unsafe code are the module's own.

#[path = "../../../../../kapi/sync/chunks.rs"]
pub(crate) mod chunks;
pub(crate) mod vec;
