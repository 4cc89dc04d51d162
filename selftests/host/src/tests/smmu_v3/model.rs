// SPDX-License-Identifier: GPL-2.0-only

//! The effect of a guest's stream table entries, tables and invalidations, on a [model](World) of
//! the SMMUs: after the guest's commands are complete, no device gets a translation that is no
//! longer in memory.

use std::cell::RefCell;

use kernel::prelude::*;

use crate::{
    drivers::smmu_v3::{
        batch,
        command::{
            Rules,
            Words, //
        },
        features::Features,
        pending::MAX_ISSUED, //
    },
    kapi::iommu::invalidate::Invalidated,
    tests::{
        random::{
            cases,
            Random, //
        },
        smmu_v3::{
            absence::{
                is_about_device,
                SlowMemory, //
            },
            batch::Memory,
            scope::{
                entry_shift,
                with, //
            },
            world::{
                Cd,
                Hardware,
                Pte,
                World,
                BLOCKS,
                DEVICES,
                GUESTS,
                OURS,
                TABLES, //
            }, //
        }, //
    }, //
};

fn world(random: &mut Random) -> World {
    let mut world = World::new(random);
    for guest in 0..GUESTS {
        for _ in 0..20 {
            change_entry(&mut world, guest);
        }
    }
    world
}

/// Returns CMD_ATC_INV for 2^`size` pages that a device has cached, with any substream and without.
fn device_caches(world: &mut World, device: u32, size: u64, address: u64) -> Vec<Words> {
    let command = with([0x40, 0], 63, 32, World::vsid(device).into());
    let command = with(with(command, 69, 64, size), 127, 76, address >> 12);
    let global = world.random.one_in(3);
    let mut commands = Vec::new();
    for substream in world.substreams(device) {
        commands.push(match substream {
            None => command,
            // SSV, G
            Some(_) if global => with(with(command, 11, 11, 1), 9, 9, 1),
            Some(ssid) => with(with(command, 11, 11, 1), 31, 12, ssid.into()),
        });
    }
    commands.truncate(if global { 2 } else { commands.len() });
    commands
}

/// Sets an entry of a table of a guest, or of all its tables if it is global. Returns the commands
/// that the guest must issue.
fn change_entry(world: &mut World, guest: usize) -> Vec<Words> {
    let address = world.address(guest);
    let table = world.random.within(0..=TABLES as u64 - 1) as usize;
    let output = world.random.within(1..=0xffff) << 32;
    let present = !world.random.one_in(4);
    let memory = &mut world.guests[guest];
    let global = memory.is_global(address);
    let pte = Pte { output, global };
    let block = 1 << entry_shift(memory.granule, 2);
    let level = if address < BLOCKS * block { 2 } else { 3 };
    let shift = entry_shift(memory.granule, level);
    let start = address >> shift << shift;
    for (nth, entries) in memory.tables.iter_mut().enumerate() {
        match present {
            _ if nth != table && !global => {}
            true => drop(entries.insert((level, start), pte)),
            false => drop(entries.remove(&(level, start))),
        }
    }
    // Of a global entry the ASID does not matter.
    let (granule, asid) = (memory.granule, u64::from(memory.asids[table]));
    let mut commands = vec![by_address(world, asid, granule, level, start)];
    for device in (0..DEVICES).filter(|device| World::has_ats(*device)) {
        let size = u64::from(shift) - 12;
        commands.extend(device_caches(world, device, size, start));
    }
    commands
}

/// Returns CMD_TLBI_NH_VA or CMD_TLBI_NH_VAA for an entry, in one of the forms that a guest may
/// use.
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

/// Returns the commands for context descriptors of a device that have changed. `leaf` says that
/// nothing else has.
fn descriptors(world: &mut World, device: u32, ssids: &[u32], leaf: bool) -> Vec<Words> {
    let command = |opcode| with([opcode, 0], 63, 32, World::vsid(device).into());
    if world.random.one_in(3) {
        return vec![command(0x06)];
    }
    let leaf = u64::from(leaf && world.random.one_in(2));
    let one = |ssid: &u32| with(with(command(0x05), 31, 12, (*ssid).into()), 64, 64, leaf);
    ssids.iter().map(one).collect()
}

