// SPDX-License-Identifier: GPL-2.0-only

//! Random guests on the model of IOMMUs and devices.
//!
//! When the commands of a guest are complete, nothing is cached that is not in its memory any more.
//! No command drops what is cached of the other guest.

use std::cell::{
    Cell,
    RefCell, //
};

use crate::{
    drivers::amd_vi::command::Words,
    tests::{
        amd_vi::{
            batch::carry_out,
            bits,
            command::with_pasid,
            with,
            world::{
                root_of,
                virtual_id,
                Hardware,
                World,
                DEVICES,
                DOMAINS,
                OURS,
                PASIDS,
                TABLES, //
            }, //
        },
        random::cases, //
    }, //
};

const STEPS: usize = 100_000;
const CASES: usize = 50;

/// All addresses, and a range of a power of two of pages.
const ALL: (u64, u64) = (0, 1 << 52);

/// Returns INVALIDATE_IOMMU_PAGES or INVALIDATE_IOTLB_PAGES for pages, without an id.
fn pages(opcode: u64, pasid: Option<u64>, (first, count): (u64, u64)) -> Words {
    let words = with([0; 2], 63, 60, opcode);
    let words = pasid.map_or(words, |pasid| with_pasid(words, pasid));
    match count {
        1 => with(words, 127, 76, first),
        // Bit 63 is 0, all others are 1.
        count if count == 1 << 52 => with(with(words, 64, 64, 1), 126, 76, u64::MAX),
        count => with(with(words, 64, 64, 1), 127, 76, first | (count / 2 - 1)),
    }
}

fn domain_pages(domain: u16, pasid: Option<u64>, range: (u64, u64), pde: bool) -> Words {
    let words = with(pages(3, pasid, range), 47, 32, domain.into());
    with(words, 65, 65, pde.into())
}

/// Adds the commands for what devices of a domain have cached, as far as the guest has enabled ATS.
fn device_pages(
    world: &World,
    domain: u16,
    pasid: u64,
    range: (u64, u64),
    commands: &mut Vec<Words>,
) {
    for (device, dte) in world.guests[OURS].dtes.iter().enumerate() {
        if bits(dte, 79, 64) != u64::from(domain) || bits(dte, 96, 96) == 0 {
            continue;
        }
        let id = u64::from(virtual_id(device));
        commands.push(with(pages(4, Some(pasid), range), 15, 0, id));
        // Requests without a PASID are translated as PASID 0.
        if pasid == 0 && bits(dte, 54, 54) == 1 {
            commands.push(with(pages(4, None, range), 15, 0, id));
        }
    }
}

/// Writes an entry for each page of a range that devices use.
fn write(world: &mut World, table: u64, (first, count): (u64, u64), directory: bool) {
    let memory = &mut world.guests[OURS];
    memory.writes += 1;
    let table = &mut memory.tables[table as usize];
    if directory {
        table.directories.insert(first >> 9, memory.writes);
        return;
    }
    for page in first..first + count {
        table.leaves.insert(page, memory.writes);
    }
}

/// Adds the commands for a change of a table, for all address spaces that use it.
fn about_table(
    world: &mut World,
    table: u64,
    range: (u64, u64),
    directory: bool,
    commands: &mut Vec<Words>,
) {
    for domain in DOMAINS {
        for pasid in PASIDS {
            if world.guests[OURS].gcr3[&(root_of(domain), pasid)] != table {
                continue;
            }
            let pde = directory || world.random.one_in(4);
            commands.push(domain_pages(domain, Some(pasid), range, pde));
            device_pages(world, domain, pasid, range, commands);
        }
    }
}

