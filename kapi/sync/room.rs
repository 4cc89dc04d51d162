// SPDX-License-Identifier: GPL-2.0-only

//! Memory that two values share, so that it is allocated and freed once.
//!
//! A value of [`Shared`](crate::kapi::sync::shared::Shared) may be made with a [`Room`] behind it, in
//! which another such value is put. Each is dropped when its own last reference is. The memory is freed
//! when both have been dropped.

use core::{
    alloc::Layout,
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    alloc::{
        AllocError,
        Allocator,
        Flags,
        NumaNode, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        Refcount, //
    }, //
};

use crate::kapi::{
    sync::slab::Slab,
    units::PAGE_SIZE, //
};

/// The alignment of everything in an allocation, but for a [`Tail`].
const WORD: usize = size_of::<usize>();

/// The uses of the memory of a value that is in a room.
const IN_ROOM: i32 = 0;

/// What is in front of a value.
#[repr(C)]
pub(super) struct Header {
    /// The references to the value.
    pub(super) count: Refcount,
    /// If the header is at the start of an allocation of [`Slab`]: 1 for the value, as long as it is
    /// not dropped, and 1 for the room behind it or what is in there. Otherwise [`IN_ROOM`], and the
    /// word in front of the header is the address of the header at the start.
    uses: Atomic<i32>,
}

impl Header {
    /// Returns that of a value at the start of an allocation without room, with one reference.
    pub(super) fn new() -> Self {
        Self::with_uses(1)
    }

    fn with_uses(uses: i32) -> Self {
        Self {
            count: Refcount::new(1),
            uses: Atomic::new(uses),
        }
    }

    /// Frees the memory of a value that was dropped, or leaves that to the last other use of it.
    ///
    /// # Safety
    ///
    /// The header must be as its fields say, and not be used any more.
    pub(super) unsafe fn free(this: NonNull<Self>) {
        // SAFETY: The caller guarantees that the header exists.
        let start = match unsafe { this.as_ref() }.uses.load(Acquire) {
            // As in most cases: no other task has access.
            1 => {
                // SAFETY: The allocation is `Slab`'s, which frees any size, and has no use any more.
                unsafe { Slab::free(this.cast(), Layout::new::<Self>()) };
                return;
            }
            // SAFETY: `ValueMemory::finish` has written the word in front.
            IN_ROOM => unsafe { this.cast::<NonNull<Self>>().sub(1).read() },
            _ => this,
        };
        // SAFETY: The use of the value, or of the room that it was in, ends here.
        unsafe { Self::put(start) };
    }

    /// Ends a use of an allocation.
    ///
    /// # Safety
    ///
    /// The header must be at the start of an allocation of [`Slab`]. The caller must own a use.
    unsafe fn put(this: NonNull<Self>) {
        // SAFETY: The caller owns a use, so the allocation exists.
        let uses = &unsafe { this.as_ref() }.uses;
        // If the caller's use is the only one, no other task has access.
        if uses.load(Acquire) == 1 || uses.fetch_sub(1, Full) == 1 {
            // SAFETY: The allocation is `Slab`'s, which frees any size, and has no use any more.
            unsafe { Slab::free(this.cast(), Layout::new::<Self>()) };
        }
    }
}

/// Bytes that belong to a value, and are in the same allocation.
pub(crate) struct Tail {
    start: NonNull<u8>,
}

impl Tail {
    /// Returns the address of the first byte. The bytes exist as long as the value.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Returns the alignment of a tail of `len` bytes, which is that of kmalloc() for as many: the
    /// largest power of two that divides it, up to a page, and at least that of a word.
    fn align(len: usize) -> usize {
        (len & len.wrapping_neg()).clamp(WORD, PAGE_SIZE as usize)
    }
}

/// The size of a [`Room`].
#[derive(Clone, Copy)]
pub(crate) struct RoomSize {
    len: usize,
    align: usize,
}

impl RoomSize {
    /// No room.
    pub(crate) const NONE: Self = Self {
        len: 0,
        align: WORD,
    };

    /// Returns the size for a value with its header, and a tail of `tail` bytes.
    pub(super) fn of(value: Layout, tail: usize) -> Self {
        let parts = [tail, WORD, value.size()];
        let len = parts.iter().try_fold(0, |len: usize, part| {
            len.checked_add(*part)?.checked_next_multiple_of(WORD)
        });
        Self {
            // So much cannot be allocated.
            len: len.unwrap_or(usize::MAX),
            align: Tail::align(tail),
        }
    }
}

/// Memory for another value, which exists as long as this.
///
/// # Invariants
///
/// `start` is the address of `size.len` bytes, aligned to `size.align`, that nothing else uses. They
/// are in an allocation with a header at its start, of which this owns a use, unless there are none.
pub(crate) struct Room {
    header: NonNull<Header>,
    start: NonNull<u8>,
    size: RoomSize,
}

