// SPDX-License-Identifier: GPL-2.0-only

//! A model of SMMUs, of devices behind them and of the memory of two guests. The SMMUs walk the
//! entries that are made of the guest's, and get the commands that are made of the guest's.
//!
//! The model caches all that it may, and drops only what the specification says it must, as late as
//! it may: commands take effect in any order, at any time until the CMD_SYNC behind them is
//! complete. Devices translate meanwhile.

use std::{
    cell::RefCell,
    collections::BTreeMap, //
};

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        command::{
            Physical,
            Words, //
        },
        features::Features,
        pending::{
            Smmus,
            Stream, //
        },
        ste::{
            Ste,
            Vste, //
        }, //
    },
    tests::{
        random::Random,
        smmu_v3::{
            guest,
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
pub(super) const GUESTS: usize = 2;
pub(super) const OURS: usize = 0;
/// Devices of each guest, by the guest's StreamIDs.
pub(super) const DEVICES: u32 = 4;
pub(super) const TABLES: usize = 3;
/// Addresses that devices use: blocks from 0 on, then pages. The last of each are translated by
/// global entries, which are the same in all tables.
pub(super) const BLOCKS: u64 = 3;
pub(super) const PAGES: u64 = 12;
const GLOBAL_BLOCKS: u64 = 1;
const GLOBAL_PAGES: u64 = 3;
/// Substreams that devices use, if the SMMUs have as many.
const SUBSTREAMS: [u32; 3] = [1, 2, 70];
/// log2 of the number of context descriptors of a device that uses substreams.
const MOST_CDS: u32 = 7;

/// A context descriptor in a guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cd {
    pub(super) asid: u16,
    pub(super) table: usize,
}

/// An entry of a guest's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pte {
    pub(super) output: u64,
    pub(super) global: bool,
}

/// Values of Config (5.2) of the guest's entries and the SMMU's.
pub(super) const ABORT: u64 = 0b000;
pub(super) const BYPASS: u64 = 0b100;
pub(super) const STAGE_1: u64 = 0b101;
const STAGE_2: u64 = 0b110;
const BOTH_STAGES: u64 = 0b111;
/// Set in what the second stage alone translates an address to.
const BY_STAGE_2: u64 = 1 << 62;

/// A guest's memory. Blocks are at level 2, pages, above the blocks, at level 3.
pub(super) struct Guest {
    /// Words 0 and 1 of the stream table entry of each device.
    pub(super) entries: BTreeMap<u32, Words>,
    /// Context descriptors, by their address.
    pub(super) cds: BTreeMap<u64, Cd>,
    /// Pointers to tables of context descriptors (5.3, L1CD), by their address.
    pub(super) pointers: BTreeMap<u64, u64>,
    /// The entries, by level and address.
    pub(super) tables: Vec<BTreeMap<(u64, u64), Pte>>,
    /// Of each table.
    pub(super) asids: Vec<u16>,
    /// TG of all its tables.
    pub(super) granule: u64,
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

    /// Whether an address is translated by global entries.
    pub(super) fn is_global(&self, address: u64) -> bool {
        let block = 1 << entry_shift(self.granule, 2);
        match address.checked_sub(BLOCKS * block) {
            None => address / block >= BLOCKS - GLOBAL_BLOCKS,
            Some(page) => page >> entry_shift(self.granule, 3) >= PAGES - GLOBAL_PAGES,
        }
    }
}

/// What an entry's first stage does with DMA (5.2, S1CDMax and S1DSS).
enum Stage1 {
    Blocked,
    Bypassed,
    /// It translates by the context descriptor with this number.
    By(u32),
}

/// Returns what the first stage of an entry does with DMA of a substream, or without one.
fn stage_1(words: Words, substream: Option<u32>, features: &Features) -> Stage1 {
    let cd_max = match features.ssid_bits {
        0 => 0,
        _ => bits(words, 63, 59),
    };
    match substream {
        None if cd_max == 0 => Stage1::By(0),
        None => match bits(words, 65, 64) {
            0b01 => Stage1::Bypassed,
            0b10 => Stage1::By(0),
            _ => Stage1::Blocked,
        },
        Some(ssid) if cd_max != 0 && u64::from(ssid) >> cd_max == 0 => Stage1::By(ssid),
        Some(_) => Stage1::Blocked,
    }
}

