// SPDX-License-Identifier: GPL-2.0-only

//! I/O page faults: what a device asks for and waits until it is answered.
//!
//! The IOMMU core hands over a group of faults ([`FaultGroup`]) whose domain has somebody to take
//! it ([`FaultSink`]). From then on the group is owned by exactly one place, and owning it is the
//! only way to answer it; one that is dropped is answered too, with "do not try again". What a
//! group refers to, the attachment that it came by and behind that the device, stays until it is
//! answered: the end of an attachment waits for that.
//!
//! C header: `include/linux/iommu.h`.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Completion,
        Refcount, //
    },
    types::Opaque, //
};

use crate::ffi::bindings;

/// Who takes the faults of a domain.
pub(crate) trait FaultSink: Send + Sync {
    /// Takes a group. Called by the IOMMU's driver, which may hold locks that it needs for the next
    /// fault but none that it needs for an answer; may sleep.
    fn deliver(&self, group: FaultGroup);

    /// Answers the groups that came by an attachment, no more of which come. They must not depend
    /// on user space any more: the caller waits until they are answered.
    fn end(&self, attachment: AttachmentId);
}

/// Which attachment a fault came by. Two that exist at the same time differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttachmentId(usize);

/// The part of an attachment's handle that page faults need. When it is dropped, the IOMMU core must
/// not have it any more; the drop answers the faults that are left.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(super) struct FaultHandle {
    // The first field: the core's pointer to it is a pointer to the handle.
    #[pin]
    raw: Opaque<bindings::iommu_attach_handle>,
    /// `None` if devices cannot have page faults.
    sink: Option<Arc<dyn FaultSink>>,
    device: u32,
    /// Counts the groups that are not answered, the calls of [`handle_fault`], and the handle itself.
    users: Refcount,
    /// Completed when `users` is 0.
    #[pin]
    unused: Completion,
}

// SAFETY: The IOMMU core writes the C object while it attaches, and only reads it then. The other
// fields are `Send`.
unsafe impl Send for FaultHandle {}
// SAFETY: As the C object is only read while it is shared, and the other fields are `Sync`.
unsafe impl Sync for FaultHandle {}

impl FaultHandle {
    /// Makes a handle. Its faults go to `sink` and name the device by `device`.
    pub(super) fn new(sink: Option<Arc<dyn FaultSink>>, device: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            raw <- Opaque::zeroed(),
            sink,
            device,
            users: Refcount::new(1),
            unused <- Completion::new(),
        })
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_attach_handle {
        self.raw.get()
    }

    fn id(&self) -> AttachmentId {
        AttachmentId(self.raw.get().addr())
    }

    /// Ends a use. After the last one the handle may be gone.
    fn put(&self) {
        if self.users.dec_and_test() {
            self.unused.complete_all();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for FaultHandle {
    fn drop(self: Pin<&mut Self>) {
        if let Some(sink) = &self.sink {
            sink.end(self.id());
        }
        self.put();
        // A group that is left is owned by a task which is answering it, so this does not take long.
        self.unused.wait_for_completion();
    }
}

/// `iopf_handler` of the domains that have a [`FaultSink`].
///
/// # Safety
///
/// Must be called by the IOMMU core only, with a group whose attach handle begins with a
/// [`FaultHandle`] and stays attached during the call. Drivers report no fault while they detach.
pub(super) unsafe extern "C" fn handle_fault(group: *mut bindings::iopf_group) -> c_int {
    // SAFETY: The caller guarantees that the group is valid.
    let raw = unsafe { (*group).attach_handle };
    // SAFETY: The caller guarantees that a `FaultHandle` begins there and stays during the call.
    let handle = unsafe { &*raw.cast::<FaultHandle>() };
    let Some(sink) = &handle.sink else {
        return EINVAL.to_errno();
    };
    // SAFETY: The core hands the group over. Once it is off the core's list, the core does not answer
    // and free it when the device stops having faults.
    unsafe { bindings::iopf_group_dequeue(group) };
    // One use for the group and one for this call: the group may be answered before the call ends.
    handle.users.inc();
    handle.users.inc();
    // INVARIANT: The use was just counted, and the group is off the core's list.
    // SAFETY: The core does not pass NULL.
    sink.deliver(FaultGroup(unsafe { NonNull::new_unchecked(group) }));
    handle.put();
    0
}

/// What a device is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The page is there: try again.
    Success,
    /// There will be no page: do not try again.
    Invalid,
}

impl Answer {
    fn as_raw(self) -> bindings::iommu_page_response_code {
        match self {
            Self::Success => bindings::iommu_page_response_code_IOMMU_PAGE_RESP_SUCCESS,
            Self::Invalid => bindings::iommu_page_response_code_IOMMU_PAGE_RESP_INVALID,
        }
    }
}

/// A page that a device asks for.
#[derive(Clone, Copy)]
pub(crate) struct PageRequest {
    /// `IOMMU_FAULT_PAGE_REQUEST_*`; the first two are those of the user API.
    pub(crate) flags: u32,
    /// The PASID, where the flags say that there is one.
    pub(crate) pasid: u32,
    /// The device's number for the group.
    pub(crate) group: u32,
    /// `IOMMU_FAULT_PERM_*`, which are those of the user API.
    pub(crate) perm: u32,
    /// The I/O virtual address.
    pub(crate) addr: u64,
}

/// Faults that a device wants answered together. Dropping it answers [`Answer::Invalid`].
///
/// # Invariants
///
/// The group is on no list but a [`FaultList`] that owns it, nobody else answers or frees it, and
/// its handle is a [`FaultHandle`] that counts it.
#[repr(transparent)]
pub(crate) struct FaultGroup(NonNull<bindings::iopf_group>);

// SAFETY: A group may be answered from any task.
unsafe impl Send for FaultGroup {}
// SAFETY: What is read of it by reference does not change.
unsafe impl Sync for FaultGroup {}

impl FaultGroup {
    fn handle(&self) -> &FaultHandle {
        // SAFETY: By the invariant it is there until this group is answered.
        unsafe { &*(*self.0.as_ptr()).attach_handle.cast() }
    }

    /// How many faults there are; at least one.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the invariant the group is valid.
        unsafe { (*self.0.as_ptr()).fault_count }
    }

    /// The attachment that it came by.
    pub(crate) fn attachment(&self) -> AttachmentId {
        self.handle().id()
    }

    /// The id of the device that was attached.
    pub(crate) fn device(&self) -> u32 {
        self.handle().device
    }

    /// Calls `f` for each fault, in the order in which the device had them as far as the core knows
    /// it; the last one ends the group.
    pub(crate) fn for_each(&self, mut f: impl FnMut(PageRequest)) {
        // SAFETY: By the invariant the group is valid.
        let head = unsafe { &raw mut (*self.0.as_ptr()).faults };
        // SAFETY: The head of a list in a valid group.
        let mut entry = unsafe { (*head).next };
        while !core::ptr::eq(entry, head) {
            // SAFETY: Every entry of the list but its head is the `list` of a fault.
            let prm = unsafe {
                &(*kernel::container_of!(entry, bindings::iopf_fault, list))
                    .fault
                    .prm
            };
            f(PageRequest {
                flags: prm.flags,
                pasid: prm.pasid,
                group: prm.grpid,
                perm: prm.perm,
                addr: prm.addr,
            });
            // SAFETY: As above.
            entry = unsafe { (*entry).next };
        }
    }

    /// Answers the device.
    pub(crate) fn answer(self, answer: Answer) {
        ManuallyDrop::new(self).finish(answer);
    }

    /// Called once; what is left of the group afterwards must not be used.
    fn finish(&mut self, answer: Answer) {
        let group = self.0.as_ptr();
        let handle = core::ptr::from_ref(self.handle());
        // SAFETY: By the invariant the group is ours to answer and to free; the device is there,
        // for it is attached until the handle is dropped. The handle stays until it is put here.
        unsafe {
            bindings::iopf_group_response(group, answer.as_raw());
            bindings::iopf_free_group(group);
            (*handle).put();
        }
    }
}

