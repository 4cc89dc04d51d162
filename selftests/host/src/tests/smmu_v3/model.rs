// SPDX-License-Identifier: GPL-2.0-only

//! A model of SMMUs, of devices behind them and of the memory of two guests. It checks the effect
//! of a guest's stream table entries, tables and invalidations: the SMMUs walk the entries that are
//! made of the guest's, and get the commands that are made of the guest's.
//!
//! The model caches all that it may, and drops only what the specification says it must, as late as
//! it may: commands take effect in any order, at any time until the CMD_SYNC behind them is
//! complete. Devices translate meanwhile. After the guest's commands are complete, no device may
//! get a translation that is no longer in memory.

use std::{
    cell::RefCell,
    collections::BTreeMap, //
};

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        batch,
        command::{
            Physical,
            Rules,
            Words, //
        },
        features::Features,
        pending::{
            Smmus,
            Stream,
            MAX_ISSUED, //
        },
        ste::{
            Ste,
            Vste, //
        }, //
    },
    kapi::iommu::invalidate::Invalidated,
    tests::{
        random::{
            cases,
            Random, //
        },
        smmu_v3::{
            batch::Memory,
            guest::{
                self,
                FULL, //
            },
            scope::{
                bits,
                entry_shift,
                with,
                AtcEntry,
                CdEntry,
                TlbEntry, //
            }, //
        }, //
    }, //
};

/// Guests: the first is the one under test.
const GUESTS: usize = 2;
const OURS: usize = 0;
/// Devices of each guest, by the guest's StreamIDs.
const DEVICES: u32 = 4;
const TABLES: usize = 3;
/// Addresses that devices use, in granules from 0, and in blocks.
const PAGES: u64 = 12;
const BLOCKS: u64 = 2;

/// A context descriptor in a guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cd {
    asid: u16,
    table: usize,
}

/// An entry of a guest's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pte {
    output: u64,
    global: bool,
}

/// Values of Config (5.2) of the guest's entries and the SMMU's.
const ABORT: u64 = 0b000;
const BYPASS: u64 = 0b100;
const STAGE_1: u64 = 0b101;
const STAGE_2: u64 = 0b110;
const BOTH_STAGES: u64 = 0b111;
/// Set in what the second stage alone translates an address to.
const BY_STAGE_2: u64 = 1 << 62;

/// A guest's memory. Blocks are at level 2, pages, above the blocks, at level 3.
struct Guest {
    /// Words 0 and 1 of the stream table entry of each device.
    entries: BTreeMap<u32, Words>,
    /// Context descriptors, by their address.
    cds: BTreeMap<u64, Cd>,
    /// The entries, by level and address.
    tables: Vec<BTreeMap<(u64, u64), Pte>>,
    /// Of each table.
    asids: Vec<u16>,
    /// TG of all its tables.
    granule: u64,
}

impl Guest {
    /// The entry for an address: level, address of the entry, entry.
    fn walk(&self, cd: Cd, address: u64) -> Option<(u64, u64, Pte)> {
        [2, 3].into_iter().find_map(|level| {
            let start =
                address >> entry_shift(self.granule, level) << entry_shift(self.granule, level);
            let pte = self.tables[cd.table].get(&(level, start))?;
            Some((level, start, *pte))
        })
    }
}

/// An SMMU: its caches, and the commands that have not taken effect yet.
#[derive(Default)]
struct Smmu {
    /// The stream table, by StreamID.
    entries: BTreeMap<u32, Ste>,
    cds: BTreeMap<u32, Cd>,
    tlb: Vec<(TlbEntry, u64)>,
    pending: Vec<Words>,
}

struct World {
    random: Random,
    guests: Vec<Guest>,
    smmus: Vec<Smmu>,
    /// What devices have cached, by guest and device, with ATS.
    atc: BTreeMap<(usize, u32, u64), u64>,
    features: Features,
    /// How many cached entries of the other guest were dropped.
    foreign: usize,
}

impl World {
    fn vmid(smmu: usize, guest: usize) -> u16 {
        [[0x10, 0x20], [0x21, 0x11]][smmu][guest]
    }

