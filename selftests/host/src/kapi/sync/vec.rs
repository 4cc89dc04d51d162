// SPDX-License-Identifier: GPL-2.0-only

//! The module's `kapi/sync/vec.rs` without unsafe code.

use kernel::prelude::*;

/// Moves elements to the end of a vector, at most `most`, until it is full or there are no more;
/// says whether there may be. An error ends it; what was moved until then stays.
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

/// Makes the capacity of a vector its length. `ENOMEM`, and then nothing has changed.
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
