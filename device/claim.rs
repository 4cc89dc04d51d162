// SPDX-License-Identifier: GPL-2.0-only

//! The claim of a vDEVICE on its device. Unbinding the device waits until it is dropped.

use crate::{
    device::BoundDevice,
    kapi::reason::Result,
    object::{
        Draft,
        Kind,
        Ref, //
    }, //
};

/// The right to be the vDEVICE of a device. Dropping it gives the right back.
pub(crate) struct Claim(Ref<BoundDevice>);

impl Claim {
    /// Claims a device for a vDEVICE. Returns `EEXIST` if it has one, `ENOENT` if it is being
    /// unbound.
    pub(crate) fn new(device: &Ref<BoundDevice>) -> Result<Self> {
        device.claims().begin(device.id())?;
        Ok(Self(device.clone()))
    }

    /// Returns the id of the device.
    pub(crate) fn device(&self) -> u32 {
        self.0.id()
    }

    /// Publishes a vDEVICE. `claim` returns its claim. Returns `ENOENT` if the device is being
    /// unbound.
    pub(crate) fn publish<K: Kind>(
        vdevice: Draft<'_, K>,
        claim: impl FnOnce(&K) -> &Self,
    ) -> Result {
        let device = claim(&vdevice).0.clone();
        device.claims().publish(device.id(), vdevice)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claims().release();
    }
}
