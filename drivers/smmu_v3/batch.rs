// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's invalidation commands, for one SMMU or for several that translate for it.
//!
//! A batch is read in blocks. Commands are validated one after the other, merged, and put into a
//! lane for each SMMU that they concern; a lane goes to the hardware when it is full. The last
//! commands are issued with the CMD_SYNC that the caller waits for. With several SMMUs all are given
//! their commands before any is waited for.
//!
//! A command is issued only when all commands of smaller [`Class`] that came before it are complete.
//! Where the class changes within a block, the rest of the block is issued by class, the smallest
//! first, so that a block has three waits at most and none where all commands are of one class. That
//! order is at least as strong as the guest's: whatever it changed in memory, it had changed before
//! the batch was submitted.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Class,
            Command,
            Physical,
            Rules,
            Target,
            Tlbi,
            Words, //
        },
        merge::Merger, //
    },
    kapi::iommu::invalidate::Invalidated, //
};

/// The most commands that are issued at once: with a CMD_SYNC they must fit in the smallest command
/// queue that the driver makes, of 64 entries (`CMDQ_BATCH_ENTRIES`).
pub(crate) const MAX_ISSUED: usize = 63;

/// Where a guest's commands come from.
pub(crate) trait Source {
    /// Fills `block` with the next commands. `EFAULT`, or `EINVAL` for entries that are no
    /// commands.
    fn read(&mut self, block: &mut [Words]) -> Result;
}

/// A stream of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Which SMMU it is on, by the number of its lane.
    pub(crate) smmu: usize,
    /// Its id there.
    pub(crate) sid: u32,
    /// Whether the device has no further stream.
    pub(crate) last: bool,
}

/// The SMMUs that translate for a guest.
pub(crate) trait Smmus {
    /// Stream number `nth` of the device that the guest knows by `vsid`. `None` where there is no
    /// such device or stream.
    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream>;

    /// Gives commands, [`MAX_ISSUED`] at most, to an SMMU. With `sync` it returns once all that the
    /// SMMU was given before and now is complete. `ETIMEDOUT` where that does not happen.
    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result;

    /// How many times [`Smmus::submit`] was called.
    fn submissions(&self) -> u32;
}

/// Commands that an SMMU is to be given, `N` at once. `N` is at most [`MAX_ISSUED`].
pub(crate) struct Lane<const N: usize> {
    /// What the SMMU knows the guest by.
    vmid: u16,
    commands: [Physical; N],
    len: usize,
    /// Some were issued that were not waited for.
    unsynced: bool,
}

impl<const N: usize> Lane<N> {
    /// No commands, for no SMMU yet.
    pub(crate) const EMPTY: Self = {
        assert!(N > 0 && N <= MAX_ISSUED);
        Self {
            vmid: 0,
            commands: [Physical::NONE; N],
            len: 0,
            unsynced: false,
        }
    };

    /// Makes it the lane of an SMMU that knows the guest by `vmid`.
    pub(crate) fn set_vmid(&mut self, vmid: u16) {
        self.vmid = vmid;
    }

    /// Adds a command. Returns whether there was room.
    #[inline(always)]
    fn push(&mut self, command: Physical) -> bool {
        let Some(place) = self.commands.get_mut(self.len) else {
            return false;
        };
        *place = command;
        self.len += 1;
        true
    }

    /// Takes the commands out, in order.
    fn take(&mut self) -> &[Physical] {
        let len = core::mem::take(&mut self.len);
        self.commands.get(..len).unwrap_or_default()
    }

    /// Whether there is anything to be waited for.
    fn is_busy(&self) -> bool {
        self.len != 0 || self.unsynced
    }
}

/// Carries out `count` commands of a guest, in blocks of `N`. `lanes` has an empty lane for each of
/// `smmus`, and `rules` are those for the features that they have in common. The result says how
/// many commands from the first on are complete, and why the next one is not: `EIO` for one that is
/// not valid, what `source` fails with, or what an SMMU fails with.
pub(crate) fn carry_out<S: Smmus, const N: usize>(
    smmus: &S,
    rules: &Rules,
    lanes: &mut [Lane<N>],
    source: &mut impl Source,
    count: u32,
) -> Invalidated {
    let mut batch = Batch {
        smmus,
        rules,
        lanes,
        merger: Merger::new(rules.features()),
        pending: None,
        accepted: 0,
        complete: 0,
    };
    let (done, result) = match batch.run(source, count) {
        Ok(result) => (batch.accepted, result),
        Err(error) => (batch.complete, Err(error)),
    };
    Invalidated {
        done,
        result,
        submissions: Some(smmus.submissions()),
    }
}

