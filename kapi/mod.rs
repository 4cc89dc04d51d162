// SPDX-License-Identifier: GPL-2.0-only

//! Safe wrappers over kernel facilities that the `kernel` crate lacks. This is the only layer below
//! the handlers that contains `unsafe` code.
//!
//! Each folder covers one kernel subsystem. Its `mod.rs` says for every file whether it is fit for
//! `rust/kernel` or private to this module. Of the files beside the folders `array_vec` and `bug` are
//! fit for `rust/kernel`. `latency`, `lines`, `reason`, `trace` and `units` are private, and so is
//! `fault_injection`, which serves the test module.

pub(crate) mod array_vec;
pub(crate) mod bug;
pub(crate) mod dma_buf;
pub(crate) mod fault_injection;
pub(crate) mod file;
pub(crate) mod iommu;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod iommu_driver;
pub(crate) mod latency;
pub(crate) mod lines;
pub(crate) mod mm;
pub(crate) mod reason;
pub(crate) mod sync;
pub(crate) mod trace;
pub(crate) mod uapi;
pub(crate) mod units;

// The examples of the documentation, which `scripts/examples.py` makes tests of.
#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
include!(concat!(
    env!("IOMMUFD_RS_OBJ"),
    "/kapi/examples_generated.rs"
));
