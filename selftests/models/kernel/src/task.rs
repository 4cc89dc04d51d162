// SPDX-License-Identifier: GPL-2.0-only

//! Tasks: which address space each thread of a model has.

use core::cell::RefCell;

use crate::mm::Mm;

loom::thread_local! {
    static MM: RefCell<Option<Mm>> = RefCell::new(None);
}

/// A task.
pub struct Task(Option<Mm>);

impl Task {
    /// Returns the task of this thread.
    pub fn current() -> Self {
        Self(MM.with(|mm| mm.borrow().clone()))
    }

    /// Returns its address space.
    pub fn mm(&self) -> Option<&Mm> {
        self.0.as_ref()
    }
}

/// Makes this thread one of the process with that address space.
pub fn enter(mm: &Mm) {
    MM.with(|current| *current.borrow_mut() = Some(mm.clone()));
}

/// Returns the task that runs.
#[macro_export]
macro_rules! current {
    () => {
        $crate::task::Task::current()
    };
}