/// Carries out one command of a guest on the only SMMU, which knows the guest by `vmid`. Fails as
/// [`carry_out`]. `None` if it needs more than one command, which [`carry_out`] then issues.
#[inline]
pub(crate) fn carry_out_one<S: Smmus>(
    smmus: &S,
    rules: &Rules,
    vmid: u16,
    words: Words,
) -> Option<Result> {
    let command = match rules.check(words) {
        Ok(command) => command,
        Err(error) => return Some(Err(error)),
    };
    let physical = match command.target() {
        Target::AddressSpaces(command) => Some(command.on_vmid(vmid)),
        Target::Device(vsid) => match smmus.stream(vsid, 0) {
            Some(stream) if stream.last => command.on_stream(stream.sid),
            Some(_) => return None,
            None => None,
        },
    };
    Some(match physical {
        Some(physical) => smmus.submit(0, &[physical], true),
        None => Err(EIO),
    })
}

/// A batch that is being carried out.
struct Batch<'a, S, const N: usize> {
    smmus: &'a S,
    rules: &'a Rules,
    lanes: &'a mut [Lane<N>],
    /// It has an open command, and knows one by address, only while `pending` is
    /// [`Class::Translation`].
    merger: Merger,
    /// The smallest class of the commands that are in lanes or in the merger, or were issued and
    /// not waited for.
    pending: Option<Class>,
    /// How many commands, from the first on, are in lanes or in the merger, or were issued.
    accepted: u32,
    /// How many of them are known to be complete.
    complete: u32,
}

