// SPDX-License-Identifier: GPL-2.0-only

//! Memory, and which of it is pinned.
//!
//! Whenever a page is pinned it is somewhere else in memory, as one is that user space has replaced since it
//! was pinned last. So it is seen if a page is unpinned that another one stands for, or if a task got one
//! and another one is kept. A frame is pinned once and unpinned once.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    sync::{
        Mutex,
        MutexGuard, //
    }, //
};

use kernel::prelude::*;

/// The number of frames of one pin. Memory has no more pages.
const PIN: u64 = 1 << 6;
/// The number of frames of one memory.
const MEMORY: u64 = 1 << 16;

struct Memory {
    /// How often pages were pinned.
    pins: u64,
    /// The pages that are not there.
    absent: BTreeSet<u64>,
    /// The frames that are pinned.
    pinned: BTreeSet<u64>,
}

/// All memory that exists, by number. Models may run at once.
struct Ledger {
    next: u64,
    memory: BTreeMap<u64, Memory>,
}

/// It is no lock of the models: what is done under it has no order of its own.
static LEDGER: Mutex<Ledger> = Mutex::new(Ledger {
    next: 1,
    memory: BTreeMap::new(),
});

fn ledger() -> MutexGuard<'static, Ledger> {
    // A model that fails drops what it has.
    LEDGER.lock().unwrap_or_else(|error| error.into_inner())
}

/// Makes memory in which some pages are not there. Returns its number, which [`remove`] takes.
pub(crate) fn add(absent: &[u64]) -> u64 {
    let mut ledger = ledger();
    let number = ledger.next;
    ledger.next += 1;
    let memory = Memory {
        pins: 0,
        absent: absent.iter().copied().collect(),
        pinned: BTreeSet::new(),
    };
    ledger.memory.insert(number, memory);
    number
}

/// Removes memory. Returns how many of its frames are pinned.
pub(crate) fn remove(number: u64) -> usize {
    let removed = ledger().memory.remove(&number);
    removed.map_or(0, |memory| memory.pinned.len())
}

/// Returns where the page `index` of a memory is from now on, and the pages behind it. Returns how many
/// of these are there, of `npages`.
pub(crate) fn place(number: u64, index: u64, npages: u64) -> (u64, u64) {
    let mut ledger = ledger();
    let memory = ledger.memory.get_mut(&number).expect("there is memory");
    memory.pins += 1;
    assert!(index + npages <= PIN && memory.pins * PIN < MEMORY);
    let there = (index..index + npages).take_while(|page| !memory.absent.contains(page));
    let there = there.count() as u64;
    (number * MEMORY + memory.pins * PIN + index, there)
}

/// Returns which page is in a frame.
pub(crate) fn page_in(pfn: u64) -> u64 {
    pfn % PIN
}

/// Pins frames.
pub(crate) fn pin(pfn: u64, npages: u64) {
    let mut ledger = ledger();
    let memory = ledger.memory.get_mut(&(pfn / MEMORY)).expect("memory");
    for pfn in pfn..pfn + npages {
        assert!(memory.pinned.insert(pfn), "a frame is pinned twice");
    }
}

/// Unpins frames.
pub(crate) fn unpin(pfn: u64, npages: u64) {
    let mut ledger = ledger();
    let unpinned = match ledger.memory.get_mut(&(pfn / MEMORY)) {
        Some(memory) => (pfn..pfn + npages).all(|pfn| memory.pinned.remove(&pfn)),
        None => false,
    };
    drop(ledger);
    assert!(
        unpinned || std::thread::panicking(),
        "a frame is unpinned that is not pinned"
    );
}

/// Whether a frame is pinned.
pub(crate) fn is_pinned(pfn: u64) -> bool {
    let ledger = ledger();
    let memory = ledger.memory.get(&(pfn / MEMORY));
    memory.is_some_and(|memory| memory.pinned.contains(&pfn))
}

/// Returns how many frames of a memory are pinned.
pub(crate) fn pinned(number: u64) -> u64 {
    ledger().memory[&number].pinned.len() as u64
}