/// Changes something, and adds the commands that the guest must issue for it. `last` are those that
/// it must issue behind all others: what a device caches through a new entry may be stale until all
/// that was changed before is complete.
fn change(world: &mut World, commands: &mut Vec<Words>, last: &mut Vec<Words>) {
    let table = world.random.within(0..=TABLES - 1);
    let domain = *world.random.pick(&DOMAINS);
    let page = world.page();
    match world.random.within(0..=19) {
        0 => {
            // All: memory of several kinds, and one command.
            write(world, table, (page, 1), false);
            write(world, table, (page >> 9 << 9, 512), true);
            let pasid = *world.random.pick(&PASIDS);
            world.guests[OURS]
                .gcr3
                .insert((root_of(domain), pasid), table);
            commands.push([8 << 60, 0]);
            for domain in DOMAINS {
                for pasid in PASIDS {
                    device_pages(world, domain, pasid, ALL, commands);
                }
            }
        }
        1 => {
            // A domain as a whole.
            for pasid in PASIDS {
                world.guests[OURS]
                    .gcr3
                    .insert((root_of(domain), pasid), table);
            }
            commands.push(domain_pages(domain, None, ALL, true));
            for pasid in PASIDS {
                device_pages(world, domain, pasid, ALL, commands);
            }
        }
        2 | 3 => {
            let pasid = *world.random.pick(&PASIDS);
            world.guests[OURS]
                .gcr3
                .insert((root_of(domain), pasid), table);
            commands.push(domain_pages(domain, Some(pasid), ALL, true));
            device_pages(world, domain, pasid, ALL, commands);
        }
        4 | 5 => {
            let device = world.random.within(0..=DEVICES as u64 - 1) as usize;
            world.set_dte(OURS, device);
            let id = u64::from(virtual_id(device));
            commands.push(with([2 << 60, 0], 15, 0, id));
            if bits(&world.guests[OURS].dtes[device], 96, 96) == 1 {
                for pasid in PASIDS.map(Some).into_iter().chain([None]) {
                    last.push(with(pages(4, pasid, ALL), 15, 0, id));
                }
            }
        }
        6 | 7 => {
            let range = (page >> 9 << 9, 512);
            write(world, table, range, true);
            about_table(world, table, range, true, commands);
        }
        8..=10 => {
            let count = 1 << world.random.within(1..=4);
            let range = (page & !(count - 1), count);
            write(world, table, range, false);
            about_table(world, table, range, false, commands);
        }
        _ => {
            write(world, table, (page, 1), false);
            about_table(world, table, (page, 1), false, commands);
        }
    }
    if world.random.one_in(4) {
        let flush = world.random.within(0..=1);
        commands.push(with([1 << 60 | 0x1000 | 1, 7], 2, 2, flush));
    }
}

#[test]
fn nothing_stale_nothing_foreign() {
    let (seen_stale, seen_foreign) = (Cell::new(0), Cell::new(0));
    cases(CASES as u64, |random| {
        let iommus = random.within(1..=3) as usize;
        let hardware = Hardware(RefCell::new(World::new(random, iommus)));
        for _ in 0..STEPS / CASES {
            let mut world = hardware.0.borrow_mut();
            world.traffic(8);
            let (mut commands, mut last) = (Vec::new(), Vec::new());
            for _ in 0..world.random.within(1..=3) {
                change(&mut world, &mut commands, &mut last);
                world.traffic(1);
            }
            commands.append(&mut last);
            seen_stale.set(seen_stale.get() + usize::from(world.stale().is_some()));
            seen_foreign.set(seen_foreign.get().max(world.cached_of_other()));
            drop(world);
            let outcome = match commands.len() {
                0..=16 => carry_out::<17>(&hardware, iommus, &commands, None),
                _ => carry_out::<65>(&hardware, iommus, &commands, None),
            };
            assert_eq!(
                (outcome.done as usize, outcome.result),
                (commands.len(), Ok(()))
            );
            let world = hardware.0.borrow();
            assert_eq!(world.stale(), None, "after {commands:x?}");
            assert_eq!(world.foreign, 0);
        }
    });
    // The caches do hold what the guest has changed, or the test would find nothing.
    assert!(seen_stale.get() > STEPS / 10, "{}", seen_stale.get());
    assert!(seen_foreign.get() > 100);
}
