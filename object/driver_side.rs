// SPDX-License-Identifier: GPL-2.0-only

//! What IOMMU drivers reach of a context.
//!
//! Each vIOMMU owns a reference to it, so a driver that passes it back never passes freed memory,
//! also if the vIOMMU is kept for longer than the context. The context clears the table of objects when it is dropped, so the
//! reference of an object to the side of its own context does not keep either.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kapi::sync::{
        clear_on_drop::Clear,
        shared::Shared, //
    },
    object::{
        offers::Offers,
        table::Table, //
    }, //
};

/// See the module.
#[pin_data]
pub(crate) struct DriverSide {
    objects: Arc<Table>,
    #[pin]
    offers: Offers,
}

impl DriverSide {
    /// Initialises that of context number `id`, without objects.
    pub(super) fn new(id: u64) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            objects: Arc::pin_init(Table::new(id), GFP_KERNEL_ACCOUNT)?,
            offers <- Offers::new(),
        })
    }

    /// Returns the table of the context's objects, which is empty once the context is dropped.
    pub(crate) fn objects(&self) -> &Arc<Table> {
        &self.objects
    }

    /// Returns the device memory of objects that user space may map.
    pub(crate) fn offers(&self) -> &Offers {
        &self.offers
    }
}

impl Clear for Shared<DriverSide> {
    fn clear(&self) {
        self.objects.clear();
    }
}
