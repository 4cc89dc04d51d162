// SPDX-License-Identifier: GPL-2.0-only

//! What IOMMU drivers report: events of vIOMMUs, page faults; and page tables.

pub(crate) mod domain;
#[path = "../../../host/src/kapi/iommu/invalidate.rs"]
pub(crate) mod invalidate;
pub(crate) mod iopf;
#[path = "../../../../kapi/iommu/vevent.rs"]
pub(crate) mod vevent;

use kernel::{
    init::PinInit,
    prelude::*,
    sync::Arc, //
};

use crate::kapi::sync::members::{
    Members,
    SetRef, //
};
use vevent::{
    new_receivers,
    EventReceiver,
    Receivers, //
};

/// Connections to a vIOMMU, of which there are the receivers only.
pub(crate) mod viommu {
    use super::*;
    use crate::kapi::sync::members::Member;

    /// As in the module.
    pub(crate) type Connection<R> = Member<R, Arc<Receivers>>;
}

impl SetRef for Arc<Receivers> {
    type Value = dyn EventReceiver;

    fn set(&self) -> &Members<Self::Value> {
        self
    }
}

/// The events that the driver of a vIOMMU reports.
pub(crate) struct Events(Arc<Receivers>);

impl Events {
    /// No events are received.
    pub(crate) fn new() -> Self {
        let receivers = new_receivers().make().unwrap();
        Self(Arc::pin_init::<Error>(Ok(receivers), GFP_KERNEL).unwrap())
    }

    /// Returns the receivers.
    pub(crate) fn event_viommu(&self) -> &Arc<Receivers> {
        &self.0
    }

    /// Reports an event, as the driver does.
    pub(crate) fn report(&self, kind: u32, event: &[u8]) -> Result {
        self.0.report(kind, event)
    }
}