    /// Returns the SMMU that a device is behind, and its StreamIDs there. One device has two.
    fn streams(&self, guest: usize, device: u32) -> (usize, Vec<u32>) {
        let smmu = device as usize % self.smmus.len();
        let sid = 0x100 * (guest as u32 + 1) + device;
        let more = if device == 1 { Some(sid + 0x40) } else { None };
        (smmu, [sid].into_iter().chain(more).collect())
    }

    /// Returns the address of one of the two context descriptors of a device.
    fn cd(device: u32, nth: u64) -> u64 {
        0x7000_0000 + 0x80 * u64::from(device) + 0x40 * nth
    }

    /// Returns the entry of the second stage alone, as the driver makes it.
    fn stage_2(smmu: usize, guest: usize, ats: bool) -> Ste {
        let vmid = u64::from(Self::vmid(smmu, guest));
        let table = 0x1000 * (guest as u64 + 1);
        let word0 = with([1, 0], 3, 1, STAGE_2)[0];
        [word0, u64::from(ats) << 28, vmid, table, 0, 0, 0, 0]
    }

    /// Gives a device the SMMU's entry for the guest's, as an attach does.
    fn attach(&mut self, guest: usize, device: u32) {
        let words = self.guests[guest].entries[&device];
        let vste = Vste::from_guest(words, &self.features).expect("it is valid");
        let translates = bits(words, 0, 0) == 1 && bits(words, 3, 1) == STAGE_1;
        let ats = Self::has_ats(device) && (!translates || vste.enables_ats());
        let (smmu, sids) = self.streams(guest, device);
        let ste = vste.encode(&Self::stage_2(smmu, guest, ats));
        for sid in sids {
            self.smmus[smmu].entries.insert(sid, ste);
            // CMD_CFGI_STE drops the descriptors too (4.3.1).
            self.smmus[smmu].cds.remove(&sid);
        }
        // The driver invalidates what the device has cached.
        self.atc
            .retain(|(owner, cache, _), _| (*owner, *cache) != (guest, device));
    }

    /// Makes another entry for a device of a guest, and attaches the device.
    fn change_ste(&mut self, guest: usize, device: u32) {
        let words = match self.random.within(0..=9) {
            0 => [0, u64::MAX],
            1 => with([1, 0], 3, 1, ABORT),
            2 | 3 => with([1, 0], 3, 1, BYPASS),
            _ => {
                let cd = Self::cd(device, self.random.within(0..=1));
                let words = with([1, 0], 3, 1, STAGE_1);
                let ats = u64::from(self.random.one_in(2));
                with(with(words, 51, 6, cd >> 6), 93, 92, ats)
            }
        };
        self.guests[guest].entries.insert(device, words);
        self.attach(guest, device);
    }

    fn has_ats(device: u32) -> bool {
        device >= DEVICES / 2
    }

    fn vsid(device: u32) -> u32 {
        device * 8
    }

    /// Returns an address that devices may use.
    fn address(&mut self, guest: usize) -> u64 {
        let granule = self.guests[guest].granule;
        let block = 1 << entry_shift(granule, 2);
        if self.random.one_in(3) {
            return self.random.within(0..=BLOCKS * block - 1);
        }
        let page = self.random.within(0..=PAGES - 1);
        BLOCKS * block + (page << entry_shift(granule, 3))
    }

    /// Returns the translation that a device gets for an address now. Fills the caches.
    fn translate(&mut self, guest: usize, device: u32, address: u64) -> Option<u64> {
        let page = address >> 12;
        if let Some(cached) = self.atc.get(&(guest, device, page)) {
            return Some(*cached);
        }
        let (smmu, sids) = self.streams(guest, device);
        let sid = sids[self.random.within(0..=sids.len() as u64 - 1) as usize];
        let output = self.translate_by_smmu(guest, smmu, sid, page << 12)?;
        // EATS (5.2).
        let eats = self.smmus[smmu].entries[&sid][1] >> 28 & 3;
        assert!(eats == 0 || Self::has_ats(device));
        if eats != 0 {
            self.atc.insert((guest, device, page), output);
        }
        Some(output)
    }

