// SPDX-License-Identifier: GPL-2.0-only

//! Running models, and the threads in them.

use std::sync::atomic::{
    AtomicUsize,
    Ordering::SeqCst, //
};

use loom::model::Builder;

/// Runs a model in every order in which a thread is preempted at most `preemptions` times, or in every
/// order at all.
pub(crate) fn every_order(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    static ORDERS: AtomicUsize = AtomicUsize::new(0);
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(move || {
        ORDERS.fetch_add(1, SeqCst);
        model();
    });
    println!("orders so far: {}", ORDERS.load(SeqCst));
}

/// Runs closures at once, each in a thread, and waits for their ends. The last one runs in the caller's
/// thread.
macro_rules! at_once {
    ($($first:expr),+ ; $last:expr) => {{
        let threads = [$(loom::thread::spawn($first)),+];
        $last();
        for thread in threads {
            thread.join().unwrap();
        }
    }};
}
pub(crate) use at_once;
