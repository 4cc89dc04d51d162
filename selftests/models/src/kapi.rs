// SPDX-License-Identifier: GPL-2.0-only

//! What is used of the module's `kapi/`. Files that call C are replaced.

#[path = "../../host/src/kapi/bug.rs"]
pub(crate) mod bug;
#[path = "../../../kapi/fault_injection.rs"]
pub(crate) mod fault_injection;
pub(crate) mod file;
pub(crate) mod iommu;
pub(crate) mod lines;
pub(crate) mod mm;
#[path = "../../../kapi/reason/mod.rs"]
pub(crate) mod reason;
pub(crate) mod sync;
#[path = "../../../kapi/trace.rs"]
pub(crate) mod trace;
pub(crate) mod uapi;
#[path = "../../../kapi/units.rs"]
pub(crate) mod units;
