// SPDX-License-Identifier: GPL-2.0-only

//! A model of IOMMUs, of the devices behind them and of the memory of two guests.
//!
//! An IOMMU walks what is in memory: its device table, whose entries the backend makes, a guest's
//! GCR3 tables and page tables. It caches all that it may at each step, tagged by what the
//! specification tags it by, and drops only what a command says. It carries out commands in order,
//! at any time until the COMPLETION_WAIT behind them; devices translate meanwhile.

use std::{
    cell::RefCell,
    collections::{
        BTreeMap,
        VecDeque, //
    }, //
};

use kernel::prelude::*;

use crate::{
    drivers::amd_vi::{
        batch::Iommus,
        command::{
            Device,
            Physical,
            Words, //
        },
        dte::{
            Dte,
            GuestDte, //
        }, //
    },
    tests::{
        amd_vi::{
            bits,
            command::range,
            guest::check_physical,
            with,
            FULL, //
        },
        random::Random, //
    }, //
};

/// Guests: the first is the one under test.
pub(super) const GUESTS: usize = 2;
pub(super) const OURS: usize = 0;
/// Devices of each guest, by number.
pub(super) const DEVICES: usize = 4;
/// A guest's domain IDs, each with a GCR3 table of its own.
pub(super) const DOMAINS: [u16; 4] = [0, 1, 9, 0xffff];
pub(super) const PASIDS: [u64; 3] = [0, 1, 0x1_2345];
/// Page tables of a guest.
pub(super) const TABLES: u64 = 4;
/// Pages that devices use: some neighbours, at a few places.
const PLACES: [u64; 4] = [0, 0x1fe, 0x7_ffff, (1 << 36) - 4];
const NEIGHBOURS: u64 = 12;

/// What a device gets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Translation {
    /// By the second stage alone, which does not change here.
    Second,
    /// By a guest's table: the table, and the contents of the directory and of the leaf.
    Both(u64, u64, u64),
}

/// A page table of a guest: the contents of directories and leaves.
#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) directories: BTreeMap<u64, u64>,
    pub(super) leaves: BTreeMap<u64, u64>,
}

/// A guest's memory.
pub(super) struct Guest {
    /// The page table of a PASID, by the address of the GCR3 table.
    pub(super) gcr3: BTreeMap<(u64, u64), u64>,
    pub(super) tables: Vec<Table>,
    /// The guest's device table.
    pub(super) dtes: Vec<Dte>,
    /// How often memory was written.
    pub(super) writes: u64,
}

#[derive(Default)]
struct Iommu {
    /// The device table.
    dtes: BTreeMap<u16, Dte>,
    cached_dtes: BTreeMap<u16, Dte>,
    /// By domain ID and PASID.
    cached_gcr3: BTreeMap<(u16, u64), u64>,
    /// By domain ID, PASID and number.
    cached_directories: BTreeMap<(u16, u64, u64), u64>,
    /// By domain ID, PASID and page.
    tlb: BTreeMap<(u16, Option<u64>, u64), Translation>,
    pending: VecDeque<Words>,
    /// The commands that have left `pending`, and all that have come.
    executed: u64,
    submitted: u64,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) guests: Vec<Guest>,
    iommus: Vec<Iommu>,
    /// What devices have cached, by guest and device, and page. They are not enabled to use PASIDs with
    /// ATS: the driver enables ATS alone.
    atc: BTreeMap<(usize, usize, u64), Translation>,
    /// Cached entries of the other guest that a command has dropped.
    pub(super) foreign: usize,
}

/// Returns the address of the GCR3 table of a domain.
pub(super) fn root_of(domain: u16) -> u64 {
    (u64::from(domain) + 1) << 12 | 1 << 31 | 1 << 50
}

/// Returns the DeviceID of a device for its guest.
pub(super) fn virtual_id(device: usize) -> u16 {
    device as u16 * 8
}

fn domain_id(iommu: usize, guest: usize, domain: u16) -> u16 {
    let place = DOMAINS.iter().position(|known| *known == domain);
    // Numbers that are also domain IDs of guests, other ones.
    let place = place.expect("it is known") as u16;
    [1, 9, 20, 21, 22, 23, 24, 25][((place + 4 * guest as u16) as usize + iommu) % 8]
}

fn device_id(iommu: usize, guest: usize, device: usize) -> u16 {
    (8 * (device + 1) + 0x40 * guest + 0x100 * iommu) as u16
}

/// Whether `range` has any page of the directory `number`.
fn overlaps((first, count): (u64, u64), number: u64) -> bool {
    let start = number << 9;
    u128::from(start) < u128::from(first) + u128::from(count) && start + 512 > first
}

