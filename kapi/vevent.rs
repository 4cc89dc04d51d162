// SPDX-License-Identifier: GPL-2.0-only

//! Events of a vIOMMU: what an IOMMU driver has for a guest to hear of.
//!
//! A [`Listener`] hears the events of one type. Reporting one holds `Listeners::list` (rank 32), so no
//! listener is called any more once its [`Connection`] is gone.
//!
//! C header: `include/linux/iommufd.h` (`iommufd_viommu_report_event()`).

use crate::kapi::viommu::Viommu;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

/// Who hears events.
pub(crate) trait Listener: Send + Sync {
    /// An event. `ENOMEM` where it is lost for want of memory. Does not sleep for memory.
    fn hear(&self, event: &[u8]) -> Result;
}

/// Who hears the events of a vIOMMU: one listener a type at most.
#[pin_data]
pub(super) struct Listeners {
    #[pin]
    list: Mutex<KVec<(u32, Arc<dyn Listener>)>>,
}

impl Listeners {
    /// Nobody.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_mutex!(KVec::new(), "Listeners::list"),
        })
    }

    /// Tells of an event. `EOPNOTSUPP` where nobody hears its type, or what the listener fails with.
    pub(super) fn tell(&self, kind: u32, event: &[u8]) -> Result {
        let list = self.list.lock();
        let (_, listener) = list
            .iter()
            .find(|(other, _)| *other == kind)
            .ok_or(EOPNOTSUPP)?;
        listener.hear(event)
    }

    fn add(&self, kind: u32, listener: Arc<dyn Listener>) -> Result {
        let mut list = self.list.lock();
        if list.iter().any(|(other, _)| *other == kind) {
            return Err(EEXIST);
        }
        Ok(list.push((kind, listener), GFP_KERNEL_ACCOUNT)?)
    }

    fn remove(&self, kind: u32) {
        let mut list = self.list.lock();
        let place = list.iter().position(|(other, _)| *other == kind);
        let removed = place.and_then(|place| list.remove(place).ok());
        drop(list);
        drop(removed);
    }
}

/// That a listener hears the events of a type, until it is dropped.
pub(crate) struct Connection {
    viommu: Arc<Viommu>,
    kind: u32,
}

impl Connection {
    /// Has `listener` hear the events of type `kind` (`enum iommu_veventq_type`). `EEXIST` where
    /// there is another, `ENOMEM`.
    pub(crate) fn new(
        viommu: &Arc<Viommu>,
        kind: u32,
        listener: Arc<dyn Listener>,
    ) -> Result<Self> {
        viommu.listeners().add(kind, listener)?;
        Ok(Self {
            viommu: viommu.clone(),
            kind,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.viommu.listeners().remove(self.kind);
    }
}
