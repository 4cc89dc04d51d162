// SPDX-License-Identifier: GPL-2.0-only

//! Moving of elements into a vector and of a vector into less memory.
//!
//! Fit for `rust/kernel/alloc/kvec.rs`. [`KVVec::shrink_to`] does not serve here: for memory of
//! kmalloc() it calls krealloc(), which keeps the memory.

use kernel::prelude::*;

/// Moves at most `most` elements of an iterator to the end of a vector, as long as there is
/// capacity. Returns whether the iterator may have more.
///
/// Returns the first error of the iterator. The elements that have been moved before remain.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::vec;
///
/// let mut list = KVec::with_capacity(3, GFP_KERNEL)?;
/// let mut numbers = (0..5_u8).map(Ok);
/// assert!(vec::fill(&mut list, 2, &mut numbers)?);
/// assert!(vec::fill(&mut list, 9, &mut numbers)?);
/// assert_eq!(*list, [0, 1, 2]);
/// # Ok::<(), Error>(())
/// ```
#[inline]
pub(crate) fn fill<T>(
    vec: &mut KVec<T>,
    most: usize,
    from: &mut impl Iterator<Item = Result<T>>,
) -> Result<bool> {
    let mut moved = 0;
    let mut result = Ok(true);

    for place in vec.spare_capacity_mut().iter_mut().take(most) {
        match from.next().transpose() {
            Ok(Some(value)) => {
                place.write(value);
                moved += 1;
            }
            end => {
                result = end.map(|_| false);
                break;
            }
        }
    }
    // SAFETY: The first `moved` elements of the spare capacity were initialised.
    unsafe { vec.inc_len(moved) };
    result
}

/// Moves the elements of a vector into memory without spare capacity. Returns `ENOMEM` if there is
/// none; the vector is unchanged then.
pub(crate) fn fit<T>(vec: &mut KVec<T>) -> Result {
    if vec.len() == vec.capacity() {
        return Ok(());
    }
    let exact = KVec::with_capacity(vec.len(), GFP_KERNEL_ACCOUNT)?;
    let (old, len, capacity) = core::mem::replace(vec, exact).into_raw_parts();
    // SAFETY: `vec` has capacity for `len` elements, and is another allocation than `old`.
    unsafe { core::ptr::copy_nonoverlapping(old, vec.as_mut_ptr(), len) };
    // SAFETY: The first `len` elements were initialised by the copy.
    unsafe { vec.inc_len(len) };
    // SAFETY: The pointer and the capacity came from a vector, and its elements were moved, so none
    // is left.
    drop(unsafe { KVec::from_raw_parts(old, 0, capacity) });
    Ok(())
}
