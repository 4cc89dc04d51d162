// SPDX-License-Identifier: GPL-2.0-only

//! Commands that were accepted and are not known to be complete: those that wait to be issued, and
//! those that were issued without a CMD_SYNC behind them.
//!
//! Commands of one class do not depend on each other, and may be issued in any order.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Class,
            Physical,
            Tlbi, //
        },
        merge::Sink, //
    },
    kapi::array_vec::ArrayVec, //
};

/// The most commands that are issued at once: with a CMD_SYNC they must fit in the smallest command
/// queue that the driver makes, of 64 entries (`CMDQ_BATCH_ENTRIES`).
pub(crate) const MAX_ISSUED: usize = 63;

/// The most commands about devices in a queue.
const MAX_ABOUT_DEVICES: usize = 32;
const _: () = assert!(MAX_ABOUT_DEVICES <= MAX_ISSUED);

/// The number of no command.
const NONE: u32 = u32::MAX;

/// A stream of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Which SMMU it is on.
    pub(crate) smmu: usize,
    /// Its id there.
    pub(crate) sid: u32,
    /// Whether the device has no further stream.
    pub(crate) last: bool,
}

/// The SMMUs that translate for a guest. They are numbered from 0.
pub(crate) trait Smmus {
    /// How many there are, at least 1 and at most 32.
    fn count(&self) -> usize;

    /// What an SMMU knows the guest by.
    fn vmid(&self, smmu: usize) -> u16;

    /// Stream number `nth` of the device that the guest knows by `vsid`. `None` where there is no
    /// such device or stream.
    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream>;

    /// Gives commands, [`MAX_ISSUED`] at most, to an SMMU. With `sync` it returns once all that the
    /// SMMU was given before and now is complete. `ETIMEDOUT` where that does not happen.
    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result;
}

/// SMMUs, and how often they were given commands.
pub(super) struct Issuer<'a, S> {
    pub(super) smmus: &'a S,
    pub(super) submissions: u32,
}

impl<'a, S: Smmus> Issuer<'a, S> {
    pub(super) fn new(smmus: &'a S) -> Self {
        let submissions = 0;
        Self { smmus, submissions }
    }

    /// As [`Smmus::submit`].
    #[inline]
    pub(super) fn submit(&mut self, smmu: usize, commands: &[Physical], sync: bool) -> Result {
        self.submissions = self.submissions.saturating_add(1);
        self.smmus.submit(smmu, commands, sync)
    }
}

/// Commands about devices of one class, each for the SMMU that translates for the device.
struct AboutDevices {
    commands: ArrayVec<Physical, MAX_ABOUT_DEVICES>,
    /// The SMMU of each.
    smmus: ArrayVec<u8, MAX_ABOUT_DEVICES>,
    /// A bit for each of these.
    mask: u32,
}

impl AboutDevices {
    const fn new() -> Self {
        Self {
            commands: ArrayVec::new(),
            smmus: ArrayVec::new(),
            mask: 0,
        }
    }

    fn push(&mut self, smmu: usize, command: Physical) -> bool {
        self.mask |= 1 << smmu;
        // CAST: There are 32 at most.
        self.commands.push(command) && self.smmus.push(smmu as u8)
    }

    fn clear(&mut self) {
        self.commands.clear();
        self.smmus.clear();
        self.mask = 0;
    }
}

/// Commands of a batch, `N` about address spaces at most.
pub(super) struct Pending<'a, S, const N: usize> {
    issuer: Issuer<'a, S>,
    /// How many SMMUs there are.
    count: usize,
    /// What the first of them knows the guest by.
    vmid: u16,

    // Those that wait to be issued.
    configurations: AboutDevices,
    /// With the VMID of the first SMMU; all get them.
    translations: ArrayVec<Physical, N>,
    device_caches: AboutDevices,

    /// For each class the number of its first command that is not known to be complete, or
    /// [`NONE`].
    first: [u32; Class::COUNT],
    /// Commands that came behind pending ones about configurations wait for these.
    behind_configurations: bool,
    /// Commands about caches of devices that came behind pending translations wait for these.
    behind_translations: bool,
    /// A bit for each SMMU that was given commands without a CMD_SYNC.
    unsynced: u32,
}

