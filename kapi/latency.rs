// SPDX-License-Identifier: GPL-2.0-only

//! How long calls take, as histograms. Off until an administrator turns it on: while it is off a
//! call is not timed, which costs a no-op.

use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::trace::{
        emit,
        Event, //
    }, //
};

/// What is timed.
#[derive(Clone, Copy)]
pub(crate) enum Timed {
    Map,
    Unmap,
    Attach,
    Invalidate,
}

impl Timed {
    /// All of them, and their names.
    #[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
    pub(crate) const ALL: [(Self, &'static CStr); 4] = [
        (Self::Map, c"map"),
        (Self::Unmap, c"unmap"),
        (Self::Attach, c"attach"),
        (Self::Invalidate, c"invalidate"),
    ];
}

/// The number of classes. A call belongs to class n if it takes at least 2^n nanoseconds and less
/// than 2^(n+1); the last class has longer ones too.
pub(crate) const CLASSES: usize = 36;

fn to_class(exponent: u32) -> usize {
    (exponent as usize).min(CLASSES - 1)
}

/// The histograms of a context.
pub(crate) struct Latencies([[Atomic<u32>; CLASSES]; Timed::ALL.len()]);

impl Latencies {
    /// Makes empty histograms.
    pub(crate) const fn new() -> Self {
        Self([const { [const { Atomic::new(0) }; CLASSES] }; Timed::ALL.len()])
    }

    /// Makes a call, which may change `values`. If timing is on when it begins, counts it by its
    /// duration. If the tracepoint is read, records the event that `event` makes of the values and
    /// the result.
    ///
    /// Until somebody turns one of them on, two no-ops are all that this adds: the call is compiled
    /// a second time, out of line, where what an event needs is kept. Therefore `call` should do
    /// nothing but call a function that is always inlined.
    #[inline(always)]
    pub(crate) fn watch<V, T, E: Event>(
        &self,
        what: Timed,
        mut values: V,
        call: impl FnOnce(&mut V) -> T,
        event: impl FnOnce(&V, &T) -> E,
    ) -> T {
        if is_on() || E::is_read() {
            return self.watched(what, values, call, event);
        }
        call(&mut values)
    }

    #[cold]
    #[inline(never)]
    fn watched<V, T, E: Event>(
        &self,
        what: Timed,
        mut values: V,
        call: impl FnOnce(&mut V) -> T,
        event: impl FnOnce(&V, &T) -> E,
    ) -> T {
        let start = is_on().then(now);
        let result = call(&mut values);
        if let Some(start) = start {
            self.count(what, start);
        }
        emit(|| event(&values, &result));
        result
    }

    /// Counts a call that began at `start`.
    fn count(&self, what: Timed, start: u64) {
        let took = now().saturating_sub(start);
        let class = took.checked_ilog2().map_or(0, to_class);
        if let Some(count) = self.class(what, class) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn class(&self, what: Timed, class: usize) -> Option<&Atomic<u32>> {
        self.0.get(what as usize)?.get(class)
    }

    /// Returns how many calls a class has. The number wraps at 2^32.
    #[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
    pub(crate) fn get(&self, what: Timed, class: usize) -> u32 {
        self.class(what, class)
            .map_or(0, |count| count.load(Relaxed))
    }
}

/// Returns the time in nanoseconds since the machine was started.
fn now() -> u64 {
    // SAFETY: It reads a clock.
    unsafe { bindings::ktime_get() as u64 }
}

/// Returns whether calls are timed.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    // SAFETY: `ffi/shims.c` defines the key.
    unsafe {
        kernel::jump_label::static_branch_unlikely!(
            bindings::iommufd_rs_timing,
            bindings::iommufd_rs_key,
            key
        )
    }
}

/// Begins to time calls, or ends it.
#[cfg(CONFIG_DEBUG_FS)]
pub(crate) fn turn(on: bool) {
    // SAFETY: It changes the key, and may sleep.
    unsafe { bindings::iommufd_rs_time(on) };
}
