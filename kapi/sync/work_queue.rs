// SPDX-License-Identifier: GPL-2.0-only

//! Workqueues of this module.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    impl_has_work,
    prelude::*,
    sync::Arc,
    workqueue::{
        Queue,
        Work,
        WorkItem, //
    }, //
};

use crate::ffi::bindings;

/// A workqueue that carries out its work by as many tasks as it takes, so that work which waits
/// delays no other. Dropping it waits until all of it is done.
pub(crate) struct UnboundQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used and destroyed by any task.
unsafe impl Send for UnboundQueue {}
// SAFETY: Work may be enqueued by several tasks at once.
unsafe impl Sync for UnboundQueue {}

impl UnboundQueue {
    /// Makes a queue. Returns `ENOMEM`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is a string, as the format wants.
        let raw = unsafe { bindings::iommufd_rs_alloc_unbound_workqueue(name.as_char_ptr()) };
        NonNull::new(raw).map(Self).ok_or(ENOMEM)
    }

    /// Returns the C struct.
    pub(in crate::kapi) fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }
}

impl Deref for UnboundQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: The queue exists until `drop`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for UnboundQueue {
    fn drop(&mut self) {
        // SAFETY: `new` has made it, and nobody enqueues anything any more, since that takes a
        // `&self`.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// A value that a workqueue completes and drops, because either may take long.
pub(crate) trait Slow: Send + Sync + 'static {
    /// Completes the value.
    fn complete(&self);
}

#[pin_data]
struct Item<T> {
    value: T,
    #[pin]
    complete: Work<Self, 0>,
    #[pin]
    drop: Work<Self, 1>,
}

impl_has_work! {
    impl{T} HasWork<Self, 0> for Item<T> { self.complete }
    impl{T} HasWork<Self, 1> for Item<T> { self.drop }
}

impl<T: Slow> WorkItem<0> for Item<T> {
    type Pointer = Arc<Self>;

    fn run(item: Arc<Self>) {
        item.value.complete();
    }
}

impl<T: Slow> WorkItem<1> for Item<T> {
    type Pointer = Arc<Self>;

    fn run(item: Arc<Self>) {
        // The last reference, unless the other work is not done. Then that drops it.
        drop(item);
    }
}

/// The owner of a [`Slow`] value. Dropping it does not wait for the value to be dropped, and needs
/// no memory.
pub(crate) struct Owner<T: Slow> {
    queue: Arc<UnboundQueue>,
    /// `None` after `drop` has taken it.
    item: Option<Arc<Item<T>>>,
}

impl<T: Slow> Owner<T> {
    /// Has the queue complete the value. Returns `ENOMEM`, and then the value was dropped here.
    pub(crate) fn new(queue: &Arc<UnboundQueue>, value: T) -> Result<Self> {
        let item = Arc::pin_init(
            pin_init!(Item {
                value,
                complete <- kernel::new_work!("iommufd_rs_complete"),
                drop <- kernel::new_work!("iommufd_rs_drop"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        // It is in no queue yet.
        let _ = queue.enqueue::<_, 0>(item.clone());
        Ok(Self {
            queue: queue.clone(),
            item: Some(item),
        })
    }
}

impl<T: Slow> Drop for Owner<T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            // Nothing else enqueues the item, so this succeeds. The queue takes over the reference.
            let _ = self.queue.enqueue::<_, 1>(item);
        }
    }
}
