// SPDX-License-Identifier: GPL-2.0-only

//! I/O page faults.
//!
//! A device that may have page faults asks for pages and waits for the answer. The IOMMU core
//! collects the faults of a group and hands the group over to the [`FaultSink`] of the domain. A
//! [`FaultGroup`] owns its group: it alone can answer it, and if it is dropped it answers
//! [`Answer::Invalid`]. The attachment that the faults came by exists until the group is answered,
//! and with it the device: when an attachment ends, its [`FaultHandle`] waits for that.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic,
            AtomicFlag, //
        },
        Arc,
        Completion,
        Refcount, //
    },
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::bug::sub_or_warn, //
};

/// What the page faults of a domain are delivered to.
///
/// # Examples
///
/// ```
/// use crate::kapi::iommu::iopf::{Answer, AttachmentId, FaultGroup, FaultSink};
///
/// /// Refuses every page at once.
/// struct Refuse;
///
/// impl FaultSink for Refuse {
///     fn deliver(&self, group: FaultGroup) {
///         group.answer(Answer::Invalid);
///     }
///
///     fn end(&self, _attachment: AttachmentId) {
///         // No group is left: `deliver` answers each.
///     }
///
///     fn answered(&self) {}
/// }
/// ```
pub(crate) trait FaultSink: Send + Sync {
    /// Takes a group. The IOMMU driver calls it in a context that may sleep. The driver may hold
    /// locks, but none that answering a fault takes.
    fn deliver(&self, group: FaultGroup);

    /// Answers the groups that came by an attachment. The caller waits until all are answered, so
    /// this must not wait for user space. It is called again after a group that is delivered
    /// meanwhile, so a lock must order `deliver` and `end`.
    fn end(&self, attachment: AttachmentId);

    /// A group that was delivered has been answered. Must not sleep.
    fn answered(&self);
}

/// Identifies an attachment among those that exist at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttachmentId(usize);

/// The part of an attachment's handle that page faults need. When it is dropped, the IOMMU core
/// must not have it any more; the drop answers the faults that are left.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(super) struct FaultHandle {
    // The first field: the core's pointer to it is a pointer to the handle.
    #[pin]
    raw: Opaque<bindings::iommu_attach_handle>,
    /// `None` if devices cannot have page faults.
    sink: Option<Arc<dyn FaultSink>>,
    /// The id of the device that faults name.
    device: Atomic<u32>,
    /// Whether what is delivered from now on is answered at once.
    ended: AtomicFlag,
    /// Counts the groups that are not answered, the calls of [`handle_fault`], and the handle
    /// itself.
    users: Refcount,
    /// Completed when `users` is 0.
    #[pin]
    unused: Completion,
}

// SAFETY: The IOMMU core writes the C object while it attaches, and only reads it then; the other
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
            device: Atomic::new(device),
            ended: AtomicFlag::new(false),
            users: Refcount::new(1),
            unused <- Completion::new(),
        })
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_attach_handle {
        self.raw.get()
    }

    /// Has faults name another device of the group. Those that are not read yet do so, too.
    pub(super) fn set_device(&self, device: u32) {
        self.device.store(device, Relaxed);
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
            // Before `end`: a delivery that `end` does not see comes after it under the sink's
            // lock, and finds this set.
            self.ended.store(true, Relaxed);
            sink.end(self.id());
        }
        self.put();
        // A group that is left is owned by a task which is answering it, so this does not take
        // long.
        self.unused.wait_for_completion();
    }
}

/// `iopf_handler` of the domains that have a [`FaultSink`].
///
/// # Safety
///
/// Must be called by the IOMMU core only, with a group whose attach handle begins with a
/// [`FaultHandle`] and exists when the call begins. The attachment may end meanwhile: the core
/// replaces a handle after the device has moved, and not all drivers wait for faults when they
/// detach.
pub(super) unsafe extern "C" fn handle_fault(group: *mut bindings::iopf_group) -> c_int {
    // SAFETY: The caller guarantees that the group is valid.
    let raw = unsafe { (*group).attach_handle };
    // SAFETY: The caller guarantees that a `FaultHandle` begins there and stays during the call.
    let handle = unsafe { &*raw.cast::<FaultHandle>() };
    let Some(sink) = &handle.sink else {
        return EINVAL.to_errno();
    };
    // SAFETY: The core hands the group over, and after this does not answer and free it when the
    // device stops having faults.
    unsafe { bindings::iopf_group_dequeue(group) };
    // One use for the group and one for this call: the group may be answered before the call ends.
    handle.users.inc();
    handle.users.inc();
    // INVARIANT: The use was just counted, and the group is off the core's list.
    // SAFETY: The core does not pass NULL.
    sink.deliver(FaultGroup(unsafe { NonNull::new_unchecked(group) }));
    if handle.ended.load(Relaxed) {
        sink.end(handle.id());
    }
    handle.put();
    0
}