/// Returns the address of a context descriptor of an entry. `pointer` reads a pointer to a table at
/// an address.
fn cd_address(words: Words, ssid: u32, pointer: impl FnOnce(u64) -> Option<u64>) -> Option<u64> {
    let (table, ssid) = (bits(words, 51, 6) << 6, u64::from(ssid));
    // S1Fmt: with two levels, tables have 64 descriptors here.
    if bits(words, 63, 59) == 0 || bits(words, 5, 4) == 0 {
        return Some(table + 64 * ssid);
    }
    Some(pointer(table + 8 * (ssid >> 6))? + 64 * (ssid & 63))
}

/// An SMMU: its caches, and the commands that have not taken effect yet.
#[derive(Default)]
pub(super) struct Smmu {
    /// The stream table, by StreamID.
    entries: BTreeMap<u32, Ste>,
    /// Context descriptors, and pointers to tables of them, by StreamID and SubstreamID.
    cds: BTreeMap<(u32, u32), Cd>,
    pointers: BTreeMap<(u32, u32), u64>,
    tlb: Vec<(TlbEntry, u64)>,
    pending: Vec<Words>,
}

impl Smmu {
    /// Returns the context descriptor of an entry.
    fn cd(&mut self, memory: &Guest, words: Words, sid: u32, ssid: u32) -> Option<Cd> {
        if let Some(cd) = self.cds.get(&(sid, ssid)) {
            return Some(*cd);
        }
        let address = cd_address(words, ssid, |at| {
            let in_memory = *memory.pointers.get(&at)?;
            Some(*self.pointers.entry((sid, ssid)).or_insert(in_memory))
        })?;
        let cd = *memory.cds.get(&address)?;
        self.cds.insert((sid, ssid), cd);
        Some(cd)
    }
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) guests: Vec<Guest>,
    smmus: Vec<Smmu>,
    /// The slot that each of our devices is in, if it is not away. The StreamIDs of other slots are
    /// somebody else's.
    pub(super) slots: [Option<u32>; DEVICES as usize],
    /// Whether our devices go away and come back while commands are carried out.
    pub(super) restless: bool,
    /// What devices have cached, with ATS, by guest, device, substream and page.
    atc: BTreeMap<(usize, u32, Option<u32>, u64), u64>,
    pub(super) features: Features,
    /// How many cached entries of the other guest were dropped, and how many commands were about a
    /// device of somebody else.
    pub(super) foreign: usize,
}

impl World {
    /// Returns a world whose tables are not empty.
    pub(super) fn new(random: &mut Random) -> Self {
        let features = Features {
            range_invalidation: !random.one_in(4),
            ds: random.one_in(2),
            repeat_erratum: false,
            ats: true,
            ..guest::features(random)
        };
        let mut world = Self {
            random: Random::from(random.number()),
            guests: Vec::new(),
            smmus: Vec::new(),
            slots: [Some(0); DEVICES as usize],
            restless: false,
            atc: BTreeMap::new(),
            features,
            foreign: 0,
        };
        world
            .smmus
            .resize_with(random.within(1..=2) as usize, Smmu::default);
        for guest in 0..GUESTS {
            world.guests.push(Guest {
                entries: BTreeMap::new(),
                cds: BTreeMap::new(),
                pointers: BTreeMap::new(),
                tables: vec![BTreeMap::new(); TABLES],
                asids: (1..=TABLES as u16).collect(),
                granule: random.within(1..=3),
            });
            for device in 0..DEVICES {
                for nth in 0..=1 {
                    world.fill_cds(guest, device, nth);
                }
                world.change_ste(guest, device);
            }
        }
        world
    }

