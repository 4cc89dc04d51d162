// SPDX-License-Identifier: GPL-2.0-only

//! A model of IOMMUs, of the devices behind them, of the memory of two guests, and of what the
//! driver keeps of their first stages.
//!
//! An IOMMU walks what is in memory: PASID table entries, which have what the backend fills in, and
//! a guest's first-stage tables. It caches all that it may at each step, tagged by what the
//! specification tags it by, and drops only what a descriptor says. It carries out descriptors in
//! order; devices translate meanwhile.
//!
//! The driver's part is that of Linux: domain IDs, of which one that has become free is used again,
//! the list of caches of a first stage, and what an attach invalidates.

use std::{
    cell::{
        Cell,
        RefCell, //
    },
    collections::{
        BTreeMap,
        BTreeSet, //
    }, //
};

use kernel::prelude::*;

use crate::{
    drivers::vtd::{
        batch::{
            Caches,
            Walk,
            MAX, //
        },
        descriptor::{
            Cache,
            Descriptor, //
        },
        first_stage::{
            Entry,
            FirstStage, //
        }, //
    },
    tests::{
        random::Random,
        vtd::FULL, //
    }, //
};

/// Guests: the first is the one under test.
pub(super) const GUESTS: usize = 2;
pub(super) const OURS: usize = 0;
/// First stages of each guest.
pub(super) const STAGES: usize = 3;
/// Devices of each guest. All devices have numbers, those of the first guest come first.
const DEVICES: usize = 4;
const PASIDS: [u32; 3] = [0, 5, 0xf_edcb];
const IOMMUS: usize = 2;
/// Pages that devices use: some neighbours, at a few places.
pub(super) const PLACES: [u64; 4] = [0, 0x1fe, 0x7_ffff, (1 << 36) - 4];
pub(super) const NEIGHBOURS: u64 = 12;

/// What the driver has in an entry beside the domain ID: present, nested translation, and the second
/// stage (9.6). Word 1 has bits of the second stage too.
const HOST: [u64; 2] = [1 | 3 << 6 | 2 << 2 | 0xabc << 12, 1 << 23];

/// What a device gets for an address: the root of the guest's tables, and the contents of the
/// directory and of the leaf.
type Translation = (u64, u64, u64);

/// A guest's tables.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) directories: BTreeMap<u64, u64>,
    pub(super) leaves: BTreeMap<u64, u64>,
}

/// A cache that the driver has in the list of a first stage.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag {
    iommu: usize,
    did: u16,
    pasid: u32,
    /// For the TLB of a device.
    device: Option<usize>,
}

/// A first stage.
struct Stage {
    root: u64,
    flags: u64,
    width: u32,
    tables: Tables,
    /// The domain ID on each IOMMU, and how many devices and PASIDs have it.
    dids: [Option<(u16, usize)>; IOMMUS],
    /// Those of an IOMMU follow each other. With how many users.
    tags: Vec<(Tag, usize)>,
}

#[derive(Default)]
struct Iommu {
    dids: BTreeSet<u16>,
    /// PASID table entries of devices.
    entries: BTreeMap<(usize, u32), Entry>,
    cached_entries: BTreeMap<(usize, u32), Entry>,
    /// By domain ID, PASID and number.
    directories: BTreeMap<(u16, u32, u64), u64>,
    /// By domain ID, PASID and page.
    tlb: BTreeMap<(u16, u32, u64), Translation>,
}

pub(super) struct World {
    pub(super) random: Random,
    stages: Vec<Vec<Stage>>,
    iommus: Vec<Iommu>,
    /// The first stage that each PASID of each device has.
    attached: BTreeMap<(usize, u32), usize>,
    /// What devices have cached, by PASID and page.
    device_tlbs: BTreeMap<(usize, u32, u64), Translation>,
    writes: u64,
}

fn guest_of(device: usize) -> usize {
    device / DEVICES
}

fn iommu_of(device: usize) -> usize {
    device % IOMMUS
}

fn has_ats(device: usize) -> bool {
    device % DEVICES != 0
}

/// How often a device needs each descriptor.
fn times(device: usize) -> usize {
    1 + usize::from(device % DEVICES == 2)
}

fn device_tlb(device: usize, pasid: u32) -> Cache {
    let sid = 0x0100 + 9 * device as u16;
    Cache::Device {
        pasid,
        sid,
        pfsid: sid & !7,
        qdep: if device % DEVICES == 1 { 32 } else { 8 },
    }
}