impl Room {
    /// Returns one in which there is no room.
    pub(crate) fn none() -> Self {
        // INVARIANT: There are no bytes.
        Self {
            header: NonNull::dangling(),
            start: NonNull::dangling(),
            size: RoomSize::NONE,
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.size.len != 0 {
            // SAFETY: By the type invariants this owns a use of the allocation, which it gives
            // back.
            unsafe { Header::put(self.header) };
        }
    }
}

/// Memory for a value with its header, and for a tail of zeroes.
///
/// # Invariants
///
/// - `value` is memory for them, at the start of an allocation of [`Slab`], or in `room` with a word in
///   front of it, if there is a `room`.
/// - `room` is of the allocation, which this owns if there is none.
pub(super) struct ValueMemory {
    value: NonNull<u8>,
    tail: NonNull<u8>,
    room: Option<Room>,
}

impl ValueMemory {
    /// Takes the memory from `room`, or allocates it if it does not fit there. Returns `AllocError`.
    pub(super) fn new(
        value: Layout,
        tail: usize,
        room: Room,
        flags: Flags,
    ) -> Result<Self, AllocError> {
        let needed = RoomSize::of(value, tail);
        if room.size.len >= needed.len && room.size.align >= needed.align {
            let at = tail.next_multiple_of(WORD) + WORD;
            // INVARIANT: `RoomSize::of` adds up the same: tail, word and value fit.
            let memory = Self {
                // SAFETY: It is in the room, which has `needed.len` bytes.
                value: unsafe { room.start.add(at) },
                tail: room.start,
                room: Some(room),
            };
            memory.clear(tail);
            return Ok(memory);
        }
        let (memory, start) = allocate(
            value,
            RoomSize {
                len: tail,
                ..needed
            },
            flags,
        )?;
        // INVARIANT: It was just allocated.
        let memory = Self {
            value: memory,
            tail: start,
            room: None,
        };
        memory.clear(tail);
        Ok(memory)
    }

    /// Writes zeroes to the tail, which has `len` bytes.
    fn clear(&self, len: usize) {
        // SAFETY: The tail has as many bytes, which nothing else uses.
        unsafe { self.tail.write_bytes(0, len) };
    }

    /// Returns the address of the value's header.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.value.as_ptr()
    }

    /// Returns the tail of the value.
    pub(super) fn tail(&self) -> Tail {
        Tail { start: self.tail }
    }

    /// Writes the header, which owns the memory then.
    pub(super) fn finish(self) {
        let mut this = ManuallyDrop::new(self);
        let header: NonNull<Header> = this.value.cast();
        let uses = match this.room.take() {
            Some(room) => {
                let start = ManuallyDrop::new(room).header;
                // SAFETY: By the type invariants there is a word in front of the value.
                unsafe { header.cast::<NonNull<Header>>().sub(1).write(start) };
                IN_ROOM
            }
            None => 1,
        };
        // SAFETY: By the type invariants there is memory for the header.
        unsafe { header.write(Header::with_uses(uses)) };
    }
}

impl Drop for ValueMemory {
    fn drop(&mut self) {
        if self.room.is_none() {
            // SAFETY: By the type invariants it is an allocation of `Slab`, which frees any size.
            unsafe { Slab::free(self.value, Layout::new::<Header>()) };
        }
    }
}

/// Memory for a value at the start of an allocation, with its header and room behind it. Dropping this
/// ends the use of the value.
///
/// # Invariants
///
/// The header at the start is written, and this owns a use.
pub(super) struct Host(NonNull<Header>);

impl Host {
    /// Allocates it. Returns `AllocError`.
    pub(super) fn new(
        value: Layout,
        size: RoomSize,
        flags: Flags,
    ) -> Result<(Self, Room), AllocError> {
        let (memory, start) = allocate(value, size, flags)?;
        let header: NonNull<Header> = memory.cast();
        let uses = if size.len == 0 { 1 } else { 2 };
        // SAFETY: The allocation begins with the value, which begins with its header.
        unsafe { header.write(Header::with_uses(uses)) };
        // INVARIANT: The header was just written. One use is this one's, and one the room's, if there
        // is any.
        let room = Room {
            header,
            start,
            size,
        };
        Ok((Self(header), room))
    }

    /// Returns the address of the header.
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    /// Gives the use to the value, which was initialised.
    pub(super) fn finish(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this owns a use of the allocation, which it gives back.
        unsafe { Header::put(self.0) };
    }
}

/// Allocates memory for a value with its header, and `more` behind it. Returns where both begin.
fn allocate(
    value: Layout,
    more: RoomSize,
    flags: Flags,
) -> Result<(NonNull<u8>, NonNull<u8>), AllocError> {
    // Memory of `Slab` is aligned to the largest power of two that divides the size.
    let start = value.size().checked_next_multiple_of(more.align);
    let sizes = start.and_then(|start| {
        let end = start.checked_add(more.len)?;
        Some((start, end.checked_next_multiple_of(more.align)?))
    });
    let (start, size) = sizes.ok_or(AllocError)?;
    let layout = Layout::from_size_align(size, WORD).map_err(|_| AllocError)?;
    let memory = Slab::alloc(layout, flags, NumaNode::NO_NODE)?.cast::<u8>();
    // SAFETY: The allocation has `size` bytes, and `start` is at most that.
    Ok((memory, unsafe { memory.add(start) }))
}
