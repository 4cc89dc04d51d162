// SPDX-License-Identifier: GPL-2.0-only

//! Commands that were accepted and are not known to be complete: those that wait to be issued, and
//! those that were issued without a CMD_SYNC behind them.
//!
//! Commands of one class do not depend on each other, and may be issued in any order.
//!
//! A command about a device waits as the guest's. The StreamIDs are looked up when it is issued,
//! and what was looked up is used until something is submitted or read from user memory: meanwhile
//! the device may go to another owner. For one that is gone nothing is issued. The driver has
//! invalidated what was cached for it when it was detached.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Class,
            DeviceCommand,
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
    /// SMMU was given before and now is complete. `ETIMEDOUT` where that does not happen. Does not fail
    /// without `sync`.
    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result;
}

/// SMMUs, what they were given, and what was looked up.
pub(super) struct Issuer<'a, S> {
    pub(super) smmus: &'a S,
    pub(super) submissions: u32,
    /// A bit for each SMMU that was given commands without a CMD_SYNC.
    unsynced: u32,
    /// The guest's id of the device that was looked up last, and its only stream.
    found: Option<(u32, Stream)>,
}

impl<'a, S: Smmus> Issuer<'a, S> {
    pub(super) fn new(smmus: &'a S) -> Self {
        Self {
            smmus,
            submissions: 0,
            unsynced: 0,
            found: None,
        }
    }

    /// As [`Smmus::submit`].
    #[inline]
    pub(super) fn submit(&mut self, smmu: usize, commands: &[Physical], sync: bool) -> Result {
        self.submissions = self.submissions.saturating_add(1);
        self.found = None;
        let bit = 1 << smmu;
        if sync {
            self.unsynced &= !bit;
        } else {
            self.unsynced |= bit;
        }
        self.smmus.submit(smmu, commands, sync)
    }

    /// Submits commands to an SMMU, if there are any, and waits until all that was submitted to any
    /// SMMU is complete. Fails as the first SMMU that fails, after all have been waited for.
    #[inline]
    fn finish(&mut self, smmu: usize, commands: &[Physical]) -> Result {
        let given = u32::from(!commands.is_empty()) << smmu;
        if self.unsynced | given == 1 << smmu {
            return self.submit(smmu, commands, true);
        }
        if given != 0 {
            self.submit(smmu, commands, false)?;
        }
        let mut result = Ok(());
        while self.unsynced != 0 {
            let smmu = self.unsynced.trailing_zeros();
            result = result.and(self.submit(smmu as usize, &[], true));
        }
        result
    }

    /// As [`Smmus::stream`], by what was looked up last if that may be used.
    #[inline]
    fn stream(&mut self, vsid: u32, nth: usize) -> Option<Stream> {
        match self.found {
            Some((id, stream)) if id == vsid && nth == 0 => Some(stream),
            _ => {
                let stream = self.smmus.stream(vsid, nth)?;
                self.found = (nth == 0 && stream.last).then_some((vsid, stream));
                Some(stream)
            }
        }
    }

    /// Adds a command for each stream of a device to commands for SMMU `smmu`. If there is no room,
    /// or the stream is on another SMMU, it submits those first. Returns whether there is such a
    /// device.
    #[inline]
    pub(super) fn add<const N: usize>(
        &mut self,
        command: &DeviceCommand,
        smmu: &mut usize,
        commands: &mut ArrayVec<Physical, N>,
    ) -> Result<bool> {
        const { assert!(N > 0) };
        let mut nth = 0;
        while let Some(stream) = self.stream(command.vsid(), nth) {
            if commands.is_full() || (stream.smmu != *smmu && !commands.is_empty()) {
                self.submit(*smmu, commands.as_slice(), false)?;
                commands.clear();
                // The stream has to be looked up again.
                continue;
            }
            *smmu = stream.smmu;
            commands.push(command.on_stream(stream.sid));
            nth += 1;
            if stream.last {
                break;
            }
        }
        Ok(nth != 0)
    }

    /// As [`Issuer::add`], for each command of a queue, which is empty then.
    fn add_all<const N: usize>(
        &mut self,
        queue: &mut AboutDevices,
        smmu: &mut usize,
        commands: &mut ArrayVec<Physical, N>,
    ) -> Result {
        for command in queue.as_slice() {
            self.add(command, smmu, commands)?;
        }
        queue.clear();
        Ok(())
    }

