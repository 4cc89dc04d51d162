// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's commands, for one IOMMU or for several that translate for it.
//!
//! A batch is read in blocks. Commands are validated one after the other and put, in their order,
//! into a lane for each IOMMU that they concern, where neighbours are merged. Before a command for
//! which a full lane may have no room, all lanes are submitted, and each is waited for: all IOMMUs are
//! given their commands before any is waited for, and the number of commands that are complete is
//! known after each submission.
//!
//! A device that does not use ATS does not answer an INVALIDATE_IOTLB_PAGES, and ATS may be turned off
//! at any time. So no such command is kept while another submission is waited for, or something is
//! read from user memory. It may wait for room in the command buffer, which only lacks room when an
//! IOMMU has stopped already.
//!
//! An IOMMU may execute commands in any order until a COMPLETION_WAIT (2.4.1). Without its F bit a
//! guest's COMPLETION_WAIT asks for no order, and the end of the batch completes it. With the F bit
//! what is in lanes is submitted and waited for.

use kernel::prelude::*;

use crate::{
    drivers::amd_vi::{
        command::{
            Command,
            Device,
            Pages,
            Physical,
            Words, //
        },
        hardware::Hardware, //
    },
    kapi::{
        bug::ok_or_warn,
        iommu::invalidate::Invalidated, //
    }, //
};

/// The most commands that are submitted at once (`AMD_IOMMU_DOOR_MAX`).
pub(crate) const MAX: usize = 64;

/// Where a guest's commands come from.
pub(crate) trait Source {
    /// Fills `block` with the next commands. Returns `EFAULT`, `E2BIG` for entries that are no
    /// commands, or `EINTR` if nobody waits for the answer any more; the next call then begins with
    /// the same command.
    fn read(&mut self, block: &mut [Words]) -> Result;
}

/// The IOMMUs that translate for a guest, by number.
pub(crate) trait Iommus {
    /// Returns the guest's first domain ID from `from` on that an IOMMU has a domain ID for, and
    /// that domain ID.
    fn domain(&self, iommu: usize, from: u16) -> Option<(u16, u16)>;

    /// Returns the first device behind an IOMMU whose DeviceID for the guest is not less than
    /// `from`, and that id.
    fn device(&self, iommu: usize, from: u16) -> Option<(u16, Device)>;

    /// Submits commands to an IOMMU. The last place of `commands` is for the COMPLETION_WAIT and has
    /// no command; there are at most [`MAX`] before it. Returns what [`Iommus::wait`] takes, `EIO`
    /// if the IOMMU does not take the commands.
    fn submit(&self, iommu: usize, commands: &mut [Physical]) -> Result<u64>;

    /// Waits until a submission is complete. Returns `EIO` if that takes too long.
    fn wait(&self, iommu: usize, submission: u64) -> Result;
}

/// Commands that an IOMMU is to be given: at most `N - 1`, which is at most [`MAX`].
pub(crate) struct Lane<const N: usize> {
    /// The commands, and the place of the COMPLETION_WAIT behind them.
    commands: [Physical; N],
    len: usize,
    /// The guest's and the host's domain ID that were looked up last, since a block was read or
    /// commands were waited for.
    domain: Option<(u16, u16)>,
    /// Some of the commands are for the TLBs of devices.
    has_device_pages: bool,
    /// What was submitted and not waited for.
    submitted: Option<u64>,
}

impl<const N: usize> Lane<N> {
    /// No commands.
    pub(crate) const EMPTY: Self = {
        assert!(N > 1 && N - 1 <= MAX);
        Self {
            commands: [Physical::NONE; N],
            len: 0,
            domain: None,
            has_device_pages: false,
            submitted: None,
        }
    };

    /// Returns whether there may be no room for another command.
    fn is_full(&self) -> bool {
        // The last place remains for the COMPLETION_WAIT.
        self.len + 1 >= N
    }

    /// Returns whether a command is merged with the last one.
    fn merges(&self, command: Physical) -> bool {
        let last = self
            .len
            .checked_sub(1)
            .and_then(|last| self.commands.get(last));
        last.is_some_and(|last| last.merged(command).is_some())
    }

    /// Adds a command, or merges it with the last ones. Returns `EIO`, without effect, if there is no
    /// room.
    fn push(&mut self, mut command: Physical) -> Result {
        let mut len = self.len;
        while let Some(last) = len.checked_sub(1) {
            let merged = self
                .commands
                .get(last)
                .and_then(|before| before.merged(command));
            let Some(merged) = merged else {
                break;
            };
            command = merged;
            len = last;
        }
        match self.commands.get_mut(len) {
            Some(place) if len < N - 1 => {
                *place = command;
                self.len = len + 1;
                Ok(())
            }
            _ => Err(EIO),
        }
    }