    /// Walks from the stream table entry on. Whatever a guest asks for, the second stage is its own.
    fn translate_by_smmu(
        &mut self,
        guest: usize,
        smmu: usize,
        sid: u32,
        address: u64,
    ) -> Option<u64> {
        let [word0, word1, word2, word3, ..] = self.smmus[smmu].entries[&sid];
        let words = [word0, word1];
        assert_eq!(bits(words, 0, 0), 1);
        match bits(words, 3, 1) {
            ABORT => return None,
            STAGE_2 | BOTH_STAGES => {}
            config => panic!("Config {config:#b}"),
        }
        let vmid = Self::vmid(smmu, guest);
        assert_eq!(word2 & 0xffff, u64::from(vmid));
        assert_eq!(word3, Self::stage_2(smmu, guest, false)[3]);
        if bits(words, 3, 1) == STAGE_2 {
            return Some(address | BY_STAGE_2);
        }
        let memory = &self.guests[guest];
        let in_memory = *memory.cds.get(&(bits(words, 51, 6) << 6))?;
        let cd = *self.smmus[smmu].cds.entry(sid).or_insert(in_memory);
        let cached = self.smmus[smmu].tlb.iter().find(|(entry, _)| {
            entry.vmid == vmid
                && entry.asid.is_none_or(|asid| asid == cd.asid)
                && (entry.start..=entry.last()).contains(&address)
        });
        if let Some((entry, output)) = cached {
            return Some(output + (address - entry.start));
        }
        let (level, start, pte) = memory.walk(cd, address)?;
        let entry = TlbEntry {
            vmid,
            asid: (!pte.global).then_some(cd.asid),
            granule: memory.granule,
            level,
            leaf: true,
            start,
        };
        self.smmus[smmu].tlb.push((entry, pte.output));
        Some(pte.output + (address - start))
    }

    /// Returns the translation in the guest's memory, which a device must get for an address.
    fn expected(&self, guest: usize, device: u32, address: u64) -> Option<u64> {
        let memory = &self.guests[guest];
        let address = address >> 12 << 12;
        let words = memory.entries[&device];
        match bits(words, 3, 1) {
            _ if bits(words, 0, 0) == 0 => None,
            ABORT => None,
            BYPASS => Some(address | BY_STAGE_2),
            _ => {
                let cd = memory.cds[&(bits(words, 51, 6) << 6)];
                let (_, start, pte) = memory.walk(cd, address)?;
                Some(pte.output + (address - start))
            }
        }
    }

    /// Lets devices translate addresses.
    fn traffic(&mut self, count: u64) {
        for _ in 0..count {
            let guest = self.random.within(0..=GUESTS as u64 - 1) as usize;
            let device = self.random.within(0..=u64::from(DEVICES) - 1) as u32;
            let address = self.address(guest);
            self.translate(guest, device, address);
        }
    }

    /// Applies a command to the caches.
    fn apply(&mut self, smmu: usize, command: Words) {
        let ds = self.features.ds;
        let ours = Self::vmid(smmu, OURS);
        let mut foreign = 0;
        self.smmus[smmu].tlb.retain(|(entry, _)| {
            let goes = entry.must_go(command, ds);
            foreign += usize::from(goes && entry.vmid != ours);
            !goes
        });
        for guest in 0..GUESTS {
            for device in 0..DEVICES {
                let (behind, sids) = self.streams(guest, device);
                if behind != smmu {
                    continue;
                }
                let sid = sids[0];
                for sid in sids {
                    let cd = CdEntry {
                        sid,
                        ssid: 0,
                        leaf: true,
                    };
                    if cd.must_go(command) {
                        self.smmus[smmu].cds.remove(&sid);
                        foreign += usize::from(guest != OURS);
                    }
                }
                self.atc.retain(|(owner, cache, page), _| {
                    let entry = AtcEntry {
                        sid,
                        ssid: None,
                        address: page << 12,
                    };
                    let goes = *owner == guest && *cache == device && entry.must_go(command);
                    foreign += usize::from(goes && guest != OURS);
                    !goes
                });
            }
        }
        self.foreign += foreign;
    }

    /// Applies one of an SMMU's pending commands, chosen at random.
    fn step(&mut self, smmu: usize) {
        let count = self.smmus[smmu].pending.len() as u64;
        if count != 0 {
            let place = self.random.within(0..=count - 1) as usize;
            let command = self.smmus[smmu].pending.swap_remove(place);
            self.apply(smmu, command);
        }
    }
}

struct Hardware(RefCell<World>);

