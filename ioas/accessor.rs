// SPDX-License-Identifier: GPL-2.0-only

//! Emulated devices, as an address space knows them: it calls their drivers before memory is
//! unmapped whose pages they may have pinned.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Completion, //
    }, //
};

use crate::kapi::{
    reason::Result,
    sync::complete_on_drop::CompleteOnDrop,
    units::{
        IovaRange,
        PAGE_SIZE, //
    }, //
};

/// The driver of an emulated device.
pub(crate) trait AccessUser: Send + Sync {
    /// Unpins every page in `range` that the driver has pinned. When this returns the driver uses
    /// none of them. Called with no lock held.
    fn unmap(&self, range: IovaRange);
}

/// Returns the address of an accessor, which identifies it.
pub(super) fn id_of(accessor: &Arc<Accessor>) -> usize {
    core::ptr::from_ref(&**accessor).addr()
}

/// An emulated device that has access to the memory of address spaces.
pub(crate) struct Accessor {
    user: Option<KBox<dyn AccessUser>>,
    alignment: u64,
    /// Completed when `user` cannot be called any more. Must be the last field, which is dropped
    /// last.
    _dropped: CompleteOnDrop,
}

impl Accessor {
    /// Creates an accessor. `user` is called when memory is unmapped. Unless the device pins pages,
    /// its address spaces need not consist of whole pages. The completion is completed when the
    /// accessor is dropped. Returns `ENOMEM`.
    pub(crate) fn new(
        user: Option<KBox<dyn AccessUser>>,
        pins_pages: bool,
    ) -> Result<(Arc<Self>, Arc<Completion>)> {
        let dropped = CompleteOnDrop::new()?;
        let completion = dropped.completion();
        let accessor = Self {
            user,
            alignment: if pins_pages { PAGE_SIZE } else { 1 },
            _dropped: dropped,
        };
        Ok((Arc::new(accessor, GFP_KERNEL_ACCOUNT)?, completion))
    }

    /// Returns the alignment that areas must have, in bytes: a page, or 1.
    pub(crate) fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Has the driver unpin the pages in `range`. The caller must hold no lock.
    pub(crate) fn notify(&self, range: IovaRange) {
        if let Some(user) = &self.user {
            user.unmap(range);
        }
    }
}
