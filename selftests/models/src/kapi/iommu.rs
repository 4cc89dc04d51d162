// SPDX-License-Identifier: GPL-2.0-only

//! What IOMMU drivers report: events of vIOMMUs, page faults.

pub(crate) mod iopf;
#[path = "../../../../kapi/iommu/vevent.rs"]
pub(crate) mod vevent;

use std::sync::Arc as StdArc;

use kernel::{
    init::PinInit,
    prelude::*,
    sync::Arc, //
};

use vevent::{
    Connection,
    EventReceiver,
    Receivers, //
};

/// The events that the driver of a vIOMMU reports.
pub(crate) struct Events(Arc<Receivers>);

impl Events {
    /// No events are received.
    pub(crate) fn new() -> Self {
        let receivers = Receivers::new().make().unwrap();
        Self(Arc::pin_init::<Error>(Ok(receivers), GFP_KERNEL).unwrap())
    }

    /// Connects a receiver.
    pub(crate) fn connect<R: EventReceiver + 'static>(
        &self,
        kind: u32,
        receiver: Arc<R>,
    ) -> Result<Connection> {
        let receiver: StdArc<dyn EventReceiver> = receiver.into_std();
        Connection::new(&self.0, kind, Arc::from_std(receiver))
    }

    /// Reports an event, as the driver does.
    pub(crate) fn report(&self, kind: u32, event: &[u8]) -> Result {
        self.0.report(kind, event)
    }
}
