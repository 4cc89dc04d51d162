// SPDX-License-Identifier: GPL-2.0-only

//! Whether a device has a vDEVICE. It may have one.
//!
//! The device knows only the vDEVICE's id. The id is that vDEVICE's as long as its
//! [`Claim`](crate::device::Claim) exists, because an id is freed after its object is dropped, and
//! the claim is a field of the object. Dropping the claim takes the lock `state` (rank 16). So
//! under that lock the vDEVICE can be destroyed by its id.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    device::group::Attachments,
    kapi::{
        reason::{
            Reason,
            Result, //
        },
        sync::shared::SharedAny, //
    },
    object::{
        AnyRef,
        Ctx,
        Draft,
        Kind, //
    }, //
};

enum State {
    /// There is no vDEVICE.
    Free,
    /// One is being made.
    Claimed,
    /// There is one, with this id, or it is being destroyed.
    Used(u32),
    /// The device is being unbound. No vDEVICE can be made any more.
    Over,
}

/// The vDEVICE of a device.
#[pin_data]
pub(super) struct Claims {
    #[pin]
    state: Mutex<State>,
}

impl Claims {
    /// Initialises the state: there is no vDEVICE.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State::Free, "Claims::state"),
        })
    }

    /// Begins to make a vDEVICE of the device with this id. Returns `EEXIST` if there is one,
    /// `ENOENT` if the device is being unbound.
    pub(super) fn begin(&self, id: u32) -> Result {
        let mut state = self.state.lock();
        match *state {
            State::Free => *state = State::Claimed,
            State::Claimed | State::Used(_) => return Err(Reason::VdeviceExists.with(id.into())),
            State::Over => return Err(Reason::VdeviceUnbound.with(id.into())),
        }
        Ok(())
    }

    /// Publishes the vDEVICE of the device with this id. The device keeps it as far as it is
    /// attached already; `attachments` are those of its group. Returns `ENOENT` if the device is
    /// being unbound.
    pub(super) fn publish<K: Kind>(
        &self,
        id: u32,
        vdevice: Draft<'_, K>,
        attachments: &mut Attachments<'_>,
    ) -> Result {
        let mut state = self.state.lock();
        let refused = match *state {
            State::Over => Some(vdevice),
            _ => {
                *state = State::Used(vdevice.id());
                attachments.keep(id, &vdevice);
                vdevice.publish();
                None
            }
        };
        drop(state);
        // Dropping the vDEVICE drops its claim, which takes the lock.
        refused.map_or(Ok(()), |_| Err(Reason::VdeviceUnbound.with(id.into())))
    }

    /// Returns the vDEVICE, or `None` if there is none that is published. Returns `ENOENT` if it is
    /// being destroyed.
    pub(super) fn vdevice(&self, ctx: &Ctx) -> Result<Option<SharedAny>> {
        match *self.state.lock() {
            State::Used(id) => Ok(ctx.objects().get_any(id)?.into_shared()),
            State::Free | State::Claimed | State::Over => Ok(None),
        }
    }

    /// Records that there is no vDEVICE any more.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Over) {
            *state = State::Free;
        }
    }

    /// Destroys the vDEVICE, if there is one. No other can be made from here on.
    pub(super) fn end(&self, ctx: &Ctx) {
        let mut state = self.state.lock();
        let old = core::mem::replace(&mut *state, State::Over);
        let vdevice: Option<AnyRef> = match old {
            State::Used(id) => ctx.objects().abandon(id),
            _ => None,
        };
        drop(state);
        drop(vdevice);
    }
}