impl Smmus for Hardware {
    fn count(&self) -> usize {
        self.0.borrow().smmus.len()
    }

    fn vmid(&self, smmu: usize) -> u16 {
        World::vmid(smmu, OURS)
    }

    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        let device = (0..DEVICES).find(|device| World::vsid(*device) == vsid)?;
        let (smmu, sids) = self.0.borrow().streams(OURS, device);
        let (sid, last) = (*sids.get(nth)?, nth + 1 == sids.len());
        Some(Stream { smmu, sid, last })
    }

    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result {
        let mut world = self.0.borrow_mut();
        for command in commands {
            world.smmus[smmu].pending.push((*command).into());
        }
        // Commands that were not waited for may take effect at any time.
        for _ in 0..world.random.within(0..=2) {
            world.traffic(3);
            world.step(smmu);
        }
        while sync && !world.smmus[smmu].pending.is_empty() {
            world.traffic(3);
            world.step(smmu);
        }
        Ok(())
    }
}

fn world(random: &mut Random) -> World {
    let features = Features {
        range_invalidation: !random.one_in(4),
        ds: random.one_in(2),
        repeat_erratum: false,
        ..guest::features(random)
    };
    let mut world = World {
        random: Random::from(random.number()),
        guests: Vec::new(),
        smmus: Vec::new(),
        atc: BTreeMap::new(),
        features: Features {
            ats: true,
            ..features
        },
        foreign: 0,
    };
    world
        .smmus
        .resize_with(random.within(1..=2) as usize, Smmu::default);
    for _ in 0..GUESTS {
        let mut memory = Guest {
            entries: BTreeMap::new(),
            cds: BTreeMap::new(),
            tables: vec![BTreeMap::new(); TABLES],
            asids: (1..=TABLES as u16).collect(),
            granule: random.within(1..=3),
        };
        for device in 0..DEVICES {
            for nth in 0..=1 {
                let table = random.within(0..=TABLES as u64 - 1) as usize;
                let asid = memory.asids[table];
                memory
                    .cds
                    .insert(World::cd(device, nth), Cd { asid, table });
            }
        }
        world.guests.push(memory);
    }
    for guest in 0..GUESTS {
        for device in 0..DEVICES {
            world.change_ste(guest, device);
        }
        for _ in 0..20 {
            change_entry(&mut world, guest);
        }
    }
    world
}

/// Sets an entry of a table of a guest. Returns the commands that the guest must issue.
fn change_entry(world: &mut World, guest: usize) -> Vec<Words> {
    let address = world.address(guest);
    let table = world.random.within(0..=TABLES as u64 - 1) as usize;
    let output = world.random.within(1..=0xffff) << 32;
    // Entries may be global only if all tables have them, which is never so here.
    let pte = Pte {
        output,
        global: false,
    };
    let present = !world.random.one_in(4);
    let memory = &mut world.guests[guest];
    let block = 1 << entry_shift(memory.granule, 2);
    let level = if address < BLOCKS * block { 2 } else { 3 };
    let shift = entry_shift(memory.granule, level);
    let start = address >> shift << shift;
    if present {
        memory.tables[table].insert((level, start), pte);
    } else {
        memory.tables[table].remove(&(level, start));
    }
    let (granule, asid) = (memory.granule, u64::from(memory.asids[table]));
    let mut commands = vec![by_address(world, asid, granule, level, start)];
    for device in (0..DEVICES).filter(|device| World::has_ats(*device)) {
        let sid = u64::from(World::vsid(device));
        let command = with([0x40, 0], 63, 32, sid);
        let command = with(command, 69, 64, u64::from(shift) - 12);
        commands.push(with(command, 127, 76, start >> 12));
    }
    commands
}

/// Returns CMD_TLBI_NH_VA or CMD_TLBI_NH_VAA for an entry, in one of the forms that a guest may use.
fn by_address(world: &mut World, asid: u64, granule: u64, level: u64, start: u64) -> Words {
    // CMD_TLBI_NH_VAA is for all ASIDs.
    let command = if world.random.one_in(4) {
        [0x13, 0]
    } else {
        with([0x12, 0], 63, 48, asid)
    };
    let command = with(command, 127, 76, start >> 12);
    if !world.features.range_invalidation || world.random.one_in(3) {
        return command;
    }
    with(with(command, 75, 74, granule), 73, 72, level)
}