    /// Makes the context descriptors of one of the two tables of a device.
    fn fill_cds(&mut self, guest: usize, device: u32, nth: u64) {
        for ssid in self.ssids(device) {
            for place in Self::places(device, nth, ssid) {
                let table = self.random.within(0..=TABLES as u64 - 1) as usize;
                let memory = &mut self.guests[guest];
                let asid = memory.asids[table];
                memory.cds.insert(place, Cd { asid, table });
            }
            let (at, [first, _]) = Self::pointer(device, nth, ssid);
            self.guests[guest].pointers.insert(at, first);
        }
    }

    pub(super) fn vmid(smmu: usize, guest: usize) -> u16 {
        [[0x10, 0x20], [0x21, 0x11]][smmu][guest]
    }

    /// Returns the SMMU that a device is behind, and its StreamIDs there. One device has two. One
    /// that is away has none.
    pub(super) fn streams(&self, guest: usize, device: u32) -> (usize, Vec<u32>) {
        let slot = match guest {
            OURS => self.slots[device as usize],
            _ => Some(0),
        };
        let Some(slot) = slot else {
            return (0, Vec::new());
        };
        let smmu = (device + slot) as usize % self.smmus.len();
        let sid = 0x100 * (guest as u32 + 1) + 0x10 * slot + device;
        let more = if device == 1 { Some(sid + 0x40) } else { None };
        (smmu, [sid].into_iter().chain(more).collect())
    }

    /// Returns the guest that has a StreamID.
    fn owner(sid: u32) -> usize {
        sid as usize / 0x100 - 1
    }

    /// Returns the substreams that a device uses, and that it does DMA without one.
    pub(super) fn substreams(&self, device: u32) -> Vec<Option<u32>> {
        let uses = |ssid: &u32| device % 2 == 1 && ssid >> self.cd_max() == 0;
        let substreams = SUBSTREAMS.into_iter().filter(uses).map(Some);
        [None].into_iter().chain(substreams).collect()
    }

    /// Returns the numbers of the context descriptors that a device uses.
    pub(super) fn ssids(&self, device: u32) -> Vec<u32> {
        let substreams = self.substreams(device);
        substreams
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect()
    }

    fn cd_max(&self) -> u32 {
        self.features.ssid_bits.min(MOST_CDS)
    }

    /// Returns the address of one of the two tables of context descriptors of a device.
    fn cd_table(device: u32, nth: u64) -> u64 {
        0x7000_0000 + 0x10_0000 * u64::from(device) + 0x8_0000 * nth
    }

    /// Returns the address of the pointer to the table with a context descriptor, where the tables
    /// of a device have two levels, and the two tables that it may point to.
    pub(super) fn pointer(device: u32, nth: u64, ssid: u32) -> (u64, [u64; 2]) {
        let table = Self::cd_table(device, nth);
        let part = u64::from(ssid >> 6);
        let second = table + 0x1_0000 * (1 + 2 * part);
        (table + 8 * part, [second, second + 0x1_0000])
    }

    /// Returns the addresses where a context descriptor may be, with tables of one level and of
    /// two.
    pub(super) fn places(device: u32, nth: u64, ssid: u32) -> [u64; 3] {
        let (_, [one, other]) = Self::pointer(device, nth, ssid);
        let at = 64 * u64::from(ssid & 63);
        [
            Self::cd_table(device, nth) + 64 * u64::from(ssid),
            one + at,
            other + at,
        ]
    }

    /// Returns the entry of the second stage alone, as the driver makes it.
    fn stage_2(smmu: usize, guest: usize, ats: bool) -> Ste {
        let vmid = u64::from(Self::vmid(smmu, guest));
        let table = 0x1000 * (guest as u64 + 1);
        let word0 = with([1, 0], 3, 1, STAGE_2)[0];
        [word0, u64::from(ats) << 28, vmid, table, 0, 0, 0, 0]
    }

    /// Gives a device the SMMU's entry for the guest's, as an attach does.
    pub(super) fn attach(&mut self, guest: usize, device: u32) {
        let words = self.guests[guest].entries[&device];
        let vste = Vste::from_guest(words, &self.features).expect("it is valid");
        let translates = bits(words, 0, 0) == 1 && bits(words, 3, 1) == STAGE_1;
        let ats = Self::has_ats(device) && (!translates || vste.enables_ats());
        let (smmu, sids) = self.streams(guest, device);
        let ste = vste
            .on_smmu(&self.features)
            .encode(&Self::stage_2(smmu, guest, ats));
        for sid in sids {
            self.smmus[smmu].entries.insert(sid, ste);
        }
        self.forget_device(guest, device);
    }

