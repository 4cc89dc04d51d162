// SPDX-License-Identifier: GPL-2.0-only

//! What the test module has beyond the module proper.

pub(crate) mod mock;
