// SPDX-License-Identifier: GPL-2.0-only

//! What a user of `/dev/iommu` holds: a context, and in it objects known by their ids.
//!
//! This module knows no kind of object by name. A kind is any type with a [`Kind`] implementation;
//! the table finds it again by its type. An object owns what it needs by holding [`Ref`]s of other
//! objects in its fields, so dropping it takes everything down in field order, and the last
//! reference frees it.

mod ctx;
mod driver_side;
mod event_file;
mod in_use;
mod kind;
mod offers;
mod registry;
mod slots;
mod table;

#[cfg(CONFIG_DEBUG_FS)]
pub(crate) use ctx::Companion;
pub(crate) use ctx::Ctx;
pub(crate) use driver_side::DriverSide;
pub(crate) use event_file::{
    EventSource,
    NewObjectFile, //
};
pub(crate) use in_use::InUse;
pub(crate) use kind::{
    AnyRef,
    Either,
    Kind,
    Object,
    Ref, //
};
pub(crate) use offers::Offers;
pub(crate) use registry::Registry;
pub(crate) use table::{
    Draft,
    Reservation,
    Table, //
};