    /// Takes the commands out, in order, with a place behind them.
    fn take(&mut self) -> &mut [Physical] {
        self.has_device_pages = false;
        let len = core::mem::take(&mut self.len);
        self.commands.get_mut(..=len).unwrap_or_default()
    }
}

/// Carries out `count` commands of a guest, in blocks of `N - 1`. `lanes` has an empty lane for each
/// of `iommus`.
///
/// Each submission is waited for once. The error is that of the first command that is not complete:
/// `EIO` for one that is not valid, `ENOENT` for one that names a domain or device that the guest
/// does not have, what `source` fails with, or `EIO` if an IOMMU does not complete what it was
/// given.
pub(crate) fn carry_out<const N: usize>(
    iommus: &impl Iommus,
    hardware: &Hardware,
    lanes: &mut [Lane<N>],
    source: &mut impl Source,
    count: u32,
) -> Invalidated {
    let mut batch = Batch {
        iommus,
        lanes,
        accepted: 0,
        complete: 0,
        device: None,
        submissions: 0,
        all_invalidated: false,
    };
    // The outer error is that of an IOMMU. With the inner one, all that was accepted is complete.
    let (done, result) = match batch.run(hardware, source, count) {
        Ok(result) => (batch.accepted, result),
        Err(error) => (batch.complete, Err(error)),
    };
    Invalidated {
        done,
        result,
        submissions: Some(batch.submissions),
    }
}

/// A batch that is being carried out.
struct Batch<'a, I, const N: usize> {
    iommus: &'a I,
    lanes: &'a mut [Lane<N>],
    /// How many commands, from the first on, are in lanes or complete.
    accepted: u32,
    /// How many of them are known to be complete.
    complete: u32,
    /// The guest's id of the device that was looked up last, since a block was read or commands were
    /// waited for, the IOMMU that it is behind, and the device.
    device: Option<(u16, usize, Device)>,
    /// How many times commands were submitted.
    submissions: u32,
    /// INVALIDATE_IOMMU_ALL was carried out. What the guest had changed before it issued the next
    /// one, it had changed before the batch was submitted, so the next ones find nothing that is
    /// stale. This bounds the duration of a batch.
    all_invalidated: bool,
}

