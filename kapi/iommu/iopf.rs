// SPDX-License-Identifier: GPL-2.0-only

//! I/O page faults: what a device asks for and waits until it is answered.
//!
//! The IOMMU core hands over a group of faults ([`FaultGroup`]) whose domain has somebody to take
//! it ([`FaultSink`]). From then on the group is owned by exactly one place, and owning it is the
//! only way to answer it; one that is dropped is answered too, with "do not try again". What a
//! group refers to, the attachment that it came by and behind that the device, stays until it is
//! answered: the end of an attachment ([`Handle`]) waits for that.
//!
//! C header: `include/linux/iommu.h`.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        Completion,
        Refcount, //
    },
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        attachable::Attachable,
        msi::Doorbells, //
    }, //
};

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

/// What the IOMMU core knows an attachment by. Dropping it, after the core has forgotten it,
/// answers the faults that are left.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Handle {
    // Comes first: the core's pointer to it is one to us.
    #[pin]
    raw: Opaque<bindings::iommu_attach_handle>,
    domain: Attachable,
    /// Where interrupts go. `None` where the IOMMU does not translate them.
    doorbells: Option<KBox<dyn Doorbells>>,
    device: u32,
    /// The groups that are not answered, the calls that deliver one, and one for ourselves.
    users: Refcount,
    /// Nobody uses it any more.
    #[pin]
    unused: Completion,
}

// SAFETY: The C object is written while it is attached and only read then.
unsafe impl Send for Handle {}
// SAFETY: As above.
unsafe impl Sync for Handle {}

impl Handle {
    /// A handle for attaching to `domain`; `device` is the id that faults will name. `ENOMEM`.
    pub(super) fn new(
        domain: Attachable,
        doorbells: Option<KBox<dyn Doorbells>>,
        device: u32,
    ) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                raw <- Opaque::zeroed(),
                domain,
                doorbells,
                device,
                users: Refcount::new(1),
                unused <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// The C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_attach_handle {
        self.raw.get()
    }

    /// What it attaches to.
    pub(super) fn domain(&self) -> &Attachable {
        &self.domain
    }

    /// The handle that the IOMMU core has for a group.
    ///
    /// # Safety
    ///
    /// The group is attached to a domain of ours, and stays so during `'a`.
    pub(crate) unsafe fn borrow<'a>(raw: *mut bindings::iommu_attach_handle) -> &'a Self {
        // SAFETY: Domains of ours are attached with handles only, by `Attachment`.
        unsafe { &*raw.cast() }
    }

    /// See [`Doorbells::place`]; `None` where the IOMMU does not translate interrupts.
    pub(crate) fn place_doorbell(&self, page: u64) -> Result<Option<u64>> {
        self.doorbells.as_ref().map(|d| d.place(page)).transpose()
    }

    fn id(&self) -> AttachmentId {
        AttachmentId(self.raw.get().addr())
    }

    fn put(&self) {
        if self.users.dec_and_test() {
            self.unused.complete_all();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Handle {
    fn drop(self: Pin<&mut Self>) {
        if let Some(sink) = self.domain.fault_sink() {
            sink.end(self.id());
        }
        self.put();
        // Whoever is about to answer a group is done soon.
        self.unused.wait_for_completion();
    }
}

/// The operation of domains that have a [`FaultSink`].
///
/// # Safety
///
/// Called by the IOMMU core with a group that came by a [`Handle`] which is attached, and stays so
/// during the call: drivers let no fault through while they detach.
pub(super) unsafe extern "C" fn handle_fault(group: *mut bindings::iopf_group) -> c_int {
    // SAFETY: By the caller's promise.
    let handle = unsafe { Handle::borrow((*group).attach_handle) };
    let Some(sink) = handle.domain.fault_sink() else {
        return EINVAL.to_errno();
    };
    // SAFETY: The group is ours; from here on it is on no list of the core's, which would answer it
    // and free it when the device stops having faults.
    unsafe { bindings::iopf_group_dequeue(group) };
    // One for this call: the group may be answered before the call is over.
    handle.users.inc();
    handle.users.inc();
    // INVARIANT: Just counted and taken off the core's list.
    // SAFETY: The core never passes NULL.
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
/// its handle is a [`Handle`] that counts it.
#[repr(transparent)]
pub(crate) struct FaultGroup(NonNull<bindings::iopf_group>);

// SAFETY: A group may be answered from any task.
unsafe impl Send for FaultGroup {}
// SAFETY: What is read of it by reference does not change.
unsafe impl Sync for FaultGroup {}

impl FaultGroup {
    fn handle(&self) -> &Handle {
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
