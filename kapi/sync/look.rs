// SPDX-License-Identifier: GPL-2.0-only

//! Looking at what a mutex protects without delaying the tasks that work with it.

use kernel::{
    sync::Mutex,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::NotThreadSafe, //
};

use crate::ffi::bindings;

/// While it exists the task that made it is not preempted. That task must not sleep.
struct NoPreemption(NotThreadSafe);

impl NoPreemption {
    fn new() -> Self {
        // SAFETY: `drop` undoes it, in the same task because the value is not `Send`.
        unsafe { bindings::iommufd_rs_preempt_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for NoPreemption {
    fn drop(&mut self) {
        // SAFETY: `new` has disabled it in this task.
        unsafe { bindings::iommufd_rs_preempt_enable() };
    }
}

/// How often the mutex is tried before the task waits for it.
const TRIES: usize = 100;
/// The time between two tries.
const PAUSE: Delta = Delta::from_micros(100);

/// Calls `f` with the value of a mutex, and returns what `f` returns. `f` must be quick and must
/// not sleep.
///
/// For tasks of no importance. A task that waits for a mutex may be given it while it does not run,
/// and one that has it may be preempted; both would delay others for as long as the scheduler likes.
/// So this tries the mutex from time to time, and is not preempted while it has it: others are
/// delayed by `f` at most. It waits for the mutex only if it has not got it for 10 ms.
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::look::look;
/// use kernel::{new_mutex, sync::Mutex};
///
/// let counters = KBox::pin_init(new_mutex!([1_u64, 2, 3]), GFP_KERNEL)?;
/// assert_eq!(look(&counters, |counters| counters.iter().sum::<u64>()), 6);
/// # Ok::<(), Error>(())
/// ```
pub(crate) fn look<T, R>(mutex: &Mutex<T>, f: impl FnOnce(&T) -> R) -> R {
    for _ in 0..TRIES {
        let running = NoPreemption::new();
        if let Some(guard) = mutex.try_lock() {
            let seen = f(&guard);
            // In this order: the task is not preempted before the mutex is released.
            drop(guard);
            drop(running);
            return seen;
        }
        drop(running);
        fsleep(PAUSE);
    }
    let guard = mutex.lock();
    let running = NoPreemption::new();
    let seen = f(&guard);
    drop(guard);
    drop(running);
    seen
}
