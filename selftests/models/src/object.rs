// SPDX-License-Identifier: GPL-2.0-only

//! The module's `object/`, with a context that has objects only.

#[path = "../../../object/event_file.rs"]
mod event_file;
#[path = "../../../object/in_use.rs"]
mod in_use;
#[path = "../../../object/kind.rs"]
mod kind;
#[path = "../../../object/registry.rs"]
mod registry;
#[path = "../../../object/slots.rs"]
mod slots;
#[path = "../../../object/table.rs"]
mod table;

use kernel::{
    init::PinInit,
    prelude::*,
    sync::Arc, //
};

use crate::kapi::{
    reason::Refusal,
    sync::clear_on_drop::ClearOnDrop, //
};

pub(crate) use event_file::{
    EventSource,
    NewObjectFile, //
};
pub(crate) use kind::{
    AnyRef,
    Kind,
    Object,
    Ref, //
};
pub(crate) use registry::Registry;
pub(crate) use table::{
    Draft,
    Reservation,
    Table, //
};

/// A context.
pub(crate) struct Ctx {
    objects: ClearOnDrop<Arc<Table>>,
}

impl Ctx {
    /// Makes an empty context.
    pub(crate) fn new() -> Self {
        let table = Arc::pin_init::<Error>(Ok(Table::new(1).make().unwrap()), GFP_KERNEL).unwrap();
        Self {
            objects: ClearOnDrop::new(Ok(table)).make().unwrap(),
        }
    }

    /// Returns the objects.
    pub(crate) fn objects(&self) -> &Table {
        &self.objects
    }

    /// Returns the number of the context.
    pub(crate) fn id(&self) -> u64 {
        1
    }

    /// Returns the error of a call that is refused.
    pub(crate) fn refuse(&self, _command: &'static CStr, refusal: Refusal) -> Error {
        refusal.error()
    }
}