/// What a descriptor invalidates.
struct Named {
    cache: Cache,
    first: u64,
    count: u128,
    leaf_only: bool,
}

impl Named {
    /// Reads a descriptor (6.5.2.4 to 6.5.2.6). Panics if it is not a legal one.
    fn of(descriptor: Descriptor) -> Self {
        let [head, address, zero, zero_too] = descriptor;
        assert_eq!((zero, zero_too), (0, 0));
        match head & 0xf {
            6 => {
                assert_eq!(head & !(0xf | 3 << 4 | 0xffff << 16 | 0xfffff << 32), 0);
                let cache = Cache::Iotlb {
                    did: (head >> 16) as u16,
                    pasid: (head >> 32) as u32,
                };
                let (first, count, leaf_only) = match head >> 4 & 3 {
                    2 => {
                        assert_eq!(address, 0);
                        (0, 1 << 52, false)
                    }
                    3 => {
                        let mask = address as u32 & 0x3f;
                        assert!(mask <= 18, "QEMU's refuses it");
                        assert_eq!(address & 0xf80, 0);
                        let first = address >> 12;
                        assert_eq!(first & ((1 << mask) - 1), 0);
                        (first, 1u128 << mask, address & 1 << 6 != 0)
                    }
                    other => panic!("granularity {other}"),
                };
                Self {
                    cache,
                    first,
                    count,
                    leaf_only,
                }
            }
            kind @ (3 | 8) => {
                let size = if kind == 3 { 1 } else { 1 << 11 };
                assert_eq!(address & 0xfff & !size, 0);
                let ones = (address >> 12).trailing_ones();
                let (first, count) = if address & size == 0 {
                    (address >> 12, 1)
                } else {
                    // The lowest clear bit is cleared already, those below it are not the address's.
                    let first = (address >> 12) & !((1 << ones) - 1);
                    (if ones == 51 { 0 } else { first }, 2u128 << ones)
                };
                let pfsid = (head >> 12 & 0xf) as u16 | (head >> 52 << 4) as u16;
                let (pasid, sid, qdep) = if kind == 3 {
                    (0, head >> 32, head >> 16)
                } else {
                    ((head >> 32) as u32 & 0xfffff, head >> 16, head >> 4)
                };
                let cache = Cache::Device {
                    pasid,
                    sid: sid as u16,
                    pfsid,
                    qdep: qdep as u8 & 0x1f,
                };
                Self {
                    cache,
                    first,
                    count,
                    leaf_only: false,
                }
            }
            other => panic!("type {other}"),
        }
    }

    fn has(&self, page: u64) -> bool {
        page >= self.first && u128::from(page - self.first) < self.count
    }

    /// Returns whether any page is of the directory `number`.
    fn overlaps(&self, number: u64) -> bool {
        let start = u128::from(number) << 9;
        let first = u128::from(self.first);
        start < first + self.count && start + 512 > first
    }
}

impl Tables {
    fn walk(&self, root: u64, page: u64) -> Translation {
        let directory = self.directories.get(&(page >> 9)).copied();
        let leaf = self.leaves.get(&page).copied();
        (root, directory.unwrap_or(0), leaf.unwrap_or(0))
    }
}

impl Stage {
    /// Makes the entry that the driver installs, with the second stage of the host.
    fn entry(&self, did: u16) -> Entry {
        let mut entry = [HOST[0], HOST[1] | u64::from(did), 0, 0, 0, 0, 0, 0];
        let made = FirstStage::new(self.flags, self.root, self.width, 0, u64::MAX, &FULL);
        made.expect("the first stage is valid").fill(&mut entry);
        entry
    }

    /// Puts a cache into the list, or counts one user more.
    fn add_tag(&mut self, tag: Tag) {
        if let Some((_, users)) = self.tags.iter_mut().find(|(known, _)| *known == tag) {
            *users += 1;
            return;
        }
        let like = |(known, _): &(Tag, usize)| known.iommu == tag.iommu;
        let place = self.tags.iter().rposition(like).map_or(0, |last| last + 1);
        self.tags.insert(place, (tag, 1));
    }

