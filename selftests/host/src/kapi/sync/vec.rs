// SPDX-License-Identifier: GPL-2.0-only

//! The module's `kapi/sync/vec.rs` without unsafe code.

use kernel::prelude::*;

/// Appends at most `most` elements to a vector, until it is full or there are no more. Returns
/// whether there may be more. Stops at the first error; the elements appended before it stay.
pub(crate) fn fill<T>(
    vec: &mut KVec<T>,
    most: usize,
    from: &mut impl Iterator<Item = Result<T>>,
) -> Result<bool> {
    for _ in 0..most.min(vec.capacity() - vec.len()) {
        match from.next().transpose()? {
            Some(value) => drop(vec.push_within_capacity(value)),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Shrinks the capacity of a vector to its length. Returns `ENOMEM`, with the vector unchanged, if
/// the allocation fails.
pub(crate) fn fit<T>(vec: &mut KVec<T>) -> Result {
    if vec.len() == vec.capacity() {
        return Ok(());
    }
    let exact = KVec::with_capacity(vec.len(), GFP_KERNEL_ACCOUNT)?;
    for value in core::mem::replace(vec, exact) {
        drop(vec.push_within_capacity(value));
    }
    Ok(())
}
