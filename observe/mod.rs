// SPDX-License-Identifier: GPL-2.0-only

//! What can be seen of a context from outside. Nothing here changes anything.

#[cfg(CONFIG_DEBUG_FS)]
pub(crate) mod debugfs;
pub(crate) mod fdinfo;
