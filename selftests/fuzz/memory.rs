// SPDX-License-Identifier: GPL-2.0-only

//! Memory at fixed addresses: the arena, which programs map for devices, and the scratch memory, in
//! which the arguments of calls are. The same program has the same addresses in each run.

use std::sync::atomic::{
    AtomicI64,
    Ordering::Relaxed, //
};

use crate::sys::{
    self,
    c, //
};

pub(crate) const PAGE: u64 = 4096;

/// The arena: where it begins, and its pages.
pub(crate) const ARENA: u64 = 0x10_0000_0000;
pub(crate) const ARENA_PAGES: u64 = 64;

/// The pages of the arena that differ from the others, which are private anonymous memory.
pub(crate) const READ_ONLY: std::ops::Range<u64> = 32..40;
pub(crate) const SHARED: std::ops::Range<u64> = 40..48;
const HOLE: std::ops::Range<u64> = 48..52;

/// Memory beyond the arena that only programs of the tree use: much private memory, and the last file.
/// There is nothing in it when a program begins.
const BIG: u64 = ARENA + 0x1000_0000;
const BIG_SIZE: u64 = 96 << 20;
const BIG_SHARED: u64 = ARENA + 0x2000_0000;
const BIG_SHARED_SIZE: u64 = 4 << 20;

/// The scratch memory: its first page holds the struct of a call, the rest its arrays and buffers.
/// A page that may only be read, and one that does not exist, follow.
const SCRATCH: u64 = 0x20_0000_0000;
const SCRATCH_PAGES: u64 = 32;
/// No struct is larger, nor what VFIO writes behind one. What follows up to the fourth page is never written.
pub(crate) const LARGEST: usize = 512;
/// Where arguments are that are not there yet: pages of the file `FRESH`, mapped when the call is made.
const WINDOW: u64 = 40 * PAGE;
const WINDOW_PAGES: u64 = 16;
static FRESH: AtomicI64 = AtomicI64::new(-1);
/// How many threads there are, and how much scratch memory each has.
const LANES: u64 = 5;
const LANE: u64 = 64 * PAGE;

/// The files that programs may use, by number: memory, the same for reading only, a device, a pipe, much
/// memory, and memory that is mapped at `BIG_SHARED`.
pub(crate) const FILES: usize = 6;

pub(crate) struct Memory {
    shared: i64,
    pub(crate) files: [i64; FILES],
    /// What is in the arena at first, and its hash.
    initial: Vec<u8>,
    initial_hash: u64,
    /// The pages of the arena, a bit each, that a program mapped otherwise, so that it must be mapped anew.
    moved: u64,
    /// Whether it must be written.
    changed: bool,
}

/// The pages of the arena that can be read unless a program changes that: the address and the length of each part.
fn readable() -> [(u64, usize); 2] {
    let at = |pages: &std::ops::Range<u64>| {
        let (start, length) = (pages.start * PAGE, (pages.end - pages.start) * PAGE);
        (ARENA + start, length as usize)
    };
    [at(&(0..HOLE.start)), at(&(HOLE.end..ARENA_PAGES))]
}

fn must(what: &str, result: i64) -> i64 {
    if result < 0 {
        eprintln!("{what}: errno {}", -result);
        sys::exit(2);
    }
    result
}

