// SPDX-License-Identifier: GPL-2.0-only

//! The count of the attachments to an address space.

use kernel::sync::atomic::ordering::Relaxed;

use crate::{
    ioas::{
        stats::Stats,
        Ioas, //
    },
    object::Ref, //
};

/// Counts an attachment to an address space while it exists.
pub(crate) struct CountedAttachment(Ref<Ioas>);

impl CountedAttachment {
    /// Counts an attachment.
    pub(crate) fn new(ioas: &Ref<Ioas>) -> Self {
        ioas.stats.attachments.fetch_add(1, Relaxed);
        Self(ioas.clone())
    }
}

impl Drop for CountedAttachment {
    fn drop(&mut self) {
        Stats::sub(&self.0.stats.attachments, 1);
    }
}
