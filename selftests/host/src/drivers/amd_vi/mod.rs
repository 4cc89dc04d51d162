// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for AMD-Vi.

#[path = "../../../../../drivers/amd_vi/batch.rs"]
pub(crate) mod batch;
#[path = "../../../../../drivers/amd_vi/command.rs"]
pub(crate) mod command;
#[path = "../../../../../drivers/amd_vi/dte.rs"]
pub(crate) mod dte;
#[path = "../../../../../drivers/amd_vi/event.rs"]
pub(crate) mod event;
#[path = "../../../../../drivers/amd_vi/hardware.rs"]
pub(crate) mod hardware;
