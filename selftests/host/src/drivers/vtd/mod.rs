// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for VT-d.

#[path = "../../../../../drivers/vtd/batch.rs"]
pub(crate) mod batch;
#[path = "../../../../../drivers/vtd/descriptor.rs"]
pub(crate) mod descriptor;
#[path = "../../../../../drivers/vtd/first_stage.rs"]
pub(crate) mod first_stage;
#[path = "../../../../../drivers/vtd/hardware.rs"]
pub(crate) mod hardware;
#[path = "../../../../../drivers/vtd/range.rs"]
pub(crate) mod range;
