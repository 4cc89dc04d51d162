// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `drivers/`: batches of commands.

pub(crate) mod amd_vi;
#[path = "../../../drivers/field.rs"]
pub(crate) mod field;