impl<'a, S: Smmus, const N: usize> Pending<'a, S, N> {
    /// None.
    pub(super) fn new(smmus: &'a S) -> Self {
        Self {
            issuer: Issuer::new(smmus),
            count: smmus.count(),
            vmid: smmus.vmid(0),
            configurations: AboutDevices::new(),
            translations: ArrayVec::new(),
            device_caches: AboutDevices::new(),
            first: [NONE; Class::COUNT],
            behind_configurations: false,
            behind_translations: false,
            unsynced: 0,
        }
    }

    /// How many commands of the batch are known to be complete, from the first on. `None` if all
    /// are.
    pub(super) fn complete(&self) -> Option<u32> {
        let first = self.first.into_iter().min();
        first.filter(|first| *first != NONE)
    }

    /// How often SMMUs were given commands.
    pub(super) fn submissions(&self) -> u32 {
        self.issuer.submissions
    }

    /// As [`Smmus::stream`].
    pub(super) fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        self.issuer.smmus.stream(vsid, nth)
    }

    /// Prepares for commands of a class, of which the first has this number.
    #[inline(always)]
    pub(super) fn enter(&mut self, class: Class, number: u32) {
        let [configuration, translation, device_cache] = &mut self.first;
        let first = match class {
            Class::Configuration => configuration,
            Class::Translation => {
                self.behind_configurations |= *configuration != NONE;
                translation
            }
            Class::DeviceCache => {
                self.behind_configurations |= *configuration != NONE;
                self.behind_translations |= *translation != NONE;
                device_cache
            }
        };
        *first = (*first).min(number);
    }

    #[cold]
    fn push_slowly(&mut self, command: Tlbi) -> Result {
        self.make_room(Class::Translation)?;
        // There is room now.
        self.translations.push(command.on_vmid(self.vmid));
        Ok(())
    }

    /// Adds a command about a device behind an SMMU. Returns whether there was room.
    pub(super) fn push_about_device(
        &mut self,
        class: Class,
        smmu: usize,
        command: Physical,
    ) -> bool {
        match class {
            Class::Configuration => self.configurations.push(smmu, command),
            _ => self.device_caches.push(smmu, command),
        }
    }

    /// Issues the commands of a class that wait to be issued. Before, waits for those that they
    /// have to wait for.
    pub(super) fn make_room(&mut self, class: Class) -> Result {
        match class {
            Class::Configuration => self.give_configurations(),
            Class::Translation => {
                if self.behind_configurations {
                    self.finish_configurations()?;
                }
                self.give_translations()
            }
            Class::DeviceCache => {
                self.settle()?;
                self.give_device_caches()
            }
        }
    }

    /// Issues all commands, and waits until they are complete. Fails as the first SMMU that fails,
    /// after all have been waited for.
    #[inline]
    pub(super) fn finish_all(&mut self) -> Result {
        let [configuration, _, device_cache] = self.first;
        if self.count != 1 || configuration.min(device_cache) != NONE {
            return self.finish_all_classes();
        }
        // Most batches have no command about a device.
        if !self.translations.is_empty() || self.unsynced != 0 {
            self.issuer.submit(0, self.translations.as_slice(), true)?;
            self.translations.clear();
            self.unsynced = 0;
        }
        self.first = [NONE; Class::COUNT];
        Ok(())
    }

    /// As [`Pending::finish_all`], for commands of any class.
    fn finish_all_classes(&mut self) -> Result {
        self.settle()?;
        let mut busy = self.unsynced | self.configurations.mask | self.device_caches.mask;
        if !self.translations.is_empty() {
            // CAST: There are 32 at most.
            busy |= ((1u64 << self.count) - 1) as u32;
        }
        if busy.is_power_of_two() {
            self.finish_all_on(busy.trailing_zeros() as usize)?;
        } else if busy != 0 {
            self.give_translations()?;
            self.give_configurations()?;
            self.give_device_caches()?;
            self.wait()?;
        }
        self.first = [NONE; Class::COUNT];
        Ok(())
    }

    /// As [`Pending::finish_all`], if all are for one SMMU and none has to wait for another.
    fn finish_all_on(&mut self, smmu: usize) -> Result {
        for queue in [&self.configurations, &self.device_caches] {
            for command in queue.commands.as_slice() {
                if !self.translations.push(*command) {
                    self.issuer
                        .submit(smmu, self.translations.as_slice(), false)?;
                    self.translations.clear();
                    self.translations.push(*command);
                }
            }
        }
        self.issuer
            .submit(smmu, self.translations.as_slice(), true)?;
        self.translations.clear();
        self.configurations.clear();
        self.device_caches.clear();
        self.unsynced = 0;
        Ok(())
    }

    /// Waits until nothing waits for another command.
    fn settle(&mut self) -> Result {
        if self.behind_configurations {
            self.finish_configurations()?;
        }
        if self.behind_translations {
            self.finish_translations()?;
        }
        Ok(())
    }

    /// Issues the commands about configurations, and waits until they are complete.
    fn finish_configurations(&mut self) -> Result {
        if self.count == 1 {
            let commands = self.configurations.commands.as_slice();
            self.issuer.submit(0, commands, true)?;
            self.configurations.clear();
            self.unsynced = 0;
        } else {
            self.give_configurations()?;
            self.wait()?;
        }
        let [first, ..] = &mut self.first;
        *first = NONE;
        self.behind_configurations = false;
        Ok(())
    }

    /// As [`Pending::finish_configurations`], for commands about address spaces.
    fn finish_translations(&mut self) -> Result {
        if self.count == 1 {
            self.issuer.submit(0, self.translations.as_slice(), true)?;
            self.translations.clear();
            self.unsynced = 0;
        } else {
            self.give_translations()?;
            self.wait()?;
        }
        let [_, first, _] = &mut self.first;
        *first = NONE;
        self.behind_translations = false;
        Ok(())
    }

    /// Issues the commands about address spaces to each SMMU.
    fn give_translations(&mut self) -> Result {
        if self.translations.is_empty() {
            return Ok(());
        }
        for smmu in 0..self.count {
            if smmu != 0 {
                let vmid = self.issuer.smmus.vmid(smmu);
                for command in self.translations.as_mut_slice() {
                    *command = command.on_another(vmid);
                }
            }
            self.unsynced |= 1 << smmu;
            self.issuer
                .submit(smmu, self.translations.as_slice(), false)?;
        }
        self.translations.clear();
        Ok(())
    }

    fn give_configurations(&mut self) -> Result {
        self.unsynced |= self.configurations.mask;
        give(&mut self.issuer, &mut self.configurations)
    }

    fn give_device_caches(&mut self) -> Result {
        self.unsynced |= self.device_caches.mask;
        give(&mut self.issuer, &mut self.device_caches)
    }

    /// Waits until all that was issued is complete. Fails as the first SMMU that fails, after all
    /// have been waited for.
    fn wait(&mut self) -> Result {
        let unsynced = core::mem::take(&mut self.unsynced);
        let mut result = Ok(());
        for smmu in 0..self.count {
            if unsynced & (1 << smmu) != 0 {
                result = result.and(self.issuer.submit(smmu, &[], true));
            }
        }
        result
    }
}