impl<S: Smmus, const N: usize> Batch<'_, S, N> {
    /// Carries out commands until one is not valid or cannot be read; what that fails with is the
    /// inner result, and all that were accepted are complete. Fails as the SMMUs do.
    fn run(&mut self, source: &mut impl Source, count: u32) -> Result<Result> {
        let mut block = [[0; 2]; N];
        let mut most = N;
        let mut result = Ok(());
        while self.accepted < count && result.is_ok() {
            let len = most.min((count - self.accepted) as usize);
            let block = block.get_mut(..len).unwrap_or_default();
            result = match source.read(block) {
                Ok(()) => self.accept(block)?,
                Err(error) if len == 1 => Err(error),
                Err(_) => {
                    // Those before the one that cannot be read are carried out.
                    most = 1;
                    Ok(())
                }
            };
        }
        self.sync()?;
        Ok(result)
    }

    /// Accepts the commands of a block. The inner result says why one is not valid.
    #[inline]
    fn accept(&mut self, block: &[Words]) -> Result<Result> {
        let mut rest = block;
        let (left, result) = loop {
            let taken = self.merger.extend(rest);
            rest = rest.get(taken..).unwrap_or_default();
            let Some((&words, later)) = rest.split_first() else {
                break (0, Ok(()));
            };
            if self.merger.knows(words) {
                let (smmus, lanes) = (self.smmus, &mut *self.lanes);
                let taken = self
                    .merger
                    .add_known(rest, |command| put_everywhere(smmus, lanes, command))?;
                rest = rest.get(taken..).unwrap_or_default();
                continue;
            }
            let command = match self.rules.check(words) {
                Ok(command) => command,
                Err(error) => break (rest.len(), Err(error)),
            };
            let class = command.class();
            if self.pending.is_some_and(|pending| pending != class) {
                self.accepted += (block.len() - rest.len()) as u32;
                return self.accept_by_class(rest);
            }
            self.pending = Some(class);
            if !self.put(command)? {
                break (rest.len(), Err(EIO));
            }
            rest = later;
        };
        // CAST: A block has at most `N` commands, which is small.
        self.accepted += (block.len() - left) as u32;
        Ok(result)
    }

    /// As [`Batch::accept`], for commands of several classes. Commands about configurations are put
    /// into lanes at once; the others wait for them.
    #[inline(never)]
    fn accept_by_class(&mut self, block: &[Words]) -> Result<Result> {
        let mut commands = [Command::NONE; N];
        let mut has = [false; Class::ALL.len()];
        let (mut valid, mut later) = (0, 0);
        let mut result = Ok(());
        for words in block {
            let command = match self.rules.check(*words) {
                Ok(command) => command,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            let class = command.class();
            let exists = match (class, command.target()) {
                (Class::Configuration, _) => {
                    self.enter(class)?;
                    self.put(command)?
                }
                (_, Target::Device(vsid)) => self.smmus.stream(vsid, 0).is_some(),
                _ => true,
            };
            if !exists {
                result = Err(EIO);
                break;
            }
            valid += 1;
            if class != Class::Configuration {
                if let Some(place) = commands.get_mut(later) {
                    *place = command;
                    later += 1;
                }
                if let Some(has) = has.get_mut(class as usize) {
                    *has = true;
                }
            }
        }
        let commands = commands.get(..later).unwrap_or_default();
        for (class, has) in Class::ALL.into_iter().zip(has) {
            if !has {
                continue;
            }
            self.enter(class)?;
            for command in commands {
                match command.target() {
                    Target::AddressSpaces(command) if class == Class::Translation => {
                        self.put_translation(command)?;
                    }
                    Target::Device(_) if class == Class::DeviceCache => {
                        // A device that has gone since has nothing cached any more.
                        let _ = self.put(*command)?;
                    }
                    _ => {}
                }
            }
        }
        // CAST: It is at most `N`, which is small.
        self.accepted += valid as u32;
        Ok(result)
    }

    /// Prepares for commands of a class. What is smaller and pending is complete afterwards.
    #[inline]
    fn enter(&mut self, class: Class) -> Result {
        match self.pending {
            Some(pending) if pending == class => return Ok(()),
            Some(pending) if pending < class => {
                self.sync()?;
                // Of this block, not all is issued.
                self.complete = self.accepted;
            }
            _ => self.close()?,
        }
        // None that is smaller is left.
        self.pending = Some(class);
        Ok(())
    }

    /// Puts a valid command into the lanes of the SMMUs that it concerns, or merges it. Returns
    /// false if it is about a device that there is not.
    fn put(&mut self, command: Command) -> Result<bool> {
        match command.target() {
            Target::AddressSpaces(command) => {
                self.put_translation(command)?;
                Ok(true)
            }
            Target::Device(vsid) => {
                let mut nth = 0;
                while let Some(stream) = self.smmus.stream(vsid, nth) {
                    let command = command.on_stream(stream.sid).ok_or(EIO)?;
                    let lane = self.lanes.get_mut(stream.smmu).ok_or(EIO)?;
                    push(self.smmus, stream.smmu, lane, command)?;
                    nth += 1;
                    if stream.last {
                        break;
                    }
                }
                Ok(nth != 0)
            }
        }
    }

    /// Puts a command about address spaces into lanes, or merges it.
    #[inline(always)]
    fn put_translation(&mut self, command: Tlbi) -> Result {
        let (smmus, lanes) = (self.smmus, &mut *self.lanes);
        self.merger
            .add(command, |command| put_everywhere(smmus, lanes, command))
    }

    /// Puts the merger's open command into lanes.
    fn close(&mut self) -> Result {
        match self.merger.close() {
            Some(command) => put_everywhere(self.smmus, self.lanes, command),
            None => Ok(()),
        }
    }

    /// Issues what is in the merger and in lanes, and waits until all that was issued is complete.
    /// Fails as the first SMMU that fails, after all have been waited for.
    fn sync(&mut self) -> Result {
        let mut result = self.close();
        self.pending = None;
        let busy = self.lanes.iter().filter(|lane| lane.is_busy()).count();
        for (smmu, lane) in self.lanes.iter_mut().enumerate() {
            // A single SMMU has its CMD_SYNC right behind its commands.
            if busy == 1 && lane.is_busy() {
                lane.unsynced = false;
                return result.and(self.smmus.submit(smmu, lane.take(), true));
            }
            if lane.len != 0 {
                lane.unsynced = true;
                result = result.and(self.smmus.submit(smmu, lane.take(), false));
            }
        }
        for (smmu, lane) in self.lanes.iter_mut().enumerate() {
            if core::mem::take(&mut lane.unsynced) {
                result = result.and(self.smmus.submit(smmu, &[], true));
            }
        }
        result
    }
}

/// Puts a command about address spaces into the lanes of all SMMUs.
#[inline(always)]
fn put_everywhere<S: Smmus, const N: usize>(
    smmus: &S,
    lanes: &mut [Lane<N>],
    command: Tlbi,
) -> Result {
    if let [lane] = lanes {
        if lane.push(command.on_vmid(lane.vmid)) {
            return Ok(());
        }
    }
    put_slowly(smmus, lanes, command)
}

/// As [`put_everywhere`], for several SMMUs and where there is no room.
#[inline(never)]
fn put_slowly<S: Smmus, const N: usize>(smmus: &S, lanes: &mut [Lane<N>], command: Tlbi) -> Result {
    for (smmu, lane) in lanes.iter_mut().enumerate() {
        let command = command.on_vmid(lane.vmid);
        push(smmus, smmu, lane, command)?;
    }
    Ok(())
}

/// Puts a command into the lane of an SMMU. A full lane is issued first.
fn push<S: Smmus, const N: usize>(
    smmus: &S,
    smmu: usize,
    lane: &mut Lane<N>,
    command: Physical,
) -> Result {
    if lane.push(command) {
        return Ok(());
    }
    lane.unsynced = true;
    smmus.submit(smmu, lane.take(), false)?;
    // There is room now.
    lane.push(command);
    Ok(())
}
