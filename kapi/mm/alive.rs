// SPDX-License-Identifier: GPL-2.0-only

//! References to the users of another process's address space.
//!
//! The task that drops the last reference tears the address space down. It frees all memory of the
//! process, and writes to files that the process has mapped and changed, for which it waits and cannot be
//! killed. A task that uses the memory of another process may hold locks for which others wait, so it
//! leaves the teardown to a work item of the kernel.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h) (`mmget_not_zero()`,
//! `mmput_async()`)

use kernel::{
    mm::{
        Mm,
        MmWithUser,
        MmWithUserAsync, //
    },
    sync::aref::ARef, //
};

/// Returns a reference to the users of `mm`, or `None` if there are none any more: then there is no
/// memory either. Dropping it does not wait.
pub(crate) fn alive(mm: &Mm) -> Option<ARef<MmWithUserAsync>> {
    mm.mmget_not_zero().map(MmWithUser::into_mmput_async)
}
