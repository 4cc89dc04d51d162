// SPDX-License-Identifier: GPL-2.0-only

//! Signals that end the current task.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use kernel::prelude::*;

use crate::ffi::bindings;

/// Returns `EINTR` if the current task is being killed. Work that may take seconds calls this
/// between two of its steps, and undoes them if it fails.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::signal;
///
/// fn clear(blocks: &mut [[u8; 4096]]) -> Result {
///     for block in blocks {
///         signal::check_killed()?;
///         block.fill(0);
///     }
///     Ok(())
/// }
///
/// assert_eq!(clear(&mut [[1; 4096]]), Ok(()));
/// ```
pub(crate) fn check_killed() -> Result {
    // SAFETY: It looks at the current task.
    if unsafe { bindings::iommufd_rs_fatal_signal_pending() } {
        Err(EINTR)
    } else {
        Ok(())
    }
}
