// SPDX-License-Identifier: GPL-2.0-only

//! Moving many elements into and between vectors, at the cost of copying them.

use kernel::prelude::*;

/// Moves elements to the end of a vector, at most `most`, until it is full or there are no more;
/// says whether there may be. An error ends it; what was moved until then stays.
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
    // SAFETY: The first `moved` places of the spare capacity were written.
    unsafe { vec.inc_len(moved) };
    result
}

/// Makes the capacity of a vector its length. `ENOMEM`, and then nothing has changed.
pub(crate) fn fit<T>(vec: &mut KVec<T>) -> Result {
    if vec.len() == vec.capacity() {
        return Ok(());
    }
    let exact = KVec::with_capacity(vec.len(), GFP_KERNEL_ACCOUNT)?;
    let (old, len, capacity) = core::mem::replace(vec, exact).into_raw_parts();
    // SAFETY: `vec` has room for `len` elements and is another vector. They are moved: the old one
    // is put together again without any.
    unsafe {
        core::ptr::copy_nonoverlapping(old, vec.as_mut_ptr(), len);
        vec.inc_len(len);
        drop(KVec::from_raw_parts(old, 0, capacity));
    }
    Ok(())
}
