// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `hwpt/`: fault queues.

#[path = "../../../hwpt/fault.rs"]
pub(crate) mod fault;