impl Memory {
    pub(crate) fn new() -> Self {
        let shared = must("memfd_create", sys::memfd("fuzz", 0));
        must(
            "ftruncate",
            sys::truncate(shared, (SHARED.end - SHARED.start) * PAGE),
        );
        let (pipe, _) = sys::pipe().unwrap_or_default();
        let fresh = must("memfd_create", sys::memfd("fresh", 0));
        must(
            "ftruncate",
            sys::truncate(fresh, LANES * WINDOW_PAGES * PAGE),
        );
        FRESH.store(fresh, Relaxed);
        let big = must("memfd_create", sys::memfd("big", 0));
        must("ftruncate", sys::truncate(big, BIG_SIZE));
        let big_shared = must("memfd_create", sys::memfd("shared", 0));
        must("ftruncate", sys::truncate(big_shared, BIG_SHARED_SIZE));
        let files = [
            shared,
            must(
                "open",
                sys::open(&format!("/proc/self/fd/{shared}"), c::O_RDONLY),
            ),
            must("open", sys::open("/dev/zero", c::O_RDWR)),
            pipe,
            big,
            big_shared,
        ];
        let mut memory = Self {
            shared,
            files,
            initial: Vec::new(),
            initial_hash: 0,
            moved: u64::MAX,
            changed: false,
        };
        (0..LANES).for_each(Self::new_lane);
        let rw = c::PROT_READ | c::PROT_WRITE;
        let private = c::MAP_PRIVATE | c::MAP_ANONYMOUS | c::MAP_NORESERVE;
        must("mmap", sys::mmap(BIG, BIG_SIZE, rw, private, -1, 0));
        must(
            "mmap",
            sys::mmap(
                BIG_SHARED,
                BIG_SHARED_SIZE,
                rw,
                c::MAP_SHARED,
                big_shared,
                0,
            ),
        );
        memory.reset();
        for (address, length) in readable() {
            memory.initial.extend_from_slice(view(address, length));
        }
        memory.initial_hash = memory.hash_all();
        memory
    }

    fn new_lane(lane: u64) {
        let (at, flags) = (SCRATCH + lane * LANE, c::MAP_PRIVATE | c::MAP_ANONYMOUS);
        let rw = c::PROT_READ | c::PROT_WRITE;
        must(
            "mmap",
            sys::mmap(at, SCRATCH_PAGES * PAGE, rw, flags, -1, 0),
        );
        must(
            "mmap",
            sys::mmap(at + SCRATCH_PAGES * PAGE, PAGE, c::PROT_READ, flags, -1, 0),
        );
    }

    /// Writes what was in the readable pages at first, where something else is. They stay where they are
    /// in physical memory.
    fn restore(&mut self) {
        let mut rest = &self.initial[..];
        for (address, length) in readable() {
            let (initial, after) = rest.split_at(length);
            for (page, bytes) in initial.chunks(PAGE as usize).enumerate() {
                let at = address + page as u64 * PAGE;
                if bytes == view(at, bytes.len()) {
                    continue;
                }
                let is_read_only = READ_ONLY.contains(&((at - ARENA) / PAGE));
                if is_read_only {
                    must(
                        "mprotect",
                        sys::mprotect(at, PAGE, c::PROT_READ | c::PROT_WRITE),
                    );
                }
                put(at, bytes);
                if is_read_only {
                    must("mprotect", sys::mprotect(at, PAGE, c::PROT_READ));
                }
            }
            rest = after;
        }
        self.changed = false;
    }

    /// Makes the arena what it was at first, if `hash` found that it is not, and the scratch memory 0:
    /// the kernel reads as much of a struct as its size says, which may be more than was written.
    pub(crate) fn reset(&mut self) {
        let [.., big, big_shared] = self.files;
        sys::drop_pages(BIG, BIG_SIZE);
        for lane in 0..LANES {
            sys::drop_pages(SCRATCH + lane * LANE, SCRATCH_PAGES * PAGE);
        }
        let fresh = FRESH.load(Relaxed);
        sys::truncate(fresh, 0);
        sys::truncate(fresh, LANES * WINDOW_PAGES * PAGE);
        for (file, size) in [(big, BIG_SIZE), (big_shared, BIG_SHARED_SIZE)] {
            sys::truncate(file, 0);
            sys::truncate(file, size);
        }
        if self.moved != 0 {
            let (anonymous, rw) = (
                c::MAP_PRIVATE | c::MAP_ANONYMOUS,
                c::PROT_READ | c::PROT_WRITE,
            );
            must(
                "mmap",
                sys::mmap(ARENA, ARENA_PAGES * PAGE, rw, anonymous, -1, 0),
            );
            let at = |pages: &std::ops::Range<u64>| {
                (ARENA + pages.start * PAGE, (pages.end - pages.start) * PAGE)
            };
            let (start, length) = at(&SHARED);
            must(
                "mmap",
                sys::mmap(start, length, rw, c::MAP_SHARED, self.shared, 0),
            );
            self.fill();
            let (start, length) = at(&READ_ONLY);
            must("mprotect", sys::mprotect(start, length, c::PROT_READ));
            let (start, length) = at(&HOLE);
            must("munmap", sys::munmap(start, length));
            (self.moved, self.changed) = (0, false);
        } else if self.changed {
            self.restore();
        }
    }

