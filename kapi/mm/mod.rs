// SPDX-License-Identifier: GPL-2.0-only

//! Memory management: pinned pages, locked memory, user pages, VMAs, copies to and from user
//! memory.
//!
//! | file | fit for |
//! |---|---|
//! | `advance` | private: used with `uncharge` |
//! | `alive` | `rust/kernel/mm` |
//! | `extent` | `rust/kernel/mm` |
//! | `locked_vm` | `rust/kernel/mm` |
//! | `phys` | private: `rust/kernel` accepts numbers in functions that are unsafe |
//! | `pin` | `rust/kernel/mm` |
//! | `pin_mode` | `rust/kernel/mm` |
//! | `pinned` | `rust/kernel/mm` |
//! | `retry_faults` | `rust/kernel/uaccess.rs` |
//! | `runs` | private: for a kernel with the patch series |
//! | `uncharge` | private: it needs a workqueue of the module |
//! | `unpin` | `rust/kernel/mm` |
//! | `usage` | private: the sum of what a context has pinned |
//! | `user` | `rust/kernel/uaccess.rs` |
//! | `user_page` | private: for the test module |
//! | `vma` | private: its owner is a `kapi::sync::shared::SharedAny` |

pub(crate) mod advance;
pub(crate) mod alive;
mod extent;
pub(crate) mod locked_vm;
pub(crate) mod phys;
pub(crate) mod pin;
mod pin_mode;
mod pinned;
pub(crate) mod retry_faults;
#[cfg(CONFIG_IOMMUFD_RS_PAGE_RUNS)]
mod runs;
pub(crate) mod uncharge;
pub(crate) mod unpin;
pub(crate) mod usage;
pub(crate) mod user;
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod user_page;
pub(crate) mod vma;