impl<S: Smmus, const N: usize> Sink for Pending<'_, S, N> {
    #[inline(always)]
    fn push(&mut self, command: Tlbi) -> Result {
        if self.translations.push(command.on_vmid(self.vmid)) {
            return Ok(());
        }
        self.push_slowly(command)
    }

    #[inline(always)]
    fn extend(&mut self, mut commands: impl Iterator<Item = Tlbi>) -> Result {
        loop {
            let vmid = self.vmid;
            self.translations
                .extend(commands.by_ref().map(|command| command.on_vmid(vmid)));
            // An iterator that has ended must not be asked again.
            if !self.translations.is_full() {
                return Ok(());
            }
            let Some(command) = commands.next() else {
                return Ok(());
            };
            self.push_slowly(command)?;
        }
    }
}

/// Issues commands about devices, those for the same SMMU that follow each other at once.
fn give<S: Smmus>(issuer: &mut Issuer<'_, S>, queue: &mut AboutDevices) -> Result {
    let mut commands = queue.commands.as_slice();
    for alike in queue.smmus.as_slice().chunk_by(|one, other| one == other) {
        let (now, later) = commands.split_at_checked(alike.len()).unwrap_or_default();
        commands = later;
        if let Some(smmu) = alike.first() {
            issuer.submit(usize::from(*smmu), now, false)?;
        }
    }
    queue.clear();
    Ok(())
}
