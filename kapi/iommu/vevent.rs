// SPDX-License-Identifier: GPL-2.0-only

//! Events that an IOMMU driver reports to the guest of a vIOMMU.
//!
//! An [`EventReceiver`] receives the events of one type. Reporting one holds
//! `Receivers::list` (rank 32), so no receiver is called after its [`Connection`] was dropped.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)
//! (`iommufd_viommu_report_event()`)

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Receives events of a vIOMMU.
pub(crate) trait EventReceiver: Send + Sync {
    /// Receives an event. Returns `ENOMEM` if it is lost for want of memory. Must not sleep for
    /// memory.
    fn receive(&self, event: &[u8]) -> Result;
}

/// The receivers of the events of a vIOMMU: at most one for each type.
#[pin_data]
pub(super) struct Receivers {
    #[pin]
    list: Mutex<KVec<(u32, Arc<dyn EventReceiver>)>>,
}

impl Receivers {
    /// Makes a list without receivers.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_mutex!(KVec::new(), "Receivers::list"),
        })
    }

    /// Passes an event to its receiver. Returns `EOPNOTSUPP` if its type has none, or the error of
    /// the receiver.
    pub(super) fn report(&self, kind: u32, event: &[u8]) -> Result {
        let list = self.list.lock();
        let (_, receiver) = list
            .iter()
            .find(|(other, _)| *other == kind)
            .ok_or(EOPNOTSUPP)?;
        receiver.receive(event)
    }

    fn add(&self, kind: u32, receiver: Arc<dyn EventReceiver>) -> Result {
        let mut list = self.list.lock();
        if list.iter().any(|(other, _)| *other == kind) {
            return Err(EEXIST);
        }
        Ok(list.push((kind, receiver), GFP_KERNEL_ACCOUNT)?)
    }

    fn remove(&self, kind: u32) {
        let mut list = self.list.lock();
        let place = list.iter().position(|(other, _)| *other == kind);
        let removed = place.and_then(|place| list.remove(place).ok());
        drop(list);
        drop(removed);
    }
}

/// Connects a receiver to the events of a type, until it is dropped.
pub(crate) struct Connection {
    receivers: Arc<Receivers>,
    kind: u32,
}

impl Connection {
    /// Connects `receiver` to the events of type `kind` (`enum iommu_veventq_type`). Returns
    /// `EEXIST` if the type has a receiver, `ENOMEM` if there is no memory.
    pub(super) fn new(
        receivers: &Arc<Receivers>,
        kind: u32,
        receiver: Arc<dyn EventReceiver>,
    ) -> Result<Self> {
        receivers.add(kind, receiver)?;
        Ok(Self {
            receivers: receivers.clone(),
            kind,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.receivers.remove(self.kind);
    }
}