    /// Issues the commands of a queue.
    fn give(&mut self, queue: &mut AboutDevices) -> Result {
        let (mut smmu, mut commands) = (0, ArrayVec::<_, MAX_ABOUT_DEVICES>::new());
        self.add_all(queue, &mut smmu, &mut commands)?;
        if commands.is_empty() {
            return Ok(());
        }
        self.submit(smmu, commands.as_slice(), false)
    }
}

/// Commands about devices, of one class.
type AboutDevices = ArrayVec<DeviceCommand, MAX_ABOUT_DEVICES>;

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

    /// Whether the guest has such a device.
    #[inline]
    pub(super) fn has_device(&mut self, vsid: u32) -> bool {
        self.issuer.stream(vsid, 0).is_some()
    }

    /// Forgets what was looked up, because devices may go away.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.issuer.found = None;
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

    /// Adds a command about a device. Returns whether there was room.
    #[inline]
    pub(super) fn push_about_device(&mut self, class: Class, command: DeviceCommand) -> bool {
        match class {
            Class::Configuration => self.configurations.push(command),
            _ => self.device_caches.push(command),
        }
    }

    /// Issues the commands of a class that wait to be issued. Before, waits for those that they
    /// have to wait for.
    pub(super) fn make_room(&mut self, class: Class) -> Result {
        match class {
            Class::Configuration => self.issuer.give(&mut self.configurations),
            Class::Translation => {
                if self.behind_configurations {
                    self.finish_configurations()?;
                }
                self.give_translations()
            }
            Class::DeviceCache => {
                self.settle()?;
                self.issuer.give(&mut self.device_caches)
            }
        }
    }

    /// Issues all commands, and waits until they are complete. Fails as [`Issuer::finish`].
    #[inline]
    pub(super) fn finish_all(&mut self) -> Result {
        let [configuration, _, device_cache] = self.first;
        // Most batches have no command about a device.
        if self.count != 1 || configuration.min(device_cache) != NONE {
            return self.finish_all_classes();
        }
        self.issuer.finish(0, self.translations.as_slice())?;
        self.translations.clear();
        self.first = [NONE; Class::COUNT];
        Ok(())
    }

    /// As [`Pending::finish_all`], for commands of any class.
    fn finish_all_classes(&mut self) -> Result {
        self.settle()?;
        // None has to wait for another one now.
        let mut smmu = self.give_to_others()?;
        let commands = &mut self.translations;
        self.issuer
            .add_all(&mut self.configurations, &mut smmu, commands)?;
        self.issuer
            .add_all(&mut self.device_caches, &mut smmu, commands)?;
        self.issuer.finish(smmu, commands.as_slice())?;
        commands.clear();
        self.first = [NONE; Class::COUNT];
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
        let (mut smmu, mut commands) = (0, ArrayVec::<_, MAX_ABOUT_DEVICES>::new());
        self.issuer
            .add_all(&mut self.configurations, &mut smmu, &mut commands)?;
        self.issuer.finish(smmu, commands.as_slice())?;
        let [first, ..] = &mut self.first;
        *first = NONE;
        self.behind_configurations = false;
        Ok(())
    }

    /// As [`Pending::finish_configurations`], for commands about address spaces.
    fn finish_translations(&mut self) -> Result {
        let last = self.give_to_others()?;
        self.issuer.finish(last, self.translations.as_slice())?;
        self.translations.clear();
        let [_, first, _] = &mut self.first;
        *first = NONE;
        self.behind_translations = false;
        Ok(())
    }

    /// Issues the commands about address spaces to each SMMU.
    fn give_translations(&mut self) -> Result {
        let last = self.give_to_others()?;
        if self.translations.is_empty() {
            return Ok(());
        }
        self.issuer
            .submit(last, self.translations.as_slice(), false)?;
        self.translations.clear();
        Ok(())
    }

    /// Issues the commands about address spaces to each SMMU but the last, and leaves those for the
    /// last in the queue. Returns the last.
    fn give_to_others(&mut self) -> Result<usize> {
        let last = self.count.saturating_sub(1);
        if self.translations.is_empty() {
            return Ok(last);
        }
        for smmu in 0..last {
            self.issuer
                .submit(smmu, self.translations.as_slice(), false)?;
            let vmid = self.issuer.smmus.vmid(smmu + 1);
            for command in self.translations.as_mut_slice() {
                *command = command.on_another(vmid);
            }
        }
        Ok(last)
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
