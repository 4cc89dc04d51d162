// SPDX-License-Identifier: GPL-2.0-only

//! Fault queues: user space reads the page faults of devices from a file and writes the answers.
//!
//! A group of faults waits to be read. While it is copied to the reader's memory it is in
//! `reading_group`. Then it is delivered, and a cookie names it until it is answered. It is in
//! exactly one of these places, or owned by the task that answers it. The end of an attachment
//! removes its groups from all places, so a later answer finds no group.
//!
//! Locks: `FaultQueue::reading` (rank 6), under which user memory is written; `FaultQueue::inner`
//! (rank 35). Groups are answered with neither held.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
    transmute::AsBytes,
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::{
    kapi::{
        bug::{
            sub_or_warn,
            warn_on_once, //
        },
        file::{
            anon_file::Ready,
            file_ref::FileRef,
            pollers::{
                new_pollers,
                Pollers, //
            }, //
        },
        iommu::iopf::{
            Answer,
            AttachmentId,
            FaultGroup,
            FaultList,
            FaultReader,
            FaultSink, //
        },
        lines::Lines,
        mm::user::UserStruct,
        reason::{
            Reason,
            Refusal,
            Result, //
        },
        sync::killable::lock_killable,
        trace::{
            self,
            emit,
            Event, //
        },
        uapi::{
            self,
            fault, //
        },
        units::to_u64, //
    },
    object::{
        Ctx,
        EventSource,
        Kind,
        NewObjectFile,
        Object,
        Ref, //
    }, //
};

/// Size of a fault as it is read, in bytes.
const FAULT: usize = size_of::<uapi::HwptPgfault>();
/// Size of an answer as it is written, in bytes.
const RESPONSE: usize = size_of::<uapi::HwptPageResponse>();
/// The number of faults that are copied to user memory at once. A device may report any number of
/// faults as one group.
const BLOCK: usize = 16;

/// Handles IOMMU_FAULT_QUEUE_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::FaultAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    let draft = ctx.objects().reserve()?.fill(FaultQueue::new())?;
    let file = NewObjectFile::new(c"[iommufd-pgfault]")?;
    cmd.out_fault_id = draft.id();
    cmd.out_fault_fd = file.fd();
    user.write(&cmd)?;
    file.publish(draft, ctx);
    Ok(())
}

/// The groups of a queue that are not answered.
struct Inner {
    /// Groups that have not been read.
    waiting: FaultList,
    /// The group that is being read, by the task that holds `reading`.
    reading_group: Option<FaultReader>,
    /// Groups that have been read, by their cookies.
    delivered: RBTree<u32, FaultGroup>,
    /// Their number.
    answers_due: u32,
    /// The number of groups that devices have reported.
    reported: u64,
    /// The last cookie that was used.
    cookie: u32,
}

impl Inner {
    /// Returns a cookie that names no group. All others are used before it is used again, so a
    /// second answer to one group does not answer another.
    fn next_cookie(&mut self) -> u32 {
        loop {
            self.cookie = self.cookie.wrapping_add(1).max(1);
            if self.delivered.get(&self.cookie).is_none() {
                return self.cookie;
            }
        }
    }

    /// Removes all groups of an attachment.
    fn take(&mut self, attachment: AttachmentId) -> FaultList {
        let mut taken = self.waiting.take(attachment);
        let ours = |group: &FaultGroup| group.attachment() == attachment;
        if let Some(reader) = self.reading_group.take_if(|reader| ours(reader.group())) {
            taken.push_back(reader.into_group());
        }
        let mut cursor = self.delivered.cursor_front_mut();
        while let Some(mut at) = cursor {
            if !ours(at.current_mut().1) {
                cursor = at.move_next();
                continue;
            }
            let last = at.peek_next().is_none();
            let (next, node) = at.remove_current();
            taken.push_back(node.to_key_value().1);
            sub_or_warn!(self.answers_due, 1);
            // After removal of the last one the cursor is at the one before.
            cursor = next.filter(|_| !last);
        }
        taken
    }
}

/// The delivery of a group: the memory that it needs, allocated before, and what names the group.
struct Delivery {
    node: RBTreeNodeReservation<u32, FaultGroup>,
    cookie: u32,
    /// The number of faults.
    count: usize,
}

/// The page faults of the devices that are attached to page tables made for this queue.
#[pin_data]
pub(crate) struct FaultQueue {
    /// Held while a group is read, so that groups are delivered in the order of their arrival.
    #[pin]
    reading: Mutex<()>,
    #[pin]
    inner: Mutex<Inner>,
    /// Woken when there is something to read.
    #[pin]
    arrived: Pollers,
}

