// SPDX-License-Identifier: GPL-2.0-only

//! The nodes of a [`RangeTree`](crate::kapi::sync::range_tree::RangeTree), and memory for them.

use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};

use kernel::{
    alloc::Flags,
    container_of,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        sync::slab::SlabBox,
        units::Range, //
    }, //
};

/// A range, its value and its place in the tree.
#[repr(C)]
pub(super) struct Node<U, V> {
    pub(super) links: bindings::iommufd_rs_weighted,
    pub(super) range: Range<U>,
    pub(super) value: V,
}

/// Memory for one more range, so that inserting it cannot fail.
pub(crate) struct Reservation<U, V>(pub(super) SlabBox<MaybeUninit<Node<U, V>>>);

impl<U, V> Reservation<U, V> {
    /// Allocates it. Returns `ENOMEM`.
    pub(crate) fn new(flags: Flags) -> Result<Self> {
        Ok(Self(SlabBox::new_uninit(flags)?))
    }
}

/// Returns the node with these links, or `None` if the pointer is null.
///
/// # Safety
///
/// The pointer must be null, or one to `links.rb` of a `Node<U, V>`.
pub(super) unsafe fn node_of<U, V>(links: *mut bindings::rb_node) -> Option<NonNull<Node<U, V>>> {
    if links.is_null() {
        return None;
    }
    // SAFETY: The caller says that this is such a field.
    let node = unsafe { container_of!(links, Node<U, V>, links.rb) };
    NonNull::new(node)
}