/// Returns the commands for all that a device has cached, if it has ATS.
fn all_of_device(world: &mut World, device: u32) -> Vec<Words> {
    if World::has_ats(device) {
        device_caches(world, device, 52, 0)
    } else {
        Vec::new()
    }
}

/// Makes a device, or a substream of it, use another table. Returns the commands that the guest
/// must issue.
fn change_cd(world: &mut World, device: u32) -> Vec<Words> {
    let (table, nth) = (
        world.random.within(0..=TABLES as u64 - 1) as usize,
        world.random.within(0..=1),
    );
    let ssids = world.ssids(device);
    let ssid = *world.random.pick(&ssids);
    let place = *world.random.pick(&World::places(device, nth, ssid));
    let memory = &mut world.guests[OURS];
    let asid = memory.asids[table];
    memory.cds.insert(place, Cd { asid, table });
    let mut commands = descriptors(world, device, &[ssid], true);
    commands.extend(all_of_device(world, device));
    commands
}

/// Replaces a table of context descriptors of a device by another one. Returns the commands that
/// the guest must issue.
fn change_pointer(world: &mut World, device: u32) -> Vec<Words> {
    let nth = world.random.within(0..=1);
    let ssids = world.ssids(device);
    let (at, [one, other]) = World::pointer(device, nth, *world.random.pick(&ssids));
    let pointer = world.guests[OURS].pointers.entry(at).or_default();
    *pointer = if *pointer == one { other } else { one };
    let through = |ssid: &u32| World::pointer(device, nth, *ssid).0 == at;
    let ssids: Vec<_> = ssids.into_iter().filter(through).collect();
    let mut commands = descriptors(world, device, &ssids, false);
    commands.extend(all_of_device(world, device));
    commands
}

/// Exchanges the ASIDs of two tables. Translations cached through the old descriptors are then
/// tagged with the ASID of another table. Returns the commands that the guest must issue.
fn exchange_asids(world: &mut World) -> Vec<Words> {
    let table = world.random.within(0..=TABLES as u64 - 1) as usize;
    let whole = *world.random.pick(&[[0x10, 0], [0x30, 0], [0, 0]]);
    let memory = &mut world.guests[OURS];
    memory.asids.swap(0, table);
    for cd in memory.cds.values_mut() {
        cd.asid = memory.asids[cd.table];
    }
    let asids = [memory.asids[0], memory.asids[table]];
    let mut commands = Vec::new();
    for device in 0..DEVICES {
        let ssids = world.ssids(device);
        commands.extend(descriptors(world, device, &ssids, true));
    }
    if whole == [0, 0] {
        // Global entries remain, and remain right.
        commands.extend(asids.map(|asid| with([0x11, 0], 63, 48, asid.into())));
    } else {
        commands.push(whole);
    }
    for device in 0..DEVICES {
        commands.extend(all_of_device(world, device));
    }
    commands
}

/// Changes something of the guest's tables. Returns the commands that the guest must issue.
fn change(world: &mut World) -> Vec<Words> {
    let device = world.random.within(0..=u64::from(DEVICES) - 1) as u32;
    match world.random.within(0..=19) {
        0 | 1 => change_cd(world, device),
        2 => change_pointer(world, device),
        3 | 4 => exchange_asids(world),
        _ => change_entry(world, OURS),
    }
}

fn carry_out<const N: usize>(
    hardware: &Hardware,
    features: Features,
    commands: &[Words],
) -> Invalidated {
    let (rules, count) = (Rules::new(features), commands.len() as u32);
    let memory = Memory(commands);
    let mut source = SlowMemory { hardware, memory };
    batch::carry_out::<_, N>(hardware, &rules, &mut source, count)
}