impl Kind for FaultQueue {
    const NAME: &'static CStr = c"fault-queue";

    fn show(&self, lines: &Lines<'_>) {
        let Some(inner) = self.inner.try_lock() else {
            lines.busy();
            return;
        };
        lines.number("waiting", inner.waiting.len());
        lines.number("unanswered", inner.answers_due);
        lines.number("reported", inner.reported);
    }
}

impl FaultQueue {
    fn new() -> impl PinInit<Self, Refusal> {
        try_pin_init!(Self {
            reading <- new_mutex!((), "FaultQueue::reading"),
            inner <- new_mutex!(
                Inner {
                    waiting: FaultList::new(),
                    reading_group: None,
                    delivered: RBTree::new(),
                    answers_due: 0,
                    reported: 0,
                    cookie: 0,
                },
                "FaultQueue::inner"
            ),
            arrived <- new_pollers!("FaultQueue::arrived"),
        }? Refusal)
    }

    /// Copies the first group to user space. Returns the number of bytes, which is 0 if its
    /// attachment has ended before the last of its faults was looked at, or `None` if there is no
    /// group. On failure the group waits again. Returns the errors of [`FaultQueue::read`]. Called
    /// with `reading` held.
    fn read_group(&self, to: &mut UserSliceWriter) -> Result<Option<usize>> {
        let Some(delivery) = self.begin_read(to.len())? else {
            return Ok(None);
        };
        let written = self.write_faults(to, &delivery);
        let mut inner = self.inner.lock();
        // There is no group any more if its attachment has ended meanwhile.
        if let Some(reader) = inner.reading_group.take() {
            let group = reader.into_group();
            if written.is_ok() {
                let node = delivery.node.into_node(delivery.cookie, group);
                let replaced = inner.delivered.insert(node);
                warn_on_once!(replaced.is_some());
                // Each has a cookie of its own, so the number fits.
                inner.answers_due += 1;
            } else {
                inner.waiting.push_front(group);
                drop(inner);
                // A task that polls may have found nothing meanwhile.
                self.arrived.wake_all();
            }
        }
        written.map(Some)
    }

    /// Removes the first group from those that wait, to be read.
    fn begin_read(&self, room: usize) -> Result<Option<Delivery>> {
        loop {
            let Some(count) = self.inner.lock().waiting.first().map(FaultGroup::len) else {
                return Ok(None);
            };
            if count > room / FAULT {
                return Err(Reason::FaultRoom.with(to_u64(count)));
            }
            let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
            let mut inner = self.inner.lock();
            // An attachment may have ended meanwhile, with its groups.
            if inner.waiting.first().map(FaultGroup::len) != Some(count) {
                continue;
            }
            let cookie = inner.next_cookie();
            inner.reading_group = inner.waiting.pop_front().map(FaultReader::new);
            return Ok(Some(Delivery {
                node,
                cookie,
                count,
            }));
        }
    }

    /// Copies the faults of the group that is being read to user space. Returns the number of bytes,
    /// or 0 if the attachment has ended before the last fault was looked at. Returns `EFAULT`.
    fn write_faults(&self, to: &mut UserSliceWriter, delivery: &Delivery) -> Result<usize> {
        let mut left = delivery.count;
        while left != 0 {
            let mut block = core::array::from_fn(|_| Default::default());
            let count = self.compose(delivery.cookie, &mut block);
            let Some(messages) = block.get(..count).filter(|_| count != 0) else {
                return Ok(0);
            };
            to.write_slice(messages.as_bytes())?;
            left = left.saturating_sub(count);
        }
        Ok(delivery.count * FAULT)
    }

    /// Composes the messages of the next faults of the group that is being read. Returns their
    /// number, which is 0 if there is no such group any more.
    fn compose(&self, cookie: u32, block: &mut [uapi::HwptPgfault; BLOCK]) -> usize {
        let mut inner = self.inner.lock();
        let Some(reader) = &mut inner.reading_group else {
            return 0;
        };
        let device = reader.group().device();
        let mut count = 0;
        for (message, request) in block.iter_mut().zip(reader) {
            *message = uapi::HwptPgfault {
                flags: request.flags,
                dev_id: device,
                pasid: request.pasid,
                grpid: request.group,
                perm: request.perm,
                addr: request.addr,
                cookie,
                ..Default::default()
            };
            count += 1;
        }
        count
    }
}

