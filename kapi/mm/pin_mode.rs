// SPDX-License-Identifier: GPL-2.0-only

//! How pages are pinned.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h) (`FOLL_WRITE`)

use crate::ffi::bindings;

/// For which accesses, and for how long, pages are pinned.
#[derive(Clone, Copy)]
pub(super) struct PinMode {
    /// They may be written to.
    pub(super) write: bool,
    /// A device has them. Otherwise they are pinned for a moment, as for copying.
    pub(super) long_term: bool,
}

impl PinMode {
    /// Returns the flags of the kernel's functions that pin memory by its address. They have
    /// `FOLL_WRITE` if, and only if, the pages may be written to.
    pub(super) fn flags(self) -> u32 {
        let mut flags = 0;
        if self.write {
            flags |= bindings::FOLL_WRITE;
        }
        if self.long_term {
            flags |= bindings::FOLL_LONGTERM;
        }
        flags
    }
}
