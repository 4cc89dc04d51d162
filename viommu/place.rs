// SPDX-License-Identifier: GPL-2.0-only

//! What IOMMU drivers know the objects of this folder by.

use crate::{
    kapi::sync::shared::{
        Shared,
        SharedAny, //
    },
    object::{
        AnyRef,
        Ctx,
        Draft,
        DriverSide,
        Kind,
        Reservation, //
    }, //
};

/// The id of an object that is being made, for
/// [`Place`](crate::kapi::iommu::viommu::Place). Only this folder makes values: of the reservation
/// or draft whose object gets what is made for the place.
pub(crate) struct ObjectPlace {
    context: Shared<DriverSide>,
    id: u32,
    object: Option<SharedAny>,
}

impl ObjectPlace {
    /// Returns that of the object that will fill a reservation in the table of `ctx`.
    pub(super) fn reserved(ctx: &Ctx, reservation: &Reservation<'_>) -> Self {
        Self {
            context: ctx.driver_side().clone(),
            id: reservation.id(),
            object: None,
        }
    }

    /// Returns that of an object that is made, and not published, in the table of `ctx`.
    pub(super) fn drafted<K: Kind>(ctx: &Ctx, draft: &Draft<'_, K>) -> Self {
        Self {
            context: ctx.driver_side().clone(),
            id: draft.id(),
            object: Some(AnyRef::from((**draft).clone()).into_shared()),
        }
    }

    /// Returns what IOMMU drivers reach of the context.
    pub(crate) fn context(&self) -> &Shared<DriverSide> {
        &self.context
    }

    /// Returns the id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Returns a reference to the object, if there is one already.
    pub(crate) fn object(&self) -> Option<&SharedAny> {
        self.object.as_ref()
    }
}