/// The answer to a group of faults: `enum iommu_page_response_code`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The pages are mapped. The device tries again.
    Success,
    /// The pages cannot be mapped. The device does not try again.
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

/// A request of a device for a page: `struct iommu_fault_page_request`.
#[derive(Clone, Copy)]
pub(crate) struct PageRequest {
    /// `IOMMU_FAULT_PAGE_REQUEST_*`. The first two have the values of the user API.
    pub(crate) flags: u32,
    /// The PASID, if the flags say that there is one.
    pub(crate) pasid: u32,
    /// The number by which the device knows the group.
    pub(crate) group: u32,
    /// `IOMMU_FAULT_PERM_*`, which have the values of the user API.
    pub(crate) perm: u32,
    /// The I/O virtual address of the page.
    pub(crate) addr: u64,
}

/// A group of faults, which a device wants answered together. Dropping it answers
/// [`Answer::Invalid`].
///
/// # Invariants
///
/// The group is valid, and on no list but the [`FaultList`] that owns it. Nothing else answers or
/// frees it, and its list of faults does not change. Its attach handle begins with a [`FaultHandle`] that counts the group.
#[repr(transparent)]
pub(crate) struct FaultGroup(NonNull<bindings::iopf_group>);

// SAFETY: The IOMMU core accepts the answer to a group from any task.
unsafe impl Send for FaultGroup {}
// SAFETY: What a `&FaultGroup` gives access to does not change.
unsafe impl Sync for FaultGroup {}

impl FaultGroup {
    fn handle(&self) -> &FaultHandle {
        // SAFETY: By the type invariants the group is valid, a `FaultHandle` begins there, and it
        // exists until the group is answered.
        unsafe { &*(*self.0.as_ptr()).attach_handle.cast() }
    }

    /// Returns the number of faults, which is not 0.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the type invariants the group is valid.
        unsafe { (*self.0.as_ptr()).fault_count }
    }

    /// Returns the attachment that the faults came by.
    pub(crate) fn attachment(&self) -> AttachmentId {
        self.handle().id()
    }

    /// Returns the id of the device that faults of the attachment name.
    pub(crate) fn device(&self) -> u32 {
        self.handle().device.load(Relaxed)
    }

    /// Calls `f` for each fault in the order in which the core has them. The last one ends the
    /// group.
    pub(crate) fn for_each(&self, mut f: impl FnMut(PageRequest)) {
        let mut entry = self.before_first();
        // SAFETY: `entry` is the head of the group's faults, or one of them.
        while let Some((request, at)) = unsafe { self.next(entry) } {
            f(request);
            entry = at;
        }
    }

    /// Returns the head of the list of faults.
    fn before_first(&self) -> *mut bindings::list_head {
        // SAFETY: By the type invariants the group is valid.
        unsafe { &raw mut (*self.0.as_ptr()).faults }
    }

    /// Returns the fault behind `entry`, and its own entry. Returns `None` if there is no more.
    ///
    /// # Safety
    ///
    /// `entry` must be the head of the list of this group's faults, or the `list` field of one of
    /// them.
    unsafe fn next(
        &self,
        entry: *mut bindings::list_head,
    ) -> Option<(PageRequest, *mut bindings::list_head)> {
        // SAFETY: The caller guarantees that `entry` is in the list, which by the type invariants
        // nothing changes.
        let entry = unsafe { (*entry).next };
        if core::ptr::eq(entry, self.before_first()) {
            return None;
        }
        // SAFETY: Every entry but the head is the `list` field of a fault.
        let fault = unsafe { &*kernel::container_of!(entry, bindings::iopf_fault, list) };
        let prm = &fault.fault.prm;
        let request = PageRequest {
            flags: prm.flags,
            pasid: prm.pasid,
            group: prm.grpid,
            perm: prm.perm,
            addr: prm.addr,
        };
        Some((request, entry))
    }

    /// Answers the group.
    pub(crate) fn answer(self, answer: Answer) {
        // SAFETY: `ManuallyDrop` keeps the group from being answered again.
        unsafe { ManuallyDrop::new(self).finish(answer) };
    }

    /// Answers and frees the group.
    ///
    /// # Safety
    ///
    /// Must be called once. The value must not be used afterwards.
    unsafe fn finish(&mut self, answer: Answer) {
        let group = self.0.as_ptr();
        let handle = core::ptr::from_ref(self.handle());
        // SAFETY:
        // - By the type invariants nothing else answers the group.
        // - The device is attached by `handle`, and so exists, until the group is put below.
        unsafe { bindings::iopf_group_response(group, answer.as_raw()) };
        // SAFETY: By the type invariants nothing else frees the group.
        unsafe { bindings::iopf_free_group(group) };
        // SAFETY: By the type invariants the handle counts the group, so it exists until it is put
        // below.
        let handle = unsafe { &*handle };
        if let Some(sink) = &handle.sink {
            sink.answered();
        }
        handle.put();
    }
}

