// SPDX-License-Identifier: GPL-2.0-only

//! Memory: what `selftests/host/kernel` has, and allocators.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

pub use host::alloc::*;

/// The node of memory to allocate from.
#[derive(PartialEq, Eq)]
pub struct NumaNode(());

impl NumaNode {
    /// Any node.
    pub const NO_NODE: Self = Self(());
}

/// An allocator.
///
/// # Safety
///
/// What [`Allocator::alloc`] returns must be memory for the layout until it is freed.
pub unsafe trait Allocator {
    /// Allocates memory.
    fn alloc(layout: Layout, flags: Flags, node: NumaNode) -> Result<NonNull<[u8]>, AllocError>;

    /// Frees memory.
    ///
    /// # Safety
    ///
    /// `memory` must be of [`Allocator::alloc`], and not be used any more.
    unsafe fn free(memory: NonNull<u8>, layout: Layout);
}