    fn remove_tag(&mut self, tag: Tag) {
        let place = self.tags.iter().position(|(known, _)| *known == tag);
        let place = place.expect("the cache is in the list");
        self.tags[place].1 -= 1;
        if self.tags[place].1 == 0 {
            self.tags.remove(place);
        }
    }
}

impl World {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut random = Random::from(random.number());
        let mut stage = |guest: usize, number: usize| Stage {
            root: 1 << 50 | ((guest * STAGES + number + 1) as u64) << 12,
            flags: random.within(0..=7),
            width: *random.pick(&[48, 57]),
            tables: Tables::default(),
            dids: [None; IOMMUS],
            tags: Vec::new(),
        };
        let stages: Vec<Vec<_>> = (0..GUESTS)
            .map(|guest| (0..STAGES).map(|number| stage(guest, number)).collect())
            .collect();
        let mut world = Self {
            random,
            stages,
            iommus: (0..IOMMUS).map(|_| Iommu::default()).collect(),
            attached: BTreeMap::new(),
            device_tlbs: BTreeMap::new(),
            writes: 0,
        };
        for _ in 0..GUESTS * DEVICES * PASIDS.len() {
            world.attach_any();
        }
        world
    }

    /// Returns the caches that a PASID of a device has translations of a first stage in.
    fn tags_of(device: usize, pasid: u32, did: u16) -> impl Iterator<Item = Tag> {
        let places = [Some(None), has_ats(device).then_some(Some(device))];
        places.into_iter().flatten().map(move |device_tlb| Tag {
            iommu: iommu_of(device),
            did,
            pasid,
            device: device_tlb,
        })
    }

    /// Attaches any PASID of any device to any first stage of its guest, or detaches it.
    pub(super) fn attach_any(&mut self) {
        let device = self.random.within(0..=(GUESTS * DEVICES) as u64 - 1) as usize;
        let pasid = *self.random.pick(&PASIDS);
        let stage = self.random.within(0..=STAGES as u64) as usize;
        self.attach(device, pasid, (stage < STAGES).then_some(stage));
    }

    fn attach(&mut self, device: usize, pasid: u32, stage: Option<usize>) {
        let (guest, place) = (guest_of(device), iommu_of(device));
        let mut entry = None;
        if let Some(stage) = stage {
            let stage = &mut self.stages[guest][stage];
            let taken = &mut self.iommus[place].dids;
            let (did, users) = stage.dids[place].get_or_insert_with(|| {
                let did = (1..).find(|did| !taken.contains(did)).expect("one is free");
                taken.insert(did);
                (did, 0)
            });
            *users += 1;
            let did = *did;
            Self::tags_of(device, pasid, did).for_each(|tag| stage.add_tag(tag));
            entry = Some(stage.entry(did));
        }
        // The old entry is torn down, with all that was cached by its domain ID.
        let iommu = &mut self.iommus[place];
        if let Some(old) = iommu.entries.remove(&(device, pasid)) {
            let gone = old[1] as u16;
            iommu.cached_entries.remove(&(device, pasid));
            iommu.tlb.retain(|(did, ..), _| *did != gone);
            iommu.directories.retain(|(did, ..), _| *did != gone);
            let of = (device, pasid);
            self.device_tlbs.retain(|key, _| (key.0, key.1) != of);
        }
        iommu
            .entries
            .extend(entry.map(|entry| ((device, pasid), entry)));
        let old = match stage {
            Some(stage) => self.attached.insert((device, pasid), stage),
            None => self.attached.remove(&(device, pasid)),
        };
        let Some(old) = old else { return };
        let old = &mut self.stages[guest][old];
        let (did, users) = old.dids[place].as_mut().expect("it has one");
        let did = *did;
        *users -= 1;
        if *users == 0 {
            old.dids[place] = None;
            self.iommus[place].dids.remove(&did);
        }
        Self::tags_of(device, pasid, did).for_each(|tag| old.remove_tag(tag));
    }

    pub(super) fn any_page(&mut self) -> u64 {
        *self.random.pick(&PLACES) + self.random.within(0..=NEIGHBOURS - 1)
    }

    /// Returns the tables of a first stage under test, and a number that was not written yet.
    pub(super) fn tables(&mut self, stage: usize) -> (&mut Tables, u64) {
        self.writes += 1;
        (&mut self.stages[OURS][stage].tables, self.writes)
    }

    /// Returns the first stage that an entry has, and the domain ID. Panics if the entry lets the
    /// device use another guest's memory.
    fn decode(&self, device: usize, entry: &Entry) -> (&Stage, u16) {
        let [word0, word1, word2, rest @ ..] = *entry;
        let host = [word0, word1 & !0xffff];
        assert_eq!(host, HOST, "it is not the host's second stage");
        assert_eq!(rest, [0; 5]);
        let mut stages = self.stages[guest_of(device)].iter();
        let stage = stages.find(|stage| stage.root == word2 & !0xfff);
        let stage = stage.expect("the tables are the guest's");
        // FSPM, SRE, EAFE; WPE is about supervisors.
        let supervisor = stage.flags & 1;
        let expected = supervisor
            | u64::from(stage.width == 57) << 2
            | (stage.flags >> 2 & supervisor) << 4
            | (stage.flags >> 1 & 1) << 7;
        assert_eq!(word2 & 0xfff, expected);
        (stage, word1 as u16)
    }

    /// Has a device translate an address. Fills the caches.
    fn translate(&mut self, device: usize, pasid: u32, page: u64) {
        if self.device_tlbs.contains_key(&(device, pasid, page)) {
            return;
        }
        let place = iommu_of(device);
        let key = (device, pasid);
        let Some(in_memory) = self.iommus[place].entries.get(&key).copied() else {
            return;
        };
        let cached = &mut self.iommus[place].cached_entries;
        let entry = *cached.entry(key).or_insert(in_memory);
        let (stage, did) = self.decode(device, &entry);
        let (root, directory, leaf) = stage.tables.walk(stage.root, page);
        let iommu = &mut self.iommus[place];
        let translation = match iommu.tlb.get(&(did, pasid, page)) {
            Some(cached) => *cached,
            None => {
                let directories = &mut iommu.directories;
                let cached = directories.entry((did, pasid, page >> 9));
                (root, *cached.or_insert(directory), leaf)
            }
        };
        iommu.tlb.insert((did, pasid, page), translation);
        if has_ats(device) {
            self.device_tlbs.insert((device, pasid, page), translation);
        }
    }

    /// Lets devices translate addresses.
    pub(super) fn traffic(&mut self, count: u64) {
        for _ in 0..count {
            let device = self.random.within(0..=(GUESTS * DEVICES) as u64 - 1) as usize;
            let pasid = *self.random.pick(&PASIDS);
            let page = self.any_page();
            self.translate(device, pasid, page);
        }
    }

    /// Carries out a descriptor about a first stage. Panics if it is about anything else.
    fn execute(&mut self, place: usize, stage: usize, descriptor: Descriptor) {
        let named = Named::of(descriptor);
        let tags = &self.stages[OURS][stage].tags;
        match named.cache {
            Cache::Iotlb { did, pasid } => {
                let is_ours = tags.iter().any(|(tag, _)| {
                    tag.device.is_none() && (tag.iommu, tag.did, tag.pasid) == (place, did, pasid)
                });
                assert!(is_ours, "{:?} is not the guest's", named.cache);
                let iommu = &mut self.iommus[place];
                let keep = |by: (u16, u32), has: bool| by != (did, pasid) || !has;
                iommu
                    .tlb
                    .retain(|key, _| keep((key.0, key.1), named.has(key.2)));
                if !named.leaf_only {
                    iommu
                        .directories
                        .retain(|key, _| keep((key.0, key.1), named.overlaps(key.2)));
                }
            }
            Cache::Device { pasid, .. } => {
                let device = tags.iter().find_map(|(tag, _)| {
                    let device = tag.device.filter(|_| tag.iommu == place)?;
                    let Cache::Device {
                        sid, pfsid, qdep, ..
                    } = device_tlb(device, pasid)
                    else {
                        return None;
                    };
                    let said = Cache::Device {
                        pasid: tag.pasid,
                        sid,
                        pfsid,
                        qdep: qdep & 0x1f,
                    };
                    (said == named.cache).then_some(device)
                });
                let device =
                    device.unwrap_or_else(|| panic!("{:?} is not the guest's", named.cache));
                self.device_tlbs
                    .retain(|key, _| (key.0, key.1) != (device, pasid) || !named.has(key.2));
            }
        }
    }

    /// Returns what the guest has cached that is not in memory any more.
    pub(super) fn stale(&self) -> Option<String> {
        for (place, iommu) in self.iommus.iter().enumerate() {
            if iommu
                .cached_entries
                .iter()
                .any(|(key, entry)| iommu.entries.get(key) != Some(entry))
            {
                return Some(format!("an entry of {place}"));
            }
            for stage in &self.stages[OURS] {
                let Some((did, _)) = stage.dids[place] else {
                    continue;
                };
                for (key, cached) in iommu.tlb.iter().filter(|(key, _)| key.0 == did) {
                    if *cached != stage.tables.walk(stage.root, key.2) {
                        return Some(format!("TLB of {place}: {key:x?}"));
                    }
                }
                for (key, cached) in iommu.directories.iter().filter(|(key, _)| key.0 == did) {
                    if *cached != stage.tables.walk(stage.root, key.2 << 9).1 {
                        return Some(format!("directory of {place}: {key:x?}"));
                    }
                }
            }
        }
        let ours = self
            .device_tlbs
            .iter()
            .filter(|(key, _)| guest_of(key.0) == OURS);
        for ((device, pasid, page), cached) in ours {
            let entry = self.iommus[iommu_of(*device)]
                .entries
                .get(&(*device, *pasid));
            let now = entry.map(|entry| {
                let (stage, _) = self.decode(*device, entry);
                stage.tables.walk(stage.root, *page)
            });
            if now != Some(*cached) {
                return Some(format!("TLB of device {device}: {pasid:x} {page:x}"));
            }
        }
        None
    }

    /// Returns how much is cached for first stages that are not `stage`.
    pub(super) fn cached_of_others(&self, stage: usize) -> usize {
        let dids = self.stages[OURS][stage].dids;
        let mut count = 0;
        for (iommu, did) in self.iommus.iter().zip(dids) {
            let did = did.map(|(did, _)| did);
            count += iommu.tlb.keys().filter(|key| Some(key.0) != did).count();
            count += iommu
                .directories
                .keys()
                .filter(|key| Some(key.0) != did)
                .count();
        }
        let of_other = |key: &&(usize, u32, u64)| {
            guest_of(key.0) != OURS || self.attached.get(&(key.0, key.1)) != Some(&stage)
        };
        count + self.device_tlbs.keys().filter(of_other).count()
    }
}

