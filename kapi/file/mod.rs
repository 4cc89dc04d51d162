// SPDX-License-Identifier: GPL-2.0-only

//! Files and module parameters.
//!
//! | file | fit for |
//! |---|---|
//! | `anon_file` | `rust/kernel/fs` |
//! | `directory` | `rust/kernel/debugfs` |
//! | `file_ref` | `rust/kernel/fs` |
//! | `listing` | `rust/kernel/debugfs` |
//! | `params` | private: the parameters of this module |
//! | `pinnable` | `rust/kernel/fs` |
//! | `pollers` | `rust/kernel/sync` |
//! | `switch` | `rust/kernel/debugfs` |

pub(crate) mod anon_file;
#[cfg(CONFIG_DEBUG_FS)]
mod directory;
pub(crate) mod file_ref;
#[cfg(CONFIG_DEBUG_FS)]
pub(crate) mod listing;
pub(crate) mod params;
pub(crate) mod pinnable;
pub(crate) mod pollers;
#[cfg(CONFIG_DEBUG_FS)]
pub(crate) mod switch;