    /// Says that a program changed how these pages of the arena are mapped, a bit each.
    pub(crate) fn set_moved(&mut self, pages: u64) {
        self.moved = pages;
    }

    /// Writes all pages that can be written, those with even numbers first. Pages that follow one
    /// another are then not in the same order in physical memory, in which they could have one entry
    /// of a page table. That would be another one in each run, and dirty bitmaps would show it.
    fn fill(&self) {
        let (even, odd) = ((0..ARENA_PAGES).step_by(2), (1..ARENA_PAGES).step_by(2));
        for page in even.chain(odd).filter(|page| !HOLE.contains(page)) {
            for word in page * PAGE / 8..(page + 1) * PAGE / 8 {
                let value = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                put(ARENA + word * 8, &value.to_le_bytes());
            }
        }
    }

    /// Returns a hash of the arena's pages that can be read, without those that the program mapped otherwise.
    pub(crate) fn hash(&mut self) -> u64 {
        if self.moved != 0 {
            self.hash_rest()
        } else if self.is_changed() {
            self.changed = true;
            self.hash_all()
        } else {
            self.initial_hash
        }
    }

    fn hash_all(&self) -> u64 {
        let [(first, length), (second, second_length)] = readable();
        hash(first, length as u64) ^ hash(second, second_length as u64).rotate_left(1)
    }

    /// Returns a hash of the pages that are mapped as at first.
    fn hash_rest(&self) -> u64 {
        let pages = (0..HOLE.start).chain(HOLE.end..ARENA_PAGES);
        let left = pages.filter(|page| self.moved >> page & 1 == 0);
        left.fold(0, |sum: u64, page| {
            sum.rotate_left(1) ^ hash(ARENA + page * PAGE, PAGE)
        })
    }

    /// Whether the pages differ from what is in them at first.
    fn is_changed(&self) -> bool {
        let mut rest = &self.initial[..];
        readable().into_iter().any(|(address, length)| {
            let (initial, after) = rest.split_at(length);
            rest = after;
            initial != view(address, length)
        })
    }
}

/// Returns memory of the arena, which must be readable. Nothing may write it while the result is
/// used.
fn view<'a>(address: u64, length: usize) -> &'a [u8] {
    // SAFETY: callers pass readable pages of the arena, while no call is made.
    unsafe { std::slice::from_raw_parts(address as *const u8, length) }
}

/// Returns a hash of memory, a word at a time. It must be readable.
pub(crate) fn hash(address: u64, length: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for at in (address..address + length / 8 * 8).step_by(8) {
        // SAFETY: callers pass readable memory of this file, to which there are no references.
        let word = unsafe { std::ptr::read_volatile(at as *const u64) };
        hash = (hash ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }
    for at in address + length / 8 * 8..address + length {
        // SAFETY: callers pass readable memory of this file, to which there are no references.
        let byte = unsafe { std::ptr::read_volatile(at as *const u8) };
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// Writes bytes to memory, which must be writable.
pub(crate) fn put(address: u64, bytes: &[u8]) {
    // SAFETY: callers pass writable memory of this file, or shared memory that mmap() returned, to
    // which there are no references.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

/// Reads a number of 1 to 8 bytes from memory, which must be readable.
pub(crate) fn get(address: u64, size: usize) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: callers pass readable memory of this file, or memory that mmap() returned, and at
    // most 8 bytes.
    unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), size.min(8)) };
    u64::from_le_bytes(bytes)
}

