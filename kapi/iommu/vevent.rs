// SPDX-License-Identifier: GPL-2.0-only

//! Events that an IOMMU driver reports to the guest of a vIOMMU.
//!
//! An [`EventReceiver`] receives the events of one type. Reporting one holds
//! `Receivers::list` (rank 32), so no receiver is called after its
//! [`Connection`](crate::kapi::iommu::viommu::Connection) was dropped.
//!
//! C header: [`include/linux/iommufd.h`](srctree/include/linux/iommufd.h)
//! (`iommufd_viommu_report_event()`)

use kernel::{
    new_mutex,
    prelude::*, //
};

use crate::kapi::sync::members::{
    Members,
    Tree, //
};

/// Receives events of a vIOMMU.
pub(crate) trait EventReceiver: Send + Sync {
    /// Receives an event. Returns `ENOMEM` if it is lost for want of memory. Must not sleep for
    /// memory.
    fn receive(&self, event: &[u8]) -> Result;
}

/// The receivers of the events of a vIOMMU: at most one for each type (`enum iommu_veventq_type`).
/// User space may name any type, whether or not the driver has such events.
pub(crate) type Receivers = Members<dyn EventReceiver>;

/// Initialises a set without receivers.
pub(super) fn new_receivers() -> impl PinInit<Receivers> {
    Receivers::new(new_mutex!(Tree::new(), "Receivers::list"))
}

impl Receivers {
    /// Passes an event to its receiver. Returns `EOPNOTSUPP` if its type has none, or the error of
    /// the receiver.
    pub(super) fn report(&self, kind: u32, event: &[u8]) -> Result {
        self.with(kind, |receiver| receiver.receive(event))
            .unwrap_or(Err(EOPNOTSUPP))
    }
}

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
#[kunit_tests(iommufd_rs_vevent)]
mod tests {
    use super::*;
    use crate::kapi::sync::{
        chunks::Chunks,
        members::Member, //
    };
    use kernel::sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    };

    /// Counts events.
    struct Counter(Arc<Atomic<u32>>);

    impl EventReceiver for Counter {
        fn receive(&self, _event: &[u8]) -> Result {
            self.0.fetch_add(1, Relaxed);
            Ok(())
        }
    }

    /// More than the numbers of an allocation in one piece.
    #[test]
    fn there_may_be_any_number_of_types() -> Result {
        const MANY: u32 = 300_000;
        let receivers = Arc::pin_init(new_receivers(), GFP_KERNEL)?;
        let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let connect = |kind| {
            let counter = Ok::<_, Error>(Counter(count.clone()));
            let connection =
                Member::<Counter, _>::new::<Error>(receivers.clone(), kind, counter, |counter| {
                    counter
                });
            KBox::pin_init(connection, GFP_KERNEL)
        };
        let mut connected = Chunks::new();
        for kind in 1..=MANY {
            connected.push(connect(kind)?)?;
        }
        assert_eq!(connect(MANY).err(), Some(EEXIST));
        receivers.report(1, &[])?;
        receivers.report(MANY, &[])?;
        assert_eq!(receivers.report(MANY + 1, &[]), Err(EOPNOTSUPP));
        drop(connected);
        assert_eq!(receivers.report(1, &[]), Err(EOPNOTSUPP));
        assert_eq!(count.load(Relaxed), 2);
        Ok(())
    }
}
