// SPDX-License-Identifier: GPL-2.0-only

//! What comes of a user's requests to invalidate caches.

use kernel::prelude::*;

/// As the module's, whose file needs the kernel's bindings.
pub(crate) struct Invalidated {
    /// How many have taken effect, from the first on.
    pub(crate) done: u32,
    /// What the next one failed with.
    pub(crate) result: Result,
}
