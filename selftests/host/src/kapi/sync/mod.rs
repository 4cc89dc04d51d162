// SPDX-License-Identifier: GPL-2.0-only

//! Containers without unsafe code.

pub(crate) mod vec;