/// Carries out commands as a VMM does: one about a device that is away is not needed any more.
fn carry_out_all(hardware: &Hardware, features: Features, mut commands: &[Words]) {
    loop {
        let Invalidated { done, result, .. } = if hardware.0.borrow_mut().random.one_in(4) {
            carry_out::<1>(hardware, features, commands)
        } else {
            carry_out::<MAX_ISSUED>(hardware, features, commands)
        };
        commands = &commands[done as usize..];
        let Some((refused, later)) = commands.split_first() else {
            assert_eq!(result, Ok(()));
            return;
        };
        let world = hardware.0.borrow();
        assert_eq!(result, Err(EIO));
        assert!(world.restless && is_about_device(*refused));
        if world.is_away(*refused) {
            commands = later;
        }
    }
}

/// Changes what is in the guest's memory, carries out the guest's commands, and checks what devices
/// get.
fn check_changes(hardware: &Hardware) {
    let mut world = hardware.0.borrow_mut();
    world.traffic(60);
    let mut commands = Vec::new();
    for _ in 0..world.random.within(1..=30) {
        if world.random.one_in(6) {
            let guest = world.random.within(0..=GUESTS as u64 - 1) as usize;
            let (device, _) = world.user();
            world.change_ste(guest, device);
        }
        commands.extend(change(&mut world));
        world.traffic(2);
    }
    let features = world.features;
    drop(world);
    carry_out_all(hardware, features, &commands);
    let mut world = hardware.0.borrow_mut();
    for device in 0..DEVICES {
        if world.slots[device as usize].is_none() {
            continue;
        }
        for substream in world.substreams(device) {
            for _ in 0..30 {
                let address = world.address(OURS);
                let expected = world.expected(OURS, device, substream, address);
                let got = world.translate(OURS, device, substream, address);
                let user = (device, substream);
                assert_eq!(got, expected, "{user:?}, address {address:#x}");
            }
        }
    }
    assert_eq!(world.foreign, 0, "somebody else was hit");
}

#[test]
fn no_device_gets_what_is_stale() {
    cases(400, |random| {
        let hardware = Hardware(RefCell::new(world(random)));
        for _ in 0..4 {
            check_changes(&hardware);
        }
    });
}

#[test]
fn devices_that_come_and_go() {
    cases(400, |random| {
        let mut world = world(random);
        world.restless = true;
        let hardware = Hardware(RefCell::new(world));
        for _ in 0..4 {
            check_changes(&hardware);
        }
    });
}

/// Returns whether a device gets what was there before a change, if no command is issued. `suits`
/// says which devices and addresses are looked at.
fn goes_stale(
    random: &mut Random,
    change: impl Fn(&mut World, u32),
    suits: impl Fn(&World, (u32, Option<u32>), u64) -> bool,
) -> bool {
    let mut world = world(random);
    (0..400).any(|_| {
        let (device, _) = world.user();
        if world.random.one_in(10) {
            world.change_ste(OURS, device);
        }
        world.traffic(20);
        change(&mut world, device);
        let (device, substream) = world.user();
        let address = world.address(OURS);
        suits(&world, (device, substream), address)
            && world.translate(OURS, device, substream, address)
                != world.expected(OURS, device, substream, address)
    })
}

#[test]
fn the_model_does_cache() {
    let seen = RefCell::new([0; 4]);
    let entry = |world: &mut World, _| drop(change_entry(world, OURS));
    let cd = |world: &mut World, device| drop(change_cd(world, device));
    let pointer = |world: &mut World, device| {
        change_pointer(world, device);
        world.forget_cds();
    };
    let global = |world: &World, _, address| world.guests[OURS].is_global(address);
    let other = |world: &World, _, address| !world.guests[OURS].is_global(address);
    let substream = |_: &World, (device, substream): (u32, Option<u32>), _| {
        !World::has_ats(device) && substream.is_some()
    };
    cases(100, |random| {
        let mut random = || Random::from(random.number());
        let found = [
            goes_stale(&mut random(), entry, other),
            goes_stale(&mut random(), entry, global),
            goes_stale(&mut random(), cd, substream),
            goes_stale(&mut random(), pointer, substream),
        ];
        for (seen, found) in seen.borrow_mut().iter_mut().zip(found) {
            *seen += usize::from(found);
        }
    });
    let seen = seen.into_inner();
    assert!(seen.iter().all(|seen| *seen > 10), "seen {seen:?}");
}
