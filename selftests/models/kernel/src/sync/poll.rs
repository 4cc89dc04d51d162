// SPDX-License-Identifier: GPL-2.0-only

//! Condition variables that files are polled by.

use core::ops::Deref;

use crate::{
    error::Error,
    str::CStr,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

/// Counts how often it was notified. Nothing waits for it.
pub struct PollCondVar(Atomic<u64>);

impl PollCondVar {
    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Returns how often it was notified.
    pub fn notified(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A condition variable on the heap.
pub struct PollCondVarBox(PollCondVar);

impl PollCondVarBox {
    /// Allocates one.
    pub fn new(_name: &'static CStr, _class: ()) -> Result<Self, Error> {
        crate::alloc::fault::allocate()?;
        Ok(Self(PollCondVar(Atomic::new(0))))
    }
}

impl Deref for PollCondVarBox {
    type Target = PollCondVar;

    fn deref(&self) -> &PollCondVar {
        &self.0
    }
}
