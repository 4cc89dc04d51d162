// SPDX-License-Identifier: GPL-2.0-only

//! Allocation of ids.
//!
//! Fit for `rust/kernel`. [`IdPool`](kernel::id_pool::IdPool) is one bitmap, which is copied when it
//! grows.
//!
//! C header: [`include/linux/idr.h`](srctree/include/linux/idr.h)

use core::ops::RangeInclusive;

use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

use crate::ffi::bindings;

/// A set of ids that are taken. It takes a bit for each, and logarithmic time.
///
/// # Invariants
///
/// `raw` is initialised.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::ida::Ida;
///
/// let ids = KBox::pin_init(Ida::new(), GFP_KERNEL)?;
/// for id in 1..=3 {
///     assert_eq!(ids.alloc(1..=3)?, id);
/// }
/// assert_eq!(ids.alloc(1..=3), Err(ENOSPC));
/// ids.free(2);
/// assert_eq!(ids.alloc(1..=3)?, 2);
/// # Ok::<(), Error>(())
/// ```
#[pin_data(PinnedDrop)]
pub(crate) struct Ida {
    #[pin]
    raw: Opaque<bindings::ida>,
}

// SAFETY: The set has a lock of its own, which is not bound to a thread.
unsafe impl Send for Ida {}

// SAFETY: The functions that are called with `&Ida` take the lock of the set.
unsafe impl Sync for Ida {}

impl Ida {
    /// Initialises an empty set.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: `iommufd_rs_ida_init` initialises it.
            // SAFETY: The place is one for a `struct ida`, which stays where it is.
            raw <- Opaque::ffi_init(|raw| unsafe { bindings::iommufd_rs_ida_init(raw) }),
        })
    }

    /// Takes the lowest free id of `ids`, which must end at or below `i32::MAX`. Returns `ENOSPC` if
    /// there is none, and `ENOMEM`.
    pub(crate) fn alloc(&self, ids: RangeInclusive<u32>) -> Result<u32> {
        let (first, last) = ids.into_inner();
        // SAFETY: By the invariants the set is initialised.
        let id = unsafe {
            bindings::ida_alloc_range(self.raw.get(), first, last, bindings::GFP_KERNEL_ACCOUNT)
        };
        to_result(id)?;
        u32::try_from(id).map_err(|_| ENOSPC)
    }

    /// Frees an id that was taken. The kernel warns if it was not.
    pub(crate) fn free(&self, id: u32) {
        // SAFETY: By the invariants the set is initialised.
        unsafe { bindings::ida_free(self.raw.get(), id) };
    }
}

#[pinned_drop]
impl PinnedDrop for Ida {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the invariants the set is initialised, and nothing uses it after the drop.
        unsafe { bindings::ida_destroy(self.raw.get()) };
    }
}