    /// Drops all that is cached for a device, as the driver does when it changes the entry.
    pub(super) fn forget_device(&mut self, guest: usize, device: u32) {
        let (smmu, sids) = self.streams(guest, device);
        let smmu = &mut self.smmus[smmu];
        // CMD_CFGI_STE drops the descriptors too (4.3.1).
        smmu.cds.retain(|(stream, _), _| !sids.contains(stream));
        smmu.pointers
            .retain(|(stream, _), _| !sids.contains(stream));
        self.atc
            .retain(|(owner, cache, ..), _| (*owner, *cache) != (guest, device));
    }

    /// Makes another entry for a device of a guest, and attaches the device.
    pub(super) fn change_ste(&mut self, guest: usize, device: u32) {
        let words = match self.random.within(0..=9) {
            0 => [0, u64::MAX],
            1 => with([1, 0], 3, 1, ABORT),
            2 | 3 => with([1, 0], 3, 1, BYPASS),
            _ => self.translating(device),
        };
        self.guests[guest].entries.insert(device, words);
        self.attach(guest, device);
    }

    /// Returns an entry with a first stage that translates.
    fn translating(&mut self, device: u32) -> Words {
        let table = Self::cd_table(device, self.random.within(0..=1));
        let words = with([1, 0], 3, 1, STAGE_1);
        let ats = u64::from(self.random.one_in(2));
        let words = with(with(words, 51, 6, table >> 6), 93, 92, ats);
        if self.substreams(device).len() == 1 || self.random.one_in(6) {
            return words;
        }
        let levels = u64::from(self.features.two_level_cds && self.random.one_in(2));
        let words = with(with(words, 63, 59, self.cd_max().into()), 5, 4, levels);
        // S1DSS
        with(words, 65, 64, self.random.within(0..=2))
    }

    pub(super) fn has_ats(device: u32) -> bool {
        device >= DEVICES / 2
    }

    pub(super) fn vsid(device: u32) -> u32 {
        device * 8
    }

    /// Returns an address that devices may use.
    pub(super) fn address(&mut self, guest: usize) -> u64 {
        let granule = self.guests[guest].granule;
        let block = 1 << entry_shift(granule, 2);
        if self.random.one_in(3) {
            return self.random.within(0..=BLOCKS * block - 1);
        }
        let page = self.random.within(0..=PAGES - 1);
        BLOCKS * block + (page << entry_shift(granule, 3))
    }

    /// Returns the translation that a device gets for an address now. Fills the caches.
    pub(super) fn translate(
        &mut self,
        guest: usize,
        device: u32,
        substream: Option<u32>,
        address: u64,
    ) -> Option<u64> {
        let key = (guest, device, substream, address >> 12);
        if let Some(cached) = self.atc.get(&key) {
            return Some(*cached);
        }
        let (smmu, sids) = self.streams(guest, device);
        if sids.is_empty() {
            return None;
        }
        let sid = *self.random.pick(&sids);
        let output = self.translate_by_smmu(guest, smmu, sid, substream, address >> 12 << 12)?;
        // EATS (5.2).
        let eats = self.smmus[smmu].entries[&sid][1] >> 28 & 3;
        assert!(eats == 0 || Self::has_ats(device));
        if eats != 0 {
            self.atc.insert(key, output);
        }
        Some(output)
    }