impl Guest {
    /// Returns what is in memory for a page of an address space.
    fn walk(&self, root: u64, pasid: u64, page: u64) -> Translation {
        let table = self.gcr3[&(root, pasid)];
        let entries = &self.tables[table as usize];
        let directory = entries.directories.get(&(page >> 9)).copied();
        let leaf = entries.leaves.get(&page).copied();
        Translation::Both(table, directory.unwrap_or(0), leaf.unwrap_or(0))
    }
}

impl Iommu {
    /// Drops what INVALIDATE_IOMMU_PAGES names. Returns how many entries have gone.
    fn invalidate_pages(&mut self, words: Words) -> usize {
        let domain = bits(&words, 47, 32) as u16;
        let (first, count) = range(words);
        let within = |page: u64| page >= first && page - first < count;
        let pde = bits(&words, 65, 65) == 1;
        let before = self.entries();
        if bits(&words, 66, 66) == 1 {
            let pasid = bits(&words, 19, 0);
            self.tlb
                .retain(|(of, by, page), _| (*of, *by) != (domain, Some(pasid)) || !within(*page));
            if pde {
                self.cached_gcr3.remove(&(domain, pasid));
                self.cached_directories.retain(|(of, by, number), _| {
                    (*of, *by) != (domain, pasid) || !overlaps((first, count), *number)
                });
            }
        } else if count == 1 << 52 {
            // By a guest-physical address. All of them are all that the domain has.
            self.tlb.retain(|(of, ..), _| *of != domain);
            if pde {
                self.cached_gcr3.retain(|(of, _), _| *of != domain);
                self.cached_directories.retain(|(of, ..), _| *of != domain);
            }
        }
        before - self.entries()
    }

    fn entries(&self) -> usize {
        self.tlb.len() + self.cached_gcr3.len() + self.cached_directories.len()
    }
}

impl World {
    pub(super) fn new(random: &mut Random, iommus: usize) -> Self {
        let mut world = Self {
            random: Random::from(random.number()),
            guests: Vec::new(),
            iommus: Vec::new(),
            atc: BTreeMap::new(),
            foreign: 0,
        };
        world.iommus.resize_with(iommus, Iommu::default);
        for guest in 0..GUESTS {
            let mut memory = Guest {
                gcr3: BTreeMap::new(),
                tables: vec![Table::default(); TABLES as usize],
                dtes: vec![[0; 4]; DEVICES],
                writes: 0,
            };
            for domain in DOMAINS {
                for pasid in PASIDS {
                    let table = world.random.within(0..=TABLES - 1);
                    memory.gcr3.insert((root_of(domain), pasid), table);
                }
            }
            world.guests.push(memory);
            for device in 0..DEVICES {
                world.set_dte(guest, device);
            }
        }
        world
    }

    /// Returns the IOMMU that a device is behind.
    fn iommu_of(&self, device: usize) -> usize {
        device % self.iommus.len()
    }

    /// Makes the guest use another entry for a device, as a VMM does with a new nested HWPT that it
    /// attaches the device to.
    pub(super) fn set_dte(&mut self, guest: usize, device: usize) {
        let domain = *self.random.pick(&DOMAINS);
        let root = root_of(domain);
        // V, TV and GV with the table; IR and IW.
        let mut dte = [0b11 | 1 << 55 | 3 << 61, 0, 0, 0];
        dte = with(with(dte, 60, 58, root >> 12), 95, 80, root >> 15);
        dte = with(with(dte, 127, 107, root >> 31), 79, 64, domain.into());
        // GIOV, GLX, I
        dte = with(dte, 54, 54, self.random.within(0..=1));
        dte = with(dte, 57, 56, 2);
        dte = with(dte, 96, 96, self.random.within(0..=1));
        dte = match self.random.within(0..=11) {
            // Without V, TV, GV.
            place @ 0..=1 => with(dte, place as u32, place as u32, 0),
            2 => with(dte, 55, 55, 0),
            _ => dte,
        };
        self.guests[guest].dtes[device] = dte;
        let iommu = self.iommu_of(device);
        let made = GuestDte::new(dte, &FULL).expect("the guest's entry is valid");
        // V, TV, four levels, IR, IW; ATS as the domain permits.
        let mut host = [0b11 | 4 << 9 | 0xabc << 12 | 3 << 61, 0, 0, 0];
        host = with(host, 96, 96, u64::from(made.permits_ats()));
        let id = domain_id(iommu, guest, made.domain_id());
        host = with(host, 79, 64, id.into());
        made.fill(&mut host);
        let id = device_id(iommu, guest, device);
        self.iommus[iommu].dtes.insert(id, host);
        self.iommus[iommu].cached_dtes.remove(&id);
        self.atc
            .retain(|(of, by, ..), _| (*of, *by) != (guest, device));
    }

