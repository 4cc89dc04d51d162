// SPDX-License-Identifier: GPL-2.0-only

//! An allocator for small values that come and go with every call.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use kernel::{
    alloc::{
        allocator::Kmalloc,
        AllocError,
        Allocator,
        Flags,
        NumaNode, //
    },
    prelude::*, //
};

use crate::ffi::bindings;

/// The allocator [`Kmalloc`] without krealloc(), for `GFP_KERNEL_ACCOUNT`.
///
/// `Kmalloc` has krealloc() allocate and free memory as well. That compares sizes and alignments
/// first, which for an allocation and its freeing takes as long as kmalloc() itself. Other flags
/// are left to `Kmalloc`.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::slab::{Slab, SlabBox};
///
/// for flags in [GFP_KERNEL, GFP_KERNEL_ACCOUNT] {
///     let seven = SlabBox::new(7_u32, flags)?;
///     assert_eq!(SlabBox::into_inner(seven), 7);
/// }
///
/// let mut more = Vec::<u64, Slab>::new();
/// for n in 0..100 {
///     more.push(n, GFP_KERNEL_ACCOUNT)?;
/// }
/// assert_eq!(more.iter().sum::<u64>(), 4950);
/// # Ok::<(), Error>(())
/// ```
pub(crate) struct Slab;

/// A [`Box`] of memory from [`Slab`].
pub(crate) type SlabBox<T> = Box<T, Slab>;

// SAFETY: Memory is that of kmalloc(), as with `Kmalloc`, whose guarantees this has therefore: it is
// aligned to the largest power of two that divides the size, and at least to `MIN_ALIGN`, and stays
// valid until kfree() or krealloc().
unsafe impl Allocator for Slab {
    const MIN_ALIGN: usize = Kmalloc::MIN_ALIGN;

    #[inline]
    fn alloc(layout: Layout, flags: Flags, nid: NumaNode) -> Result<NonNull<[u8]>, AllocError> {
        let layout = Kmalloc::aligned_layout(layout);
        if layout.size() == 0 || flags != GFP_KERNEL_ACCOUNT || nid != NumaNode::NO_NODE {
            return Kmalloc::alloc(layout, flags, nid);
        }
        // SAFETY: The function may be called with any size, in a context that may sleep, as is said
        // by the flags.
        let memory = unsafe { bindings::iommufd_rs_kmalloc_account(layout.size()) };
        let memory = NonNull::new(memory.cast()).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn realloc(
        memory: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: The caller fulfils the requirements of the function, and the memory is that of
        // kmalloc().
        unsafe { Kmalloc::realloc(memory, layout, old_layout, flags, nid) }
    }

    #[inline]
    unsafe fn free(memory: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: The caller says that the memory was allocated with this layout, so it is that
            // of kmalloc(), and that it is not used any more.
            unsafe { bindings::kfree(memory.as_ptr().cast()) };
        }
    }
}
