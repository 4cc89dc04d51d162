// SPDX-License-Identifier: GPL-2.0-only

//! The outcome of a user's requests to invalidate caches.

use kernel::prelude::*;

/// The same type as the module's, whose file needs the kernel's bindings.
pub(crate) struct Invalidated {
    /// How many requests have taken effect, counted from the first.
    pub(crate) done: u32,
    /// The error of the request after those, if it failed.
    pub(crate) result: Result,
    /// How many times the IOMMU was given commands.
    pub(crate) submissions: Option<u32>,
}