    pub(super) fn page(&mut self) -> u64 {
        *self.random.pick(&PLACES) + self.random.within(0..=NEIGHBOURS - 1)
    }

    /// Returns what a device gets for a page now, or `None` if its request is refused. Fills the
    /// caches.
    fn translate(
        &mut self,
        guest: usize,
        device: usize,
        pasid: Option<u64>,
        page: u64,
    ) -> Option<Translation> {
        let by_device = (guest, device, page);
        let has_pasid = pasid.is_some();
        if let Some(cached) = self.atc.get(&by_device).filter(|_| !has_pasid) {
            return Some(*cached);
        }
        let place = self.iommu_of(device);
        let memory = &self.guests[guest];
        let iommu = &mut self.iommus[place];
        let id = device_id(place, guest, device);
        let dte = *iommu.cached_dtes.entry(id).or_insert(iommu.dtes[&id]);
        let (domain, pasid, root) = decode(&dte, pasid)?;
        let translation = match iommu.tlb.get(&(domain, pasid, page)) {
            Some(cached) => *cached,
            None => match pasid {
                None => Translation::Second,
                Some(pasid) => {
                    let in_memory = memory.gcr3[&(root, pasid)];
                    let gcr3 = iommu
                        .cached_gcr3
                        .entry((domain, pasid))
                        .or_insert(in_memory);
                    let table = &memory.tables[*gcr3 as usize];
                    let in_memory = table.directories.get(&(page >> 9)).copied();
                    let directory = iommu
                        .cached_directories
                        .entry((domain, pasid, page >> 9))
                        .or_insert(in_memory.unwrap_or(0));
                    let leaf = table.leaves.get(&page).copied().unwrap_or(0);
                    Translation::Both(*gcr3, *directory, leaf)
                }
            },
        };
        iommu.tlb.insert((domain, pasid, page), translation);
        if bits(&dte, 96, 96) == 1 && !has_pasid {
            self.atc.insert(by_device, translation);
        }
        Some(translation)
    }

    /// Lets devices translate addresses.
    pub(super) fn traffic(&mut self, count: u64) {
        for _ in 0..count {
            let guest = self.random.within(0..=GUESTS as u64 - 1) as usize;
            let device = self.random.within(0..=DEVICES as u64 - 1) as usize;
            let page = self.page();
            let pasid = match self.random.within(0..=3) {
                0 => None,
                _ => Some(*self.random.pick(&PASIDS)),
            };
            self.translate(guest, device, pasid, page);
        }
    }

    /// Executes the oldest command of an IOMMU.
    fn step(&mut self, place: usize) {
        let Some(words) = self.iommus[place].pending.pop_front() else {
            return;
        };
        self.iommus[place].executed += 1;
        check_physical(&words);
        let is_ours = match bits(&words, 63, 60) {
            3 => {
                let mut ids = DOMAINS.iter().map(|domain| domain_id(place, OURS, *domain));
                let is_ours = ids.any(|id| u64::from(id) == bits(&words, 47, 32));
                let gone = self.iommus[place].invalidate_pages(words);
                self.foreign += if is_ours { 0 } else { gone };
                is_ours
            }
            opcode => {
                let id = bits(&words, 15, 0) as u16;
                let behind = (0..DEVICES).filter(|device| self.iommu_of(*device) == place);
                let ours = behind
                    .clone()
                    .find(|device| device_id(place, OURS, *device) == id);
                if opcode == 2 {
                    self.iommus[place].cached_dtes.remove(&id);
                } else if let Some(device) = ours {
                    let (first, count) = range(words);
                    let pasid = bits(&words, 59, 56) << 16
                        | bits(&words, 23, 16) << 8
                        | bits(&words, 55, 48);
                    let by_pasid = bits(&words, 66, 66) == 1;
                    assert_eq!(pasid, 0, "the device has no PASIDs and need not answer");
                    self.atc.retain(|(of, by, page), _| {
                        (*of, *by) != (OURS, device)
                            || by_pasid
                            || *page < first
                            || page - first >= count
                    });
                }
                ours.is_some()
            }
        };
        assert!(is_ours, "{words:x?} is not about the guest");
    }