impl Drop for FaultGroup {
    fn drop(&mut self) {
        // SAFETY: A group that `answer` was called for is not dropped.
        unsafe { self.finish(Answer::Invalid) };
    }
}

/// A group whose faults are read one by one, in the order in which the core has them.
///
/// # Invariants
///
/// `at` is the head of the list of the group's faults, or the `list` field of one of them.
pub(crate) struct FaultReader {
    group: FaultGroup,
    at: *mut bindings::list_head,
}

// SAFETY: `at` points into the group, which this value owns and which is `Send`.
unsafe impl Send for FaultReader {}

impl FaultReader {
    /// Begins with the first fault of `group`.
    pub(crate) fn new(group: FaultGroup) -> Self {
        // INVARIANT: The head of the list is where the first fault is behind.
        let at = group.before_first();
        Self { group, at }
    }

    /// Returns the group.
    pub(crate) fn group(&self) -> &FaultGroup {
        &self.group
    }

    /// Ends the reading and returns the group.
    pub(crate) fn into_group(self) -> FaultGroup {
        self.group
    }
}

impl Iterator for FaultReader {
    type Item = PageRequest;

    fn next(&mut self) -> Option<PageRequest> {
        // SAFETY: By the type invariants `at` is in the list of the group's faults.
        let (request, at) = unsafe { self.group.next(self.at) }?;
        // INVARIANT: `at` is the `list` field of the fault that is returned.
        self.at = at;
        Some(request)
    }
}

/// A list of groups in the order in which they came. Adding a group does not allocate. Dropping the
/// list drops the groups.
///
/// # Invariants
///
/// `first` is NULL, or the first of a list of groups that are linked by `node.next` and that ends
/// with NULL. `last` is the last group of the list, if there is one. The list owns the groups as
/// [`FaultGroup`] does.
pub(crate) struct FaultList {
    first: *mut bindings::iopf_group,
    last: *mut bindings::iopf_group,
    /// The number of groups.
    len: u32,
}

// SAFETY: The list owns its groups, and a `FaultGroup` is `Send`.
unsafe impl Send for FaultList {}

impl FaultList {
    /// Makes an empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no group.
        Self {
            first: core::ptr::null_mut(),
            last: core::ptr::null_mut(),
            len: 0,
        }
    }

    /// Returns the number of groups.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Returns whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Returns the first group.
    pub(crate) fn first(&self) -> Option<&FaultGroup> {
        if self.is_empty() {
            return None;
        }
        // SAFETY:
        // - A `FaultGroup` is a transparent pointer that is not NULL.
        // - By the type invariants the list owns the group as a `FaultGroup` does.
        Some(unsafe { &*(&raw const self.first).cast() })
    }

    /// Adds a group at the end.
    pub(crate) fn push_back(&mut self, group: FaultGroup) {
        let group = Self::into_raw(group);
        // SAFETY: `into_raw` returned a valid group.
        unsafe { (*group).node.next = core::ptr::null_mut() };
        // INVARIANT: The list owns the new group, which is its last one.
        if self.first.is_null() {
            self.first = group;
        } else {
            // SAFETY: By the type invariants the list has a last group, which is valid.
            unsafe { (*self.last).node.next = group.cast() };
        }
        self.last = group;
        self.len = self.len.saturating_add(1);
    }

    /// Adds a group at the beginning.
    pub(crate) fn push_front(&mut self, group: FaultGroup) {
        let group = Self::into_raw(group);
        // INVARIANT: The list owns the new group, which is linked to the others.
        // SAFETY: `into_raw` returned a valid group.
        unsafe { (*group).node.next = self.first.cast() };
        if self.first.is_null() {
            self.last = group;
        }
        self.first = group;
        self.len = self.len.saturating_add(1);
    }

    /// Removes the first group, and returns it.
    pub(crate) fn pop_front(&mut self) -> Option<FaultGroup> {
        let group = NonNull::new(self.first)?;
        // INVARIANT: The list begins with the second group.
        // SAFETY: By the type invariants the group is valid.
        self.first = unsafe { (*group.as_ptr()).node.next.cast() };
        sub_or_warn!(self.len, 1);
        // INVARIANT: The list owned the group until now.
        Some(FaultGroup(group))
    }

    /// Removes the groups that came by an attachment, and returns them. The order does not change.
    pub(crate) fn take(&mut self, attachment: AttachmentId) -> Self {
        let (mut taken, mut rest) = (Self::new(), Self::new());
        while let Some(group) = self.pop_front() {
            if group.attachment() == attachment {
                taken.push_back(group);
            } else {
                rest.push_back(group);
            }
        }
        *self = rest;
        taken
    }

    /// Returns the C object, which the caller owns as a [`FaultGroup`] does.
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