    /// Walks from the stream table entry on. Whatever a guest asks for, the second stage is its
    /// own.
    fn translate_by_smmu(
        &mut self,
        guest: usize,
        smmu: usize,
        sid: u32,
        substream: Option<u32>,
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
        let ssid = match stage_1(words, substream, &self.features) {
            Stage1::Blocked => return None,
            Stage1::Bypassed => return Some(address | BY_STAGE_2),
            Stage1::By(ssid) => ssid,
        };
        let memory = &self.guests[guest];
        let smmu = &mut self.smmus[smmu];
        let cd = smmu.cd(memory, words, sid, ssid)?;
        let cached = smmu.tlb.iter().find(|(entry, _)| {
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
        smmu.tlb.push((entry, pte.output));
        Some(pte.output + (address - start))
    }

    /// Returns the translation in the guest's memory, which a device must get for an address.
    pub(super) fn expected(
        &self,
        guest: usize,
        device: u32,
        substream: Option<u32>,
        address: u64,
    ) -> Option<u64> {
        let memory = &self.guests[guest];
        let address = address >> 12 << 12;
        let words = memory.entries[&device];
        match bits(words, 3, 1) {
            _ if bits(words, 0, 0) == 0 => return None,
            ABORT => return None,
            BYPASS => return Some(address | BY_STAGE_2),
            _ => {}
        }
        match stage_1(words, substream, &self.features) {
            Stage1::Blocked => None,
            Stage1::Bypassed => Some(address | BY_STAGE_2),
            Stage1::By(ssid) => {
                let at = cd_address(words, ssid, |at| Some(memory.pointers[&at]))?;
                let (_, start, pte) = memory.walk(memory.cds[&at], address)?;
                Some(pte.output + (address - start))
            }
        }
    }

    /// Returns a device, and a substream that it uses or none.
    pub(super) fn user(&mut self) -> (u32, Option<u32>) {
        let device = self.random.within(0..=u64::from(DEVICES) - 1) as u32;
        let substreams = self.substreams(device);
        (device, *self.random.pick(&substreams))
    }

    /// Lets devices translate addresses.
    pub(super) fn traffic(&mut self, count: u64) {
        for _ in 0..count {
            let guest = self.random.within(0..=GUESTS as u64 - 1) as usize;
            let (device, substream) = self.user();
            let address = self.address(guest);
            self.translate(guest, device, substream, address);
        }
    }

    /// Applies a command to the caches.
    fn apply(&mut self, nth: usize, command: Words) {
        let (ds, ours) = (self.features.ds, Self::vmid(nth, OURS));
        let mut foreign = 0;
        let smmu = &mut self.smmus[nth];
        smmu.tlb.retain(|(entry, _)| {
            let goes = entry.must_go(command, ds);
            foreign += usize::from(goes && entry.vmid != ours);
            !goes
        });
        let mut stays = |sid: u32, ssid: u32, leaf: bool| {
            let goes = CdEntry { sid, ssid, leaf }.must_go(command);
            foreign += usize::from(goes && Self::owner(sid) != OURS);
            !goes
        };
        smmu.cds.retain(|(sid, ssid), _| stays(*sid, *ssid, true));
        smmu.pointers
            .retain(|(sid, ssid), _| stays(*sid, *ssid, false));
        let streams: Vec<_> = (0..GUESTS as u32 * DEVICES)
            .map(|at| self.streams((at / DEVICES) as usize, at % DEVICES))
            .collect();
        self.atc.retain(|(guest, device, ssid, page), _| {
            let (behind, sids) = &streams[*guest * DEVICES as usize + *device as usize];
            let entry = AtcEntry {
                sid: sids[0],
                ssid: *ssid,
                address: page << 12,
            };
            let goes = *behind == nth && entry.must_go(command);
            foreign += usize::from(goes && *guest != OURS);
            !goes
        });
        self.foreign += foreign;
    }

    /// Drops the cached context descriptors, but no pointers to tables of them.
    pub(super) fn forget_cds(&mut self) {
        for smmu in &mut self.smmus {
            smmu.cds.clear();
        }
    }

    /// Applies all of an SMMU's pending commands.
    pub(super) fn complete(&mut self, smmu: usize) {
        while !self.smmus[smmu].pending.is_empty() {
            self.step(smmu);
        }
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

pub(super) struct Hardware(pub(super) RefCell<World>);

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
            let command = (*command).into();
            world.foreign += usize::from(world.is_about_another_device(smmu, command));
            world.smmus[smmu].pending.push(command);
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
        world.come_and_go();
        Ok(())
    }
}
