// SPDX-License-Identifier: GPL-2.0-only

//! Of the module's `hwpt/`: fault queues.

#[path = "../../../hwpt/fault.rs"]
pub(crate) mod fault;

use kernel::sync::Arc;

use crate::{
    kapi::iommu::iopf::{
        AttachmentId,
        FaultGroup,
        FaultSink, //
    },
    object::Ref, //
};

/// Page tables that were made for a fault queue.
#[derive(Clone)]
pub(crate) struct Tables(Arc<fault::Faults>);

impl Tables {
    /// Makes them.
    pub(crate) fn new(queue: Ref<fault::FaultQueue>) -> Self {
        Self(fault::Faults::to(Some(queue)).unwrap().unwrap())
    }

    /// A device reports a group of faults.
    pub(crate) fn deliver(&self, group: FaultGroup) {
        self.0.deliver(group);
    }

    /// An attachment of a device ends.
    pub(crate) fn end(&self, attachment: AttachmentId) {
        self.0.end(attachment);
    }
}
