// SPDX-License-Identifier: GPL-2.0-only

//! What can be seen of a context from outside. Nothing here changes anything.

pub(crate) mod fdinfo;
