// SPDX-License-Identifier: GPL-2.0-only

//! Batches of a guest's invalidation commands, for one SMMU or for several that translate for it.
//!
//! A batch is read in blocks. Commands are validated one after the other, and those about address
//! spaces are merged. Each then waits in a queue of its [`Class`], and is issued when the queue is
//! full or the batch ends. With several SMMUs all are given their commands before any is waited for.
//!
//! A command is issued only when all commands of smaller class that came before it are complete.
//! Where none came before, commands of all classes are issued together, with one CMD_SYNC. That
//! order is at least as strong as the guest's: whatever it changed in memory, it had changed before
//! the batch was submitted.
//!
//! On an SMMU that needs commands repeated, the second of two equal ones is issued only when the
//! first is complete, as the guest's driver has asked by a CMD_SYNC that is not part of the batch.
//!
//! While user memory is read a device may go to another owner, so no StreamID that was looked up
//! before is used after it.

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Class,
            Command,
            DeviceCommand,
            Physical,
            Rules,
            Target,
            Words, //
        },
        merge::Merger,
        pending::{
            Issuer,
            Pending,
            Smmus,
            MAX_ISSUED, //
        }, //
    },
    kapi::{
        array_vec::ArrayVec,
        iommu::invalidate::Invalidated, //
    }, //
};

/// The most commands that are remembered in order to find one that is repeated.
const MAX_REMEMBERED: usize = 16;

/// Where a guest's commands come from.
pub(crate) trait Source {
    /// Fills `block` with the next `len` commands, `N` at most. `EFAULT`, `E2BIG` for entries that
    /// are no commands, or `EINTR` if nobody waits for the answer any more.
    fn read<const N: usize>(&mut self, block: &mut ArrayVec<Words, N>, len: usize) -> Result;
}

/// Carries out `count` commands of a guest, in blocks of `N`, which is at most [`MAX_ISSUED`].
/// `rules` are those for the features that the SMMUs have in common. The result says how many
/// commands from the first on are complete, and why the next one is not: `EIO` for one that is not
/// valid, what `source` fails with, or what an SMMU fails with. If an SMMU fails, further commands
/// may be complete.
pub(crate) fn carry_out<S: Smmus, const N: usize>(
    smmus: &S,
    rules: &Rules,
    source: &mut impl Source,
    count: u32,
) -> Invalidated {
    let mut batch = Batch::<S, N> {
        rules,
        merger: Merger::new(rules.features()),
        pending: Pending::new(smmus),
        accepted: 0,
        remembered: ArrayVec::new(),
    };
    let (done, result) = match batch.run(source, count) {
        Ok(result) => (batch.accepted, result),
        Err(error) => {
            let complete = batch.pending.complete();
            (complete.unwrap_or(batch.accepted), Err(error))
        }
    };
    Invalidated {
        done,
        result,
        submissions: Some(batch.pending.submissions()),
    }
}

/// Carries out one command of a guest on the only SMMU. As [`carry_out`].
#[inline]
pub(crate) fn carry_out_one<S: Smmus>(smmus: &S, rules: &Rules, words: Words) -> Invalidated {
    let mut issuer = Issuer::new(smmus);
    let result = issue_one(&mut issuer, rules, words);
    Invalidated {
        done: result.is_ok().into(),
        result,
        submissions: Some(issuer.submissions),
    }
}

#[inline]
fn issue_one<S: Smmus>(issuer: &mut Issuer<'_, S>, rules: &Rules, words: Words) -> Result {
    let command = match rules.check(words)?.target() {
        Target::AddressSpaces(command) => {
            let command = command.on_vmid(issuer.smmus.vmid(0));
            return issuer.submit(0, &[command], true);
        }
        Target::Device(command) => command,
    };
    let mut commands = ArrayVec::<_, MAX_ISSUED>::new();
    if !issuer.add(&command, &mut 0, &mut commands)? {
        return Err(EIO);
    }
    issuer.submit(0, commands.as_slice(), true)
}

/// A batch that is being carried out.
struct Batch<'a, S, const N: usize> {
    rules: &'a Rules,
    merger: Merger,
    pending: Pending<'a, S, N>,
    /// How many commands, from the first on, were accepted in blocks before this one.
    accepted: u32,
    /// The commands since the last CMD_SYNC that must be repeated: with VMID 0, or the guest's id of
    /// the device. Empty on SMMUs without the erratum.
    remembered: ArrayVec<Physical, MAX_REMEMBERED>,
}