/// The driver, asked to invalidate a first stage.
pub(super) struct Queue<'a> {
    pub(super) world: &'a RefCell<World>,
    pub(super) stage: usize,
    pub(super) submissions: Cell<u32>,
}

impl Queue<'_> {
    fn submit(&self, iommu: usize, descriptors: &mut Vec<Descriptor>) {
        self.submissions.set(self.submissions.get() + 1);
        for descriptor in descriptors.drain(..) {
            let mut world = self.world.borrow_mut();
            world.traffic(1);
            world.execute(iommu, self.stage, descriptor);
        }
    }
}

impl Caches for Queue<'_> {
    fn invalidate(&self, walk: &Walk<'_>) -> Result {
        let (tags, most) = {
            let mut world = self.world.borrow_mut();
            let tags = world.stages[OURS][self.stage].tags.clone();
            (tags, *world.random.pick(&[1, 16, MAX]))
        };
        let mut submitted: Vec<Descriptor> = Vec::new();
        let mut current: Option<usize> = None;
        for (tag, _) in tags {
            if let Some(iommu) = current.filter(|iommu| *iommu != tag.iommu) {
                if !submitted.is_empty() {
                    self.submit(iommu, &mut submitted);
                }
            }
            current = Some(tag.iommu);
            let (cache, times) = match tag.device {
                None => {
                    let (did, pasid) = (tag.did, tag.pasid);
                    (Cache::Iotlb { did, pasid }, 1)
                }
                Some(device) => (device_tlb(device, tag.pasid), times(device)),
            };
            let mut from = 0;
            loop {
                if submitted.len() == most {
                    self.submit(tag.iommu, &mut submitted);
                }
                let room = most - submitted.len();
                let made = walk.encode(&cache, times, from, room, |_, made| submitted.push(made));
                if made == 0 {
                    break;
                }
                from += made;
            }
        }
        if let Some(iommu) = current.filter(|_| !submitted.is_empty()) {
            self.submit(iommu, &mut submitted);
        }
        Ok(())
    }

    fn submissions(&self) -> u32 {
        self.submissions.get()
    }
}