/// Returns a copy of memory, which must be readable.
pub(crate) fn copy(address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    // SAFETY: callers pass readable memory of this program that is used by raw pointers only.
    unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), length) };
    bytes
}

/// Whether a struct is where it can be written, where it can only be read, or where it is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Normal,
    /// The kernel cannot write its answer.
    ReadOnly,
    /// The last byte cannot be read.
    Cut,
    /// It can be read and written, as can its arrays, but the memory is mapped by the first access only.
    Fresh,
}

impl Place {
    /// Whether the kernel cannot write there.
    pub(crate) fn is_read_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::Cut)
    }
}

/// The scratch memory of one call. What is allocated is gone when the next call begins.
pub(crate) struct Scratch {
    base: u64,
    next: u64,
    end: u64,
    /// What is written to the file of fresh memory, if that is used, and where it begins there.
    fresh: Option<u64>,
}

impl Scratch {
    /// Returns the scratch memory of a thread.
    pub(crate) fn new(lane: u64) -> Self {
        let base = SCRATCH + lane * LANE;
        Self {
            base,
            next: base + 4 * PAGE,
            end: base + (SCRATCH_PAGES - 3) * PAGE,
            fresh: None,
        }
    }

    /// Returns scratch memory that is not mapped before the call is made.
    pub(crate) fn fresh(lane: u64) -> Self {
        let base = SCRATCH + lane * LANE + WINDOW;
        Self {
            base,
            next: base + 4 * PAGE,
            end: base + WINDOW_PAGES * PAGE,
            fresh: Some(lane * WINDOW_PAGES * PAGE),
        }
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        match self.fresh {
            Some(offset) => {
                let fresh = FRESH.load(Relaxed);
                sys::write_at(fresh, bytes, offset + (address - self.base));
            }
            None => put(address, bytes),
        }
    }

    /// Returns where a call is to write instead of `at`.
    pub(crate) fn target(&self, place: Place, at: u64) -> u64 {
        if place.is_read_only() {
            self.base + SCRATCH_PAGES * PAGE
        } else {
            at
        }
    }

    /// Returns the address of a buffer with that content, or nothing if it does not fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<u64> {
        let length = (bytes.len() as u64).next_multiple_of(16);
        let address = self.next;
        if address + length > self.end {
            return None;
        }
        self.next += length;
        self.put(address, bytes);
        Some(address)
    }

    /// Returns the address of the struct of a call, in which it has that content. What follows it
    /// is 0.
    pub(crate) fn argument(&self, place: Place, bytes: &[u8]) -> u64 {
        let read_only = self.base + SCRATCH_PAGES * PAGE;
        match place {
            Place::Normal => {
                put(self.base, &[0; LARGEST]);
                put(self.base, bytes);
                self.base
            }
            Place::Fresh => {
                self.put(self.base, &[0; LARGEST]);
                self.put(self.base, bytes);
                let rw = c::PROT_READ | c::PROT_WRITE;
                let (length, from) = (WINDOW_PAGES * PAGE, self.fresh.unwrap_or(0));
                let fresh = FRESH.load(Relaxed);
                sys::mmap(self.base, length, rw, c::MAP_PRIVATE, fresh, from);
                self.base
            }
            Place::ReadOnly => {
                let rw = c::PROT_READ | c::PROT_WRITE;
                sys::mprotect(read_only, PAGE, rw);
                put(read_only, bytes);
                sys::mprotect(read_only, PAGE, c::PROT_READ);
                read_only
            }
            Place::Cut => {
                let address = read_only + PAGE - bytes.len() as u64 + 1;
                sys::mprotect(read_only, PAGE, c::PROT_READ | c::PROT_WRITE);
                put(address, &bytes[..bytes.len() - 1]);
                sys::mprotect(read_only, PAGE, c::PROT_READ);
                address
            }
        }
    }
}
