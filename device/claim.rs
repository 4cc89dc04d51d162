// SPDX-License-Identifier: GPL-2.0-only

//! The claim of a vDEVICE on its device. Unbinding the device waits until it is dropped.

use crate::{
    device::{
        group::Attachments,
        BoundDevice, //
    },
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
    /// Returns the id of the device.
    pub(crate) fn device(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claims().release();
    }
}

/// A vDEVICE that is being made. Until this is dropped no device of the group is attached, detached
/// or moved: an attach either finds the vDEVICE published, or its driver finds none.
pub(crate) struct Making<'d> {
    device: &'d Ref<BoundDevice>,
    attachments: Attachments<'d>,
}

impl<'d> Making<'d> {
    /// Claims a device for a vDEVICE. Returns `EEXIST` if it has one, `ENOENT` if it is being
    /// unbound.
    pub(crate) fn begin(device: &'d Ref<BoundDevice>) -> Result<(Self, Claim)> {
        let attachments = device.group()?.hold();
        device.claims().begin(device.id())?;
        let making = Self {
            device,
            attachments,
        };
        Ok((making, Claim(device.clone())))
    }

    /// Publishes the vDEVICE, which has the claim. Returns `ENOENT` if the device is being unbound.
    pub(crate) fn publish<K: Kind>(mut self, vdevice: Draft<'_, K>) -> Result {
        let claims = self.device.claims();
        claims.publish(self.device.id(), vdevice, &mut self.attachments)
    }
}
