// SPDX-License-Identifier: GPL-2.0-only

//! Locks, reference counts and containers.
//!
//! | file | fit for |
//! |---|---|
//! | `chunks` | `rust/kernel/alloc` |
//! | `clear_on_drop` | private |
//! | `complete_on_drop` | private |
//! | `ida` | `rust/kernel` |
//! | `killable` | `rust/kernel/sync/lock` |
//! | `look` | `rust/kernel/sync/lock` |
//! | `members` | `rust/kernel` |
//! | `range_node` | with `range_tree` |
//! | `range_tree` | `rust/kernel` |
//! | `raw_ref` | `rust/kernel/types` |
//! | `room` | private: for `shared` |
//! | `rwsem` | `rust/kernel/sync` |
//! | `shared` | private: `Arc` is the general form; this one can be asked for its count |
//! | `signal` | `rust/kernel/task` |
//! | `slab` | `rust/kernel/alloc/allocator` |
//! | `vec` | `rust/kernel/alloc/kvec` |
//! | `wait_queue` | `rust/kernel/sync` |
//! | `work_queue` | `rust/kernel/workqueue` |

pub(crate) mod chunks;
pub(crate) mod clear_on_drop;
pub(crate) mod complete_on_drop;
pub(crate) mod ida;
pub(crate) mod killable;
pub(crate) mod look;
pub(crate) mod members;
mod range_node;
pub(crate) mod range_tree;
#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
mod range_tree_tests;
pub(crate) mod raw_ref;
pub(crate) mod room;
pub(crate) mod rwsem;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod slab;
pub(crate) mod vec;
pub(crate) mod wait_queue;
// Without debugfs nothing is completed or dropped by a queue.
#[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
pub(crate) mod work_queue;
