// SPDX-License-Identifier: GPL-2.0-only

//! Batches of invalidations: tasks of a VMM carry out a guest's commands while devices translate, and
//! while other tasks make page tables.

use std::{
    collections::VecDeque,
    sync::Arc, //
};

use kernel::prelude::*;
use loom::sync::{
    Mutex,
    MutexGuard, //
};

use crate::{
    drivers::amd_vi::{
        batch::{
            self,
            Iommus,
            Lane,
            Source, //
        },
        command::{
            Device,
            Physical,
            Words, //
        },
        hardware::Hardware, //
    },
    tests::{
        at_once,
        every_order, //
    },
};

/// Domain IDs of the guest, and of the host.
const GUEST: u16 = 7;
const LATE: u16 = 9;
const HOST: u16 = 0x1007;
const OTHER: u16 = 0x1009;

/// Pages, of which no command names several, and how many there are with the one between them.
const PAGES: [u64; 2] = [0, 2];
const COUNT: usize = 3;
/// What a page table has for them, and has at last.
const OLD: u64 = 1;
const NEW: u64 = 2;

/// COMPLETION_WAIT, which asks for no order.
const WAIT: Words = [1 << 60, 0];

/// INVALIDATE_IOMMU_PAGES.
fn pages(domain: u16, page: u64) -> Words {
    [3 << 60 | u64::from(domain) << 32, page << 12]
}

/// An IOMMU, and a guest's memory. Each thing that happens takes the lock once.
struct Iommu(Mutex<State>);

struct State {
    /// The guest's page table.
    table: [u64; COUNT],
    /// Domain IDs of the guest and the host, in the order of the former. Devices are in the first one.
    domains: Vec<(u16, u16)>,
    /// What is cached of each page, by the host's domain ID. The stacks of tasks are too small for a tree.
    tlb: Vec<(u16, [Option<u64>; COUNT])>,
    /// The commands that are not executed, and how many came and went.
    queue: VecDeque<Words>,
    submitted: u64,
    executed: Vec<Words>,
}

impl Iommu {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            table: [OLD; COUNT],
            domains: vec![(GUEST, HOST)],
            tlb: [HOST, OTHER].map(|host| (host, [None; COUNT])).into(),
            queue: VecDeque::new(),
            submitted: 0,
            executed: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A device reads a page.
    fn translate(&self, page: u64) {
        let state = &mut *self.lock();
        let now = state.table[page as usize];
        state.cached(state.domains[0].1, page).get_or_insert(now);
    }

    /// The IOMMU executes a command, if it has one.
    fn execute(&self) {
        self.lock().execute();
    }

    /// Carries out commands of the guest, with lanes of `N` places.
    fn carry_out<const N: usize>(&self, commands: &[Words]) -> (u32, Result) {
        let hardware = Hardware::new(0);
        let mut source = Memory {
            iommu: self,
            commands,
        };
        let count = commands.len() as u32;
        let mut lanes = [Lane::<N>::EMPTY];
        let made = batch::carry_out(self, &hardware, &mut lanes, &mut source, count);
        (made.done, made.result)
    }

    /// Nothing is cached that the page table does not have any more.
    fn check(&self, page: u64) {
        let state = &mut *self.lock();
        let now = state.table[page as usize];
        let cached = *state.cached(state.domains[0].1, page);
        assert!(cached.is_none_or(|cached| cached == now));
    }
}

impl State {
    /// What is cached of a page of a host's domain.
    fn cached(&mut self, host: u16, page: u64) -> &mut Option<u64> {
        let mut caches = self.tlb.iter_mut();
        let cache = caches.find(|(domain, _)| *domain == host).unwrap();
        &mut cache.1[page as usize]
    }

    fn execute(&mut self) {
        if let Some(command) = self.queue.pop_front() {
            assert_eq!((command[0] >> 60, command[1] & 1), (3, 0));
            *self.cached((command[0] >> 32) as u16, command[1] >> 12) = None;
            self.executed.push(command);
        }
    }
}