impl<S: Smmus, const N: usize> Batch<'_, S, N> {
    /// Carries out commands until one is not valid or cannot be read; what that fails with is the
    /// inner result, and all that were accepted are complete. Fails as the SMMUs do.
    fn run(&mut self, source: &mut impl Source, count: u32) -> Result<Result> {
        const { assert!(N > 0 && N <= MAX_ISSUED) };
        let mut block = ArrayVec::<_, N>::new();
        let mut most = N;
        let mut result = Ok(());
        while self.accepted < count && result.is_ok() {
            let len = most.min((count - self.accepted) as usize);
            self.pending.forget();
            result = match source.read(&mut block, len) {
                Ok(()) if self.rules.features().repeat_erratum => {
                    self.accept_repeated(block.as_slice())?
                }
                Ok(()) => self.accept(block.as_slice())?,
                Err(error) if len == 1 => Err(error),
                Err(_) => {
                    // Those before the one that cannot be read are carried out.
                    most = 1;
                    Ok(())
                }
            };
        }
        self.close()?;
        self.pending.finish_all()?;
        Ok(result)
    }

    /// Accepts the commands of a block. The inner result says why one is not valid.
    #[inline]
    fn accept(&mut self, block: &[Words]) -> Result<Result> {
        let mut rest = block;
        let result = loop {
            let Some((&words, later)) = rest.split_first() else {
                break Ok(());
            };
            // CAST: A block has at most `N` commands, which is small.
            let number = self.accepted + (block.len() - rest.len()) as u32;
            let Self {
                merger, pending, ..
            } = self;
            if let Some(plain) = self.rules.plain(words) {
                pending.enter(Class::Translation, number);
                let taken = merger.add_plain(plain, rest, self.rules, pending)?;
                rest = rest.get(taken..).unwrap_or_default();
                continue;
            }
            if merger.knows(words) {
                pending.enter(Class::Translation, number);
                let taken = merger.add_known(rest, pending)?;
                rest = rest.get(taken..).unwrap_or_default();
                continue;
            }
            let command = match self.rules.check(words) {
                Ok(command) => command,
                Err(error) => break Err(error),
            };
            match command.target() {
                Target::AddressSpaces(command) => {
                    pending.enter(Class::Translation, number);
                    merger.add(command, pending)?;
                }
                Target::Device(about_device) => {
                    if !self.accept_about_device(command.class(), about_device, number)? {
                        break Err(EIO);
                    }
                }
            }
            rest = later;
        };
        // CAST: A block has at most `N` commands, which is small.
        self.accepted += (block.len() - rest.len()) as u32;
        Ok(result)
    }

    /// As [`Batch::accept`], on an SMMU that needs commands repeated.
    #[cold]
    #[inline(never)]
    fn accept_repeated(&mut self, block: &[Words]) -> Result<Result> {
        for words in block {
            if let Ok(command) = self.rules.check(*words) {
                self.separate(command)?;
            }
            if let Err(error) = self.accept(core::slice::from_ref(words))? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Waits until all commands are complete if one of them is equal to this one. The erratum does
    /// not apply to CMD_ATC_INV.
    fn separate(&mut self, command: Command) -> Result {
        let command = match command.target() {
            _ if command.class() == Class::DeviceCache => return Ok(()),
            Target::AddressSpaces(command) => command.on_vmid(0),
            Target::Device(command) => command.on_stream(command.vsid()),
        };
        if self.remembered.as_slice().contains(&command) || self.remembered.is_full() {
            self.close()?;
            self.pending.finish_all()?;
            self.remembered.clear();
        }
        // There is room now.
        self.remembered.push(command);
        Ok(())
    }

    /// Accepts a valid command about a device. Returns false if there is no such device.
    fn accept_about_device(
        &mut self,
        class: Class,
        command: DeviceCommand,
        number: u32,
    ) -> Result<bool> {
        if !self.pending.has_device(command.vsid()) {
            return Ok(false);
        }
        self.pending.enter(class, number);
        if !self.pending.push_about_device(class, command) {
            if class == Class::DeviceCache {
                self.close()?;
            }
            self.pending.make_room(class)?;
            // There is room now.
            self.pending.push_about_device(class, command);
        }
        Ok(true)
    }

    /// Puts the merger's open ranges into the queue.
    #[inline]
    fn close(&mut self) -> Result {
        self.merger.close(&mut self.pending)
    }
}