    /// Returns what the guest has cached that is not in memory any more.
    pub(super) fn stale(&self) -> Option<String> {
        let memory = &self.guests[OURS];
        for (place, iommu) in self.iommus.iter().enumerate() {
            let domain = |id: u16| {
                let mut domains = DOMAINS.into_iter();
                domains.find(|domain| domain_id(place, OURS, *domain) == id)
            };
            for (id, cached) in &iommu.cached_dtes {
                if *cached != iommu.dtes[id] {
                    return Some(format!("DTE {id:x} of {place}"));
                }
            }
            for ((id, pasid), cached) in &iommu.cached_gcr3 {
                let Some(domain) = domain(*id) else { continue };
                if *cached != memory.gcr3[&(root_of(domain), *pasid)] {
                    return Some(format!("GCR3 {id:x} {pasid:x}"));
                }
            }
            for ((id, pasid, number), cached) in &iommu.cached_directories {
                let Some(domain) = domain(*id) else { continue };
                let table = memory.gcr3[&(root_of(domain), *pasid)];
                let directories = &memory.tables[table as usize].directories;
                if *cached != directories.get(number).copied().unwrap_or(0) {
                    return Some(format!("directory {id:x} {pasid:x} {number:x}"));
                }
            }
            for ((id, pasid, page), cached) in &iommu.tlb {
                let (Some(domain), Some(pasid)) = (domain(*id), pasid) else {
                    continue;
                };
                if *cached != memory.walk(root_of(domain), *pasid, *page) {
                    return Some(format!("TLB {id:x} {pasid:x} {page:x}"));
                }
            }
        }
        for ((guest, device, page), cached) in &self.atc {
            if *guest != OURS {
                continue;
            }
            let place = self.iommu_of(*device);
            let dte = self.iommus[place].dtes[&device_id(place, OURS, *device)];
            let expected = decode(&dte, None).map(|(_, pasid, root)| match pasid {
                None => Translation::Second,
                Some(pasid) => memory.walk(root, pasid, *page),
            });
            if expected != Some(*cached) {
                return Some(format!("ATC of {device}: {page:x}"));
            }
        }
        None
    }

    /// Returns how much is cached of the other guest.
    pub(super) fn cached_of_other(&self) -> usize {
        let mut count = 0;
        for (place, iommu) in self.iommus.iter().enumerate() {
            let ids = DOMAINS.map(|domain| domain_id(place, 1, domain));
            count += iommu.tlb.keys().filter(|(id, ..)| ids.contains(id)).count();
        }
        count
    }
}

/// Returns by what an entry has a request with this PASID translated: domain ID, PASID and GCR3
/// table. `None` if the request is refused.
fn decode(dte: &Dte, pasid: Option<u64>) -> Option<(u16, Option<u64>, u64)> {
    assert_eq!(bits(dte, 0, 0), 1, "DMA would not be translated");
    assert_eq!(
        bits(dte, 51, 9),
        0xabc << 3 | 4,
        "it is not the host's second stage"
    );
    if bits(dte, 1, 1) == 0 {
        return None;
    }
    let domain = bits(dte, 79, 64) as u16;
    if bits(dte, 55, 55) == 0 {
        return pasid.is_none().then_some((domain, None, 0));
    }
    let root = bits(dte, 60, 58) << 12 | bits(dte, 95, 80) << 15 | bits(dte, 127, 107) << 31;
    let pasid = pasid.or((bits(dte, 54, 54) == 1).then_some(0));
    Some((domain, pasid, root))
}

pub(super) struct Hardware(pub(super) RefCell<World>);

impl Iommus for Hardware {
    fn domain(&self, iommu: usize, from: u16) -> Option<(u16, u16)> {
        let domain = DOMAINS.into_iter().find(|domain| *domain >= from)?;
        Some((domain, domain_id(iommu, OURS, domain)))
    }

    fn device(&self, iommu: usize, from: u16) -> Option<(u16, Device)> {
        let world = self.0.borrow();
        let mut devices = (0..DEVICES).filter(|device| world.iommu_of(*device) == iommu);
        let device = devices.find(|device| virtual_id(*device) >= from)?;
        let device_id = device_id(iommu, OURS, device);
        let found = Device {
            device_id,
            queue_depth: 32,
            ats: bits(&world.iommus[iommu].dtes[&device_id], 96, 96) == 1,
        };
        Some((virtual_id(device), found))
    }

    fn submit(&self, iommu: usize, commands: &mut [Physical]) -> Result<u64> {
        let mut world = self.0.borrow_mut();
        let (_, commands) = commands.split_last().expect("there is room for the wait");
        for command in commands {
            world.iommus[iommu].pending.push_back((*command).into());
            world.iommus[iommu].submitted += 1;
        }
        for _ in 0..world.random.within(0..=2) {
            world.traffic(2);
            world.step(iommu);
        }
        Ok(world.iommus[iommu].submitted)
    }

    fn wait(&self, iommu: usize, submission: u64) -> Result {
        let mut world = self.0.borrow_mut();
        while world.iommus[iommu].executed < submission {
            world.traffic(1);
            world.step(iommu);
        }
        Ok(())
    }
}
