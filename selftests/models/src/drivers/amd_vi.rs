// SPDX-License-Identifier: GPL-2.0-only

//! Of the policy of the native backend for AMD-Vi: what a batch consists of.

#[path = "../../../../drivers/amd_vi/batch.rs"]
pub(crate) mod batch;
#[path = "../../../../drivers/amd_vi/command.rs"]
pub(crate) mod command;
#[path = "../../../../drivers/amd_vi/hardware.rs"]
pub(crate) mod hardware;