impl Object<FaultQueue> {
    fn respond(&self, response: &uapi::HwptPageResponse) -> Result {
        let answer = match response.code {
            fault::RESP_SUCCESS => Answer::Success,
            fault::RESP_INVALID => Answer::Invalid,
            code => return Err(Reason::FaultAnswer.with(code.into())),
        };
        let mut inner = self.inner.lock();
        let node = inner.delivered.remove_node(&response.cookie);
        if node.is_some() {
            sub_or_warn!(inner.answers_due, 1);
        }
        drop(inner);
        let (_, group) = node
            .map(RBTreeNode::to_key_value)
            .ok_or(Reason::FaultCookie.with(response.cookie.into()))?;
        emit(|| trace::FaultAnswer {
            context: self.context(),
            queue: self.id(),
            device: group.device(),
            cookie: response.cookie,
            faults: u32::try_from(group.len()).unwrap_or(u32::MAX),
            code: response.code,
        });
        group.answer(answer);
        Ok(())
    }
}

impl EventSource for FaultQueue {
    const WRITES: bool = true;
    const READING: &'static CStr = c"read faults";
    const WRITING: &'static CStr = c"answer faults";

    /// Copies as many whole groups as fit to user space. Returns the number of bytes, which may be
    /// less if an attachment ends meanwhile. Returns `EINVAL` if the first group does not fit,
    /// `ESPIPE` if the length is no multiple of a fault's size, `EFAULT`, `ENOMEM`, and `EINTR` if the
    /// task is killed while it waits for another reader.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        if to.len() % FAULT != 0 {
            return Err(Reason::FaultLength.with(to_u64(to.len())));
        }
        let _reading = lock_killable(&self.reading)?;
        let mut done = 0;
        loop {
            let room = to.len();
            match self.read_group(to) {
                // Nothing of the group was written. There may be others behind it.
                Ok(Some(0)) if to.len() == room => {}
                Ok(None | Some(0)) => return Ok(done),
                Ok(Some(bytes)) => done += bytes,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }

    /// Answers groups up to the first invalid answer. Returns the number of bytes of the valid
    /// ones. Returns `EINVAL` for an unknown answer or cookie, `ESPIPE` if the length is no
    /// multiple of an answer's size, `EFAULT`.
    fn write(object: &Object<Self>, from: &mut UserSliceReader) -> Result<usize> {
        if from.len() % RESPONSE != 0 {
            return Err(Reason::FaultLength.with(to_u64(from.len())));
        }
        let mut done = 0;
        while !from.is_empty() {
            let response = from.read().map_err(Refusal::from);
            match response.and_then(|response| object.respond(&response)) {
                Ok(()) => done += RESPONSE,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn pollers(&self) -> &Pollers {
        &self.arrived
    }

    fn ready(&self) -> Ready {
        Ready {
            read: !self.inner.lock().waiting.is_empty(),
            write: true,
        }
    }
}

/// Delivers the page faults of page tables to a queue, and counts those that are not answered.
pub(super) struct Faults {
    queue: Ref<FaultQueue>,
    /// The number of groups.
    pending: Atomic<u32>,
}

impl Faults {
    /// Delivers to `queue`, if there is one. Returns `ENOMEM`.
    pub(super) fn to(queue: Option<Ref<FaultQueue>>) -> Result<Option<Arc<Self>>> {
        let Some(queue) = queue else { return Ok(None) };
        let faults = Self {
            queue,
            pending: Atomic::new(0),
        };
        Ok(Some(Arc::new(faults, GFP_KERNEL_ACCOUNT)?))
    }

    /// Writes lines about the queue and the faults.
    pub(super) fn show(&self, lines: &Lines<'_>) {
        lines.number("fault-queue", self.queue.id());
        lines.number("faults-pending", self.pending.load(Relaxed));
    }
}

impl FaultSink for Faults {
    fn deliver(&self, group: FaultGroup) {
        let queue = &self.queue;
        if trace::Fault::is_read() {
            group.for_each(|request| {
                emit(|| trace::Fault {
                    context: queue.context(),
                    queue: queue.id(),
                    device: group.device(),
                    pasid: request.pasid,
                    group: request.group,
                    perm: request.perm,
                    addr: request.addr,
                });
            });
        }
        self.pending.fetch_add(1, Relaxed);
        let mut inner = queue.inner.lock();
        inner.waiting.push_back(group);
        inner.reported = inner.reported.wrapping_add(1);
        drop(inner);
        queue.arrived.wake_all();
    }

    fn end(&self, attachment: AttachmentId) {
        let left = self.queue.inner.lock().take(attachment);
        // Dropping a group answers it.
        drop(left);
    }

    fn answered(&self) {
        warn_on_once!(self.pending.fetch_sub(1, Relaxed) == 0);
    }
}
