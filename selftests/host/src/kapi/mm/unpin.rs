// SPDX-License-Identifier: GPL-2.0-only

//! Unpinning of lists without a kernel: each extent is unpinned, as by the module's `kapi/mm/unpin.rs`.

use kernel::prelude::*;

use crate::kapi::mm::pin::Extent;

/// Unpins the extents of a list.
pub(crate) fn unpin_list(list: KVec<Extent>) {
    drop(list);
}