impl Iommus for Iommu {
    fn domain(&self, _iommu: usize, from: u16) -> Option<(u16, u16)> {
        let state = self.lock();
        let mut domains = state.domains.iter();
        domains.find(|(guest, _)| *guest >= from).copied()
    }

    fn device(&self, _iommu: usize, _from: u16) -> Option<(u16, Device)> {
        None
    }

    fn submit(&self, _iommu: usize, commands: &mut [Physical]) -> Result<u64> {
        let (_, commands) = commands.split_last().unwrap();
        let state = &mut *self.lock();
        state
            .queue
            .extend(commands.iter().copied().map(Words::from));
        state.submitted += commands.len() as u64;
        Ok(state.submitted)
    }

    fn wait(&self, _iommu: usize, submission: u64) -> Result {
        let mut state = self.lock();
        assert!(submission <= state.submitted);
        while (state.executed.len() as u64) < submission {
            state.execute();
        }
        Ok(())
    }
}

/// Commands of a guest, which changes each page before it issues the command about it.
struct Memory<'a> {
    iommu: &'a Iommu,
    commands: &'a [Words],
}

impl Source for Memory<'_> {
    fn read(&mut self, block: &mut [Words]) -> Result {
        let (now, later) = self.commands.split_at(block.len());
        let mut state = self.iommu.lock();
        for command in now.iter().filter(|command| **command != WAIT) {
            state.table[(command[1] >> 12) as usize] = NEW;
        }
        block.copy_from_slice(now);
        self.commands = later;
        Ok(())
    }
}

/// Two CPUs of the guest unmap a page each. The queue is one, and each batch must wait for its own part.
#[test]
fn what_two_cpus_have_unmapped_is_not_cached() {
    every_order(Some(3), || {
        let iommu = Iommu::new();
        let (second, device) = (iommu.clone(), iommu.clone());
        let unmap = |iommu: &Iommu, page| {
            assert_eq!(iommu.carry_out::<2>(&[pages(GUEST, page)]), (1, Ok(())));
            iommu.check(page);
        };
        at_once!(move || unmap(&second, PAGES[0]), move || {
            device.translate(PAGES[0]);
            device.translate(PAGES[1]);
            device.execute();
        }; || unmap(&iommu, PAGES[1]));
        PAGES.map(|page| iommu.check(page));
        assert_eq!(iommu.lock().executed.len(), 2);
    });
}

/// A task makes page tables, whose domain ID the last command has, while a batch has no room left.
#[test]
fn a_domain_appears_during_a_batch() {
    every_order(None, || {
        let iommu = Iommu::new();
        let maker = iommu.clone();
        at_once!(move || {
            maker.lock().domains.push((LATE, OTHER));
        }; || {
            let outcome = iommu.carry_out::<2>(&[pages(GUEST, 0), pages(LATE, 0)]);
            let mut expected = vec![pages(HOST, 0)];
            if outcome == (2, Ok(())) {
                expected.push(pages(OTHER, 0));
            } else {
                assert_eq!(outcome, (1, Err(ENOENT)));
            }
            assert_eq!(iommu.lock().executed, expected);
        });
    });
}

/// A task makes page tables anew, which have another domain ID, and devices translate by these. The batch
/// has a command of before, and one of after that.
#[test]
fn a_domain_is_made_anew_during_a_batch() {
    every_order(None, || {
        let iommu = Iommu::new();
        let maker = iommu.clone();
        at_once!(move || {
            maker.lock().domains = vec![(GUEST, OTHER)];
            PAGES.map(|page| maker.translate(page));
        }; || {
            let [first, last] = PAGES.map(|page| pages(GUEST, page));
            // Blocks of two commands; the first one leaves room.
            assert_eq!(iommu.carry_out::<3>(&[first, WAIT, last]), (3, Ok(())));
            PAGES.map(|page| iommu.check(page));
        });
    });
}
