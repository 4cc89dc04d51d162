// SPDX-License-Identifier: GPL-2.0-only

//! The one vDEVICE that a device may have, and its end when the device is unbound.
//!
//! The device knows no more than the vDEVICE's id. It stays that vDEVICE's as long as there is a
//! claim, because an id is free only when its object is gone, and the claim is a part of the
//! object. So under the lock `state` (rank 16), which the end of a claim takes, it can be destroyed
//! by its id. Unbinding waits until nobody refers to the device, and a claim does.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    device::BoundDevice,
    object::{
        AnyRef,
        Ctx,
        Draft,
        Kind,
        Ref, //
    }, //
};

enum State {
    /// There is no vDEVICE.
    Free,
    /// One is being made, or destroyed.
    Claimed,
    /// There is one, known by its id.
    Used(u32),
    /// The device is being unbound: there will be none any more.
    Over,
}

/// What a device knows of its vDEVICE.
#[pin_data]
pub(super) struct Claims {
    #[pin]
    state: Mutex<State>,
}

impl Claims {
    /// There is no vDEVICE.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State::Free, "Claims::state"),
        })
    }

    /// Destroys the vDEVICE, if there is one, and lets none be made any more.
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

/// The right to be the vDEVICE of a device. Dropping it gives it back.
pub(crate) struct Claim(Ref<BoundDevice>);

impl BoundDevice {
    /// Claims the device for a vDEVICE. `EEXIST` where it has one, `ENOENT` where it is being
    /// unbound.
    pub(crate) fn claim_for_vdevice(device: &Ref<Self>) -> Result<Claim> {
        let mut state = device.claims().state.lock();
        match *state {
            State::Free => *state = State::Claimed,
            State::Claimed | State::Used(_) => return Err(EEXIST),
            State::Over => return Err(ENOENT),
        }
        drop(state);
        Ok(Claim(device.clone()))
    }
}

impl Claim {
    /// Publishes the vDEVICE, which has the claim in it. `ENOENT` where the device is being
    /// unbound.
    pub(crate) fn publish<K: Kind>(
        vdevice: Draft<'_, K>,
        claim: impl FnOnce(&K) -> &Self,
    ) -> Result {
        let device = claim(&vdevice).0.clone();
        let mut state = device.claims().state.lock();
        let refused = match *state {
            State::Over => Some(vdevice),
            _ => {
                *state = State::Used(vdevice.id());
                vdevice.publish();
                None
            }
        };
        drop(state);
        // A vDEVICE that is dropped takes the lock.
        refused.map_or(Ok(()), |_| Err(ENOENT))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.0.claims().state.lock();
        if !matches!(*state, State::Over) {
            *state = State::Free;
        }
    }
}
