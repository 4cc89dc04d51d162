// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's invalidation commands, for one SMMU or for several that translate for it.
//!
//! A batch is read in blocks. A block is validated before any command of it is issued; its commands
//! are then issued by class, [`Class::Configuration`] first, so that a block has two waits within
//! it at most and none where all commands are of one class. That order is at least as strong as any
//! that the guest may have meant: whatever it changed in memory, it had changed before the batch
//! was submitted.
//!
//! Commands wait in a lane for each SMMU, where they are merged, and go to the hardware when the
//! lane is full. The last ones are issued with the CMD_SYNC that the caller waits for. With several
//! SMMUs all are given their commands before any is waited for.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Class,
            Command,
            Physical,
            Rules,
            Target,
            Words, //
        },
        features::Features,
        merge, //
    },
    kapi::iommu::invalidate::Invalidated, //
};

/// Commands of a guest that are copied from user memory at once.
const CHUNK: usize = 16;

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
    /// What the SMMU with this number knows the guest by.
    fn vmid(&self, smmu: usize) -> u16;

    /// Stream number `nth` of the device that the guest knows by `vsid`. `None` where there is no
    /// such device or stream.
    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream>;

    /// Gives commands, [`MAX_ISSUED`] at most, to an SMMU. With `sync` it returns once all that the
    /// SMMU was given before and now is complete. `ETIMEDOUT` where that does not happen.
    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result;
}

/// Commands that an SMMU is to be given, `N` at once. `N` is at most [`MAX_ISSUED`].
pub(crate) struct Lane<const N: usize> {
    commands: [Physical; N],
    len: usize,
    /// Some were issued that were not waited for.
    unsynced: bool,
}

impl<const N: usize> Lane<N> {
    /// No commands.
    pub(crate) const fn new() -> Self {
        const { assert!(N > 0 && N <= MAX_ISSUED) };
        Self {
            commands: [Physical::NONE; N],
            len: 0,
            unsynced: false,
        }
    }

    /// Adds a command, or merges it with the one before. It is handed back where there is no room.
    #[inline]
    fn push(&mut self, command: Physical, features: &Features) -> Result<(), Physical> {
        let before = self.len.checked_sub(1);
        if let Some(before) = before.and_then(|before| self.commands.get_mut(before)) {
            if let Some(merged) = merge::merged(*before, command, features) {
                *before = merged;
                return Ok(());
            }
        }
        let place = self.commands.get_mut(self.len).ok_or(command)?;
        *place = command;
        self.len += 1;
        Ok(())
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
        pending: None,
        accepted: 0,
        complete: 0,
    };
    match batch.run(source, count) {
        Ok(result) => Invalidated {
            done: batch.accepted,
            result,
        },
        Err(error) => Invalidated {
            done: batch.complete,
            result: Err(error),
        },
    }
}

/// A batch that is being carried out.
struct Batch<'a, S, const N: usize> {
    smmus: &'a S,
    rules: &'a Rules,
    lanes: &'a mut [Lane<N>],
    /// The smallest class of the commands that are in lanes, or were issued and not waited for.
    pending: Option<Class>,
    /// How many commands, from the first on, are in lanes or were issued.
    accepted: u32,
    /// How many of them are known to be complete.
    complete: u32,
}

/// Valid commands of a guest, which follow each other.
struct Block<const N: usize> {
    commands: [Command; N],
    len: usize,
    /// Whether there are commands of each class.
    has: [bool; Class::ALL.len()],
}

impl<const N: usize> Block<N> {
    /// Reads and validates `count` commands, at most `N`. Where one is not valid or cannot be read,
    /// the block has those before it.
    fn read<S: Smmus>(
        &mut self,
        smmus: &S,
        rules: &Rules,
        source: &mut impl Source,
        count: usize,
    ) -> Result {
        let mut chunk = [[0; 2]; CHUNK];
        self.len = 0;
        self.has = [false; Class::ALL.len()];
        for places in self.commands.chunks_mut(CHUNK) {
            let len = places.len().min(count - self.len);
            let chunk = chunk.get_mut(..len).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            source.read(chunk)?;
            for (place, words) in places.iter_mut().zip(chunk) {
                let command = rules.check(*words)?;
                let class = command.class();
                if let Target::Device(vsid) = command.target() {
                    smmus.stream(vsid, 0).ok_or(EIO)?;
                }
                *place = command;
                self.len += 1;
                if let Some(has) = self.has.get_mut(class as usize) {
                    *has = true;
                }
            }
        }
        Ok(())
    }

