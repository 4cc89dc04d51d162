// SPDX-License-Identifier: GPL-2.0-only

//! Devices of the guest that go away while its commands are carried out: when memory is read, and
//! when something was submitted. They come back to any slot, with the StreamIDs of that, and
//! possibly behind another SMMU.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        batch::Source,
        command::Words, //
    },
    kapi::array_vec::ArrayVec,
    tests::smmu_v3::{
        batch::Memory,
        scope::bits,
        world::{
            Hardware,
            World,
            DEVICES,
            OURS, //
        }, //
    }, //
};

/// Slots for devices.
const SLOTS: u32 = 4;

impl World {
    /// Whether a command is about a device that is not one of ours, behind this SMMU, now.
    pub(super) fn is_about_another_device(&self, smmu: usize, command: Words) -> bool {
        let has_stream = |device| {
            let (behind, sids) = self.streams(OURS, device);
            behind == smmu && sids.contains(&(bits(command, 63, 32) as u32))
        };
        is_about_device(command) && !(0..DEVICES).any(has_stream)
    }

    /// Lets one of our devices go away or come back, in some cases.
    pub(super) fn come_and_go(&mut self) {
        if !self.restless || !self.random.one_in(3) {
            return;
        }
        let device = self.random.within(0..=u64::from(DEVICES) - 1) as u32;
        if self.slots[device as usize].is_none() {
            let slot = self.random.within(0..=u64::from(SLOTS) - 1) as u32;
            self.slots[device as usize] = Some(slot);
            self.attach(OURS, device);
        } else {
            // The driver waits for its own commands, and so for those before.
            let (smmu, _) = self.streams(OURS, device);
            self.complete(smmu);
            self.forget_device(OURS, device);
            self.slots[device as usize] = None;
        }
    }

    /// Whether the device that a command is about is away.
    pub(super) fn is_away(&self, command: Words) -> bool {
        let vsid = bits(command, 63, 32) as u32;
        let device = (0..DEVICES).find(|device| World::vsid(*device) == vsid);
        device.is_some_and(|device| self.streams(OURS, device).1.is_empty())
    }
}

/// Whether a command of a guest or for an SMMU is about a device.
pub(super) fn is_about_device(command: Words) -> bool {
    !(0x10..0x40).contains(&bits(command, 7, 0))
}

/// Commands in memory. It takes time to read them.
pub(super) struct SlowMemory<'a> {
    pub(super) hardware: &'a Hardware,
    pub(super) memory: Memory<'a>,
}

impl Source for SlowMemory<'_> {
    fn read<const N: usize>(&mut self, block: &mut ArrayVec<Words, N>, len: usize) -> Result {
        self.hardware.0.borrow_mut().come_and_go();
        self.memory.read(block, len)
    }
}