impl<I: Iommus, const N: usize> Batch<'_, I, N> {
    /// Carries out commands until one fails, and completes those that were accepted.
    fn run(&mut self, hardware: &Hardware, source: &mut impl Source, count: u32) -> Result<Result> {
        let mut block = [[0; 2]; N];
        let mut most = N - 1;
        let mut result = Ok(());
        while self.accepted < count && result.is_ok() {
            let len = most.min((count - self.accepted) as usize);
            let block = block.get_mut(..len).unwrap_or_default();
            if self.lanes.iter().any(|lane| lane.has_device_pages) {
                self.flush()?;
            }
            self.forget();
            result = match source.read(block) {
                Ok(()) => self.accept(hardware, block)?,
                Err(error) if len == 1 => Err(error),
                Err(_) => {
                    // Those before the one that cannot be read are carried out.
                    most = 1;
                    Ok(())
                }
            };
        }
        self.flush()?;
        Ok(result)
    }

    /// Accepts the commands of a block. The inner result says why one is not accepted.
    fn accept(&mut self, hardware: &Hardware, block: &[Words]) -> Result<Result> {
        for words in block {
            let command = match Command::new(*words, hardware) {
                Ok(command) => command,
                Err(error) => return Ok(Err(error)),
            };
            if !self.is_merged(&command) {
                self.make_room()?;
            }
            let exists = match command {
                Command::Wait { flush } => {
                    if flush {
                        self.flush()?;
                    }
                    true
                }
                Command::DeviceEntry { device } => match self.find(device) {
                    Some((iommu, found)) => {
                        self.lane(iommu)?
                            .push(Physical::device_entry(found.device_id))?;
                        true
                    }
                    None => false,
                },
                Command::DevicePages { device, pages } => match self.find(device) {
                    Some((iommu, found)) => {
                        if let Some(command) = pages.on_device(&found) {
                            let lane = self.lane(iommu)?;
                            lane.push(command)?;
                            lane.has_device_pages = true;
                        }
                        true
                    }
                    None => false,
                },
                Command::DomainPages { domain, pages } => self.put_pages(domain, &pages)?,
                Command::All => {
                    self.put_all()?;
                    true
                }
            };
            if !exists {
                return Ok(Err(ENOENT));
            }
            self.accepted += 1;
        }
        Ok(Ok(()))
    }

    /// Returns the device that the guest knows by `id`, and the IOMMU that it is behind.
    fn find(&mut self, id: u16) -> Option<(usize, Device)> {
        if !matches!(self.device, Some((known, ..)) if known == id) {
            self.device = (0..self.lanes.len()).find_map(|iommu| {
                let (found, device) = self.iommus.device(iommu, id)?;
                (found == id).then_some((id, iommu, device))
            });
        }
        self.device.map(|(_, iommu, device)| (iommu, device))
    }

    /// Puts the command about a guest's domain into the lane of each IOMMU that has the domain. Each
    /// lane must have room, or a command to merge it with. Returns whether there is one.
    fn put_pages(&mut self, domain: u16, pages: &Pages) -> Result<bool> {
        let mut exists = false;
        for iommu in 0..self.lanes.len() {
            if let Some(host) = self.find_domain(iommu, domain) {
                self.lane(iommu)?.push(pages.on_domain(host))?;
                exists = true;
            }
        }
        Ok(exists)
    }

    /// Returns the domain ID that an IOMMU has for a guest's domain.
    fn find_domain(&mut self, iommu: usize, domain: u16) -> Option<u16> {
        let lane = self.lanes.get_mut(iommu)?;
        if !matches!(lane.domain, Some((guest, _)) if guest == domain) {
            let found = self.iommus.domain(iommu, domain);
            lane.domain = found.filter(|(guest, _)| *guest == domain);
        }
        lane.domain.map(|(_, host)| host)
    }

    /// Puts commands about all domains and devices of the guest into lanes. An IOMMU has the domains
    /// and devices of others as well, so it must not be given INVALIDATE_IOMMU_ALL.
    fn put_all(&mut self) -> Result {
        if self.all_invalidated {
            return Ok(());
        }
        for iommu in 0..self.lanes.len() {
            let mut next = Some(0);
            while let Some(from) = next {
                self.make_room()?;
                next = None;
                if let Some((id, device)) = self.iommus.device(iommu, from) {
                    let command = Physical::device_entry(device.device_id);
                    self.lane(iommu)?.push(command)?;
                    next = id.checked_add(1);
                }
            }
            next = Some(0);
            while let Some(from) = next {
                self.make_room()?;
                next = None;
                if let Some((id, host)) = self.iommus.domain(iommu, from) {
                    self.lane(iommu)?.push(Physical::all_of_domain(host))?;
                    next = id.checked_add(1);
                }
            }
        }
        self.all_invalidated = true;
        Ok(())
    }

    /// Returns whether a command needs no room, because in each full lane it will be merged with the
    /// last one, or because it is for no lane. One for a domain that an IOMMU does not have may need
    /// room: the domain may be there when it is looked up again.
    fn is_merged(&mut self, command: &Command) -> bool {
        match command {
            Command::Wait { .. } => true,
            Command::DomainPages { domain, pages } => (0..self.lanes.len()).all(|iommu| {
                self.lanes.get(iommu).is_none_or(|lane| !lane.is_full())
                    || self
                        .find_domain(iommu, *domain)
                        .zip(self.lanes.get(iommu))
                        .is_some_and(|(host, lane)| lane.merges(pages.on_domain(host)))
            }),
            _ => false,
        }
    }

    /// Makes room for a command in each lane. If there is none, all lanes are completed first.
    fn make_room(&mut self) -> Result {
        if self.lanes.iter().any(Lane::is_full) {
            self.flush()?;
        }
        Ok(())
    }

    /// Forgets what was looked up: domains and devices may have gone.
    fn forget(&mut self) {
        self.device = None;
        for lane in self.lanes.iter_mut() {
            lane.domain = None;
        }
    }

    fn lane(&mut self, iommu: usize) -> Result<&mut Lane<N>> {
        ok_or_warn!(self.lanes.get_mut(iommu), EIO)
    }

    /// Submits what is in lanes and waits until it is complete. Returns the error of the first IOMMU
    /// that fails, after all that was submitted has been waited for.
    fn flush(&mut self) -> Result {
        self.forget();
        let mut result = Ok(());
        for (iommu, lane) in self.lanes.iter_mut().enumerate() {
            if lane.len == 0 {
                continue;
            }
            match self.iommus.submit(iommu, lane.take()) {
                Ok(submission) => {
                    lane.submitted = Some(submission);
                    self.submissions += 1;
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        for (iommu, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(submission) = lane.submitted.take() {
                result = result.and(self.iommus.wait(iommu, submission));
            }
        }
        result?;
        self.complete = self.accepted;
        Ok(())
    }
}