    /// The classes that it has commands of, in order.
    fn classes(&self) -> impl Iterator<Item = Class> {
        let present = Class::ALL.into_iter().zip(self.has);
        present.filter_map(|(class, has)| has.then_some(class))
    }

    /// The commands.
    fn commands(&self) -> &[Command] {
        self.commands.get(..self.len).unwrap_or_default()
    }
}

impl<S: Smmus, const N: usize> Batch<'_, S, N> {
    /// Carries out commands until one is not valid or cannot be read; what that fails with is the
    /// inner result, and all that were accepted are complete. Fails as the SMMUs do.
    fn run(&mut self, source: &mut impl Source, count: u32) -> Result<Result> {
        let mut block = Block {
            commands: [Command::NONE; N],
            len: 0,
            has: [false; Class::ALL.len()],
        };
        let mut result = Ok(());
        while self.accepted < count && result.is_ok() {
            let left = (count - self.accepted) as usize;
            result = block.read(self.smmus, self.rules, source, left.min(N));
            self.issue(&block)?;
            // CAST: It is at most `N`, which is small.
            self.accepted += block.len as u32;
        }
        self.sync()?;
        Ok(result)
    }

    /// Puts the commands of a block into lanes, class by class.
    fn issue(&mut self, block: &Block<N>) -> Result {
        let single = block.classes().count() == 1;
        for class in block.classes() {
            if self.pending.is_some_and(|pending| pending < class) {
                self.sync()?;
                // Of this block, not all is issued.
                self.complete = self.accepted;
            }
            // None that is smaller is left.
            self.pending = Some(class);
            for command in block.commands() {
                if single || command.class() == class {
                    self.put(command)?;
                }
            }
        }
        Ok(())
    }

    /// Puts a command into the lanes of the SMMUs that it concerns. A device that has gone since
    /// the command was validated has nothing cached any more.
    #[inline]
    fn put(&mut self, command: &Command) -> Result {
        match command.target() {
            Target::AddressSpaces => {
                for smmu in 0..self.lanes.len() {
                    self.push(smmu, command.on_vmid(self.smmus.vmid(smmu)))?;
                }
            }
            Target::Device(vsid) => {
                let mut nth = 0;
                while let Some(stream) = self.smmus.stream(vsid, nth) {
                    self.push(stream.smmu, command.on_stream(stream.sid))?;
                    if stream.last {
                        break;
                    }
                    nth += 1;
                }
            }
        }
        Ok(())
    }

    /// Puts a command into a lane. A full lane is issued first.
    #[inline]
    fn push(&mut self, smmu: usize, command: Option<Physical>) -> Result {
        let lane = self.lanes.get_mut(smmu).ok_or(EIO)?;
        let command = command.ok_or(EIO)?;
        if let Err(command) = lane.push(command, self.rules.features()) {
            lane.unsynced = true;
            self.smmus.submit(smmu, lane.take(), false)?;
            lane.push(command, self.rules.features()).map_err(|_| EIO)?;
        }
        Ok(())
    }

    /// Issues what is in lanes and waits until all that was issued is complete. Fails as the first
    /// SMMU that fails, after all have been waited for.
    fn sync(&mut self) -> Result {
        self.pending = None;
        let busy = self.lanes.iter().filter(|lane| lane.is_busy()).count();
        let mut result = Ok(());
        for (smmu, lane) in self.lanes.iter_mut().enumerate() {
            // A single SMMU has its CMD_SYNC right behind its commands.
            if busy == 1 && lane.is_busy() {
                lane.unsynced = false;
                return self.smmus.submit(smmu, lane.take(), true);
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