impl Drop for FaultGroup {
    fn drop(&mut self) {
        self.finish(Answer::Invalid);
    }
}

/// Groups in the order in which they came. Adding one cannot fail. Dropping it drops them.
///
/// # Invariants
///
/// `first` leads by `node.next` to all groups, each owned by the list, and ends with NULL; `last`
/// is the last of them where there is one.
pub(crate) struct FaultList {
    first: *mut bindings::iopf_group,
    last: *mut bindings::iopf_group,
}

// SAFETY: It owns its groups, and those may be sent.
unsafe impl Send for FaultList {}

impl FaultList {
    /// Without a group.
    pub(crate) const fn new() -> Self {
        Self {
            first: core::ptr::null_mut(),
            last: core::ptr::null_mut(),
        }
    }

    /// Whether there is no group.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// The first group.
    pub(crate) fn first(&self) -> Option<&FaultGroup> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: A `FaultGroup` is a transparent pointer that is not NULL, and by the invariant
        // the list owns what it points to.
        Some(unsafe { &*(&raw const self.first).cast() })
    }

    /// Adds a group behind all others.
    pub(crate) fn push_back(&mut self, group: FaultGroup) {
        let group = Self::into_raw(group);
        // INVARIANT: The list owns the new group, which is its end.
        // SAFETY: Both groups are owned by the list and so valid.
        unsafe {
            (*group).node.next = core::ptr::null_mut();
            if self.first.is_null() {
                self.first = group;
            } else {
                (*self.last).node.next = group.cast();
            }
        }
        self.last = group;
    }

    /// Adds a group before all others.
    pub(crate) fn push_front(&mut self, group: FaultGroup) {
        let group = Self::into_raw(group);
        // INVARIANT: The list owns the new group, which leads to the others.
        // SAFETY: The group is owned by the list and so valid.
        unsafe { (*group).node.next = self.first.cast() };
        if self.first.is_null() {
            self.last = group;
        }
        self.first = group;
    }

    /// Takes the first group.
    pub(crate) fn pop_front(&mut self) -> Option<FaultGroup> {
        let group = NonNull::new(self.first)?;
        // INVARIANT: The list goes on with the second group.
        // SAFETY: By the invariant the group is valid.
        self.first = unsafe { (*group.as_ptr()).node.next.cast() };
        // INVARIANT: The list does not own it any more.
        Some(FaultGroup(group))
    }

    /// Takes the groups that came by an attachment; the order stays.
    pub(crate) fn take(&mut self, attachment: AttachmentId) -> Self {
        let (mut taken, mut kept) = (Self::new(), Self::new());
        while let Some(group) = self.pop_front() {
            if group.attachment() == attachment {
                taken.push_back(group);
            } else {
                kept.push_back(group);
            }
        }
        *self = kept;
        taken
    }

    fn into_raw(group: FaultGroup) -> *mut bindings::iopf_group {
        ManuallyDrop::new(group).0.as_ptr()
    }
}

impl Drop for FaultList {
    fn drop(&mut self) {
        while let Some(group) = self.pop_front() {
            drop(group);
        }
    }
}