/// Makes a device use another table, or exchanges the ASIDs of two tables. Translations cached
/// through the old descriptor are then tagged with the ASID of another table. Returns the commands
/// that the guest must issue.
fn change_cd(world: &mut World, device: u32) -> Vec<Words> {
    let table = world.random.within(0..=TABLES as u64 - 1) as usize;
    let exchange = world.random.one_in(2);
    let place = World::cd(device, world.random.within(0..=1));
    let all = world.random.one_in(3);
    let whole = [[0x10, 0], [0x30, 0], [0, 0]][world.random.within(0..=2) as usize];
    let memory = &mut world.guests[OURS];
    let mut commands = Vec::new();
    let mut changed = vec![device];
    if exchange {
        memory.asids.swap(0, table);
        changed = (0..DEVICES).collect();
    } else {
        let asid = memory.asids[table];
        memory.cds.insert(place, Cd { asid, table });
    }
    for cd in memory.cds.values_mut() {
        cd.asid = memory.asids[cd.table];
    }
    let sid = |device: &u32| u64::from(World::vsid(*device));
    for device in &changed {
        let opcode = if all { 0x06 } else { 0x05 };
        commands.push(with([opcode, 0], 63, 32, sid(device)));
    }
    if exchange && whole != [0, 0] {
        commands.push(whole);
    } else if exchange {
        for table in [0, table] {
            commands.push(with([0x11, 0], 63, 48, memory.asids[table].into()));
        }
    }
    for device in changed.iter().filter(|device| World::has_ats(**device)) {
        commands.push(with(with([0x40, 0], 63, 32, sid(device)), 69, 64, 52));
    }
    commands
}

fn carry_out<const N: usize>(
    hardware: &Hardware,
    features: Features,
    commands: &[Words],
) -> Invalidated {
    let (rules, mut source) = (Rules::new(features), Memory(commands));
    batch::carry_out::<_, N>(hardware, &rules, &mut source, commands.len() as u32)
}

#[test]
fn no_device_gets_what_is_stale() {
    cases(400, |random| {
        let hardware = Hardware(RefCell::new(world(random)));
        for _ in 0..4 {
            let mut world = hardware.0.borrow_mut();
            world.traffic(60);
            let mut commands = Vec::new();
            for _ in 0..world.random.within(1..=30) {
                if world.random.one_in(6) {
                    let guest = world.random.within(0..=GUESTS as u64 - 1) as usize;
                    let device = world.random.within(0..=u64::from(DEVICES) - 1) as u32;
                    world.change_ste(guest, device);
                }
                commands.extend(if world.random.one_in(5) {
                    let device = world.random.within(0..=u64::from(DEVICES) - 1) as u32;
                    change_cd(&mut world, device)
                } else {
                    change_entry(&mut world, OURS)
                });
                world.traffic(2);
            }
            let features = world.features;
            drop(world);
            let count = commands.len() as u32;
            let outcome = if hardware.0.borrow_mut().random.one_in(4) {
                carry_out::<1>(&hardware, features, &commands)
            } else {
                carry_out::<MAX_ISSUED>(&hardware, features, &commands)
            };
            assert_eq!((outcome.done, outcome.result), (count, Ok(())));
            let mut world = hardware.0.borrow_mut();
            for device in 0..DEVICES {
                for _ in 0..30 {
                    let address = world.address(OURS);
                    let expected = world.expected(OURS, device, address);
                    let got = world.translate(OURS, device, address);
                    assert_eq!(got, expected, "device {device}, address {address:#x}");
                }
            }
            assert_eq!(world.foreign, 0, "the other guest was hit");
        }
    });
}

#[test]
fn the_model_does_cache() {
    cases(50, |random| {
        let mut world = world(random);
        world.features = FULL;
        world.traffic(400);
        let stale = (0..100).any(|_| {
            change_entry(&mut world, OURS);
            let device = world.random.within(0..=u64::from(DEVICES) - 1) as u32;
            let address = world.address(OURS);
            world.translate(OURS, device, address) != world.expected(OURS, device, address)
        });
        assert!(stale, "nothing was seen that is not in memory any more");
    });
}
