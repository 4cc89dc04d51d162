// SPDX-License-Identifier: GPL-2.0-only

//! Fault queues: user space reads the page faults of devices from a file and writes the answers.
//!
//! A group of faults waits to be read; then it is being delivered, which takes as long as the
//! reader's memory does; then it is delivered, and a cookie stands for it until it is answered. It
//! is always in exactly one of these places, or owned by the task that is about to answer it. The
//! end of an attachment takes its groups from any of the places, so an answer that comes later
//! finds nothing.
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
        poll::{
            PollCondVar,
            PollCondVarBox, //
        },
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
        file::{
            anon_file::{
                EventFile,
                NewEventFile,
                Ready, //
            },
            file_ref::FileRef, //
        },
        iommu::iopf::{
            Answer,
            AttachmentId,
            FaultGroup,
            FaultList,
            FaultSink, //
        },
        mm::user::UserStruct,
        uapi::{
            self,
            fault, //
        }, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    }, //
};

/// Bytes of a fault as it is read.
const FAULT: usize = size_of::<uapi::HwptPgfault>();
/// Bytes of an answer as it is written.
const RESPONSE: usize = size_of::<uapi::HwptPageResponse>();

/// IOMMU_FAULT_QUEUE_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::FaultAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(EOPNOTSUPP);
    }
    let draft = ctx.objects().reserve()?.fill(FaultQueue::new())?;
    let file = NewEventFile::new(c"[iommufd-pgfault]")?;
    cmd.out_fault_id = draft.id();
    cmd.out_fault_fd = file.fd();
    user.write(&cmd)?;
    file.install(QueueFile {
        queue: draft.publish_and_get(),
        _ctx: ctx.clone(),
    });
    Ok(())
}

/// The groups of a queue that are not answered.
struct Inner {
    /// Nobody has read them.
    waiting: FaultList,
    /// One that is being read, by whoever holds `reading`.
    reading_group: Option<FaultGroup>,
    /// User space knows them by their cookies.
    delivered: RBTree<u32, FaultGroup>,
    /// The last cookie that was given.
    cookie: u32,
}

impl Inner {
    /// A cookie that stands for no group. Every other one is used before one is used again, so that
    /// an answer which is given twice does not reach another group.
    fn next_cookie(&mut self) -> u32 {
        loop {
            self.cookie = self.cookie.wrapping_add(1).max(1);
            if self.delivered.get(&self.cookie).is_none() {
                return self.cookie;
            }
        }
    }

    /// Takes all groups that came by an attachment.
    fn take(&mut self, attachment: AttachmentId) -> FaultList {
        let mut taken = self.waiting.take(attachment);
        let ours = |group: &mut FaultGroup| group.attachment() == attachment;
        if let Some(group) = self.reading_group.take_if(ours) {
            taken.push_back(group);
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
            // Behind the last one the cursor goes back.
            cursor = next.filter(|_| !last);
        }
        taken
    }
}

/// What being delivered needs, set aside before.
struct ReadBuffer {
    node: RBTreeNodeReservation<u32, FaultGroup>,
    messages: KVec<uapi::HwptPgfault>,
}

/// The page faults of the devices that are attached to page tables made for this queue.
#[pin_data]
pub(crate) struct FaultQueue {
    /// Held by who reads: groups are delivered in the order in which they came.
    #[pin]
    reading: Mutex<()>,
    #[pin]
    inner: Mutex<Inner>,
    /// Woken when there is something to read.
    arrived: PollCondVarBox,
}

impl Kind for FaultQueue {}

impl FaultQueue {
    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            reading <- new_mutex!((), "FaultQueue::reading"),
            inner <- new_mutex!(
                Inner {
                    waiting: FaultList::new(),
                    reading_group: None,
                    delivered: RBTree::new(),
                    cookie: 0,
                },
                "FaultQueue::inner"
            ),
            arrived: PollCondVarBox::new(c"FaultQueue::arrived", kernel::static_lock_class!())?,
        })
    }

    /// Tells of as many groups as fit, each whole, and returns the bytes. `EINVAL` where not even
    /// the first one fits, `ESPIPE` for a length that is no number of faults, `EFAULT`, `ENOMEM`.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        if to.len() % FAULT != 0 {
            return Err(ESPIPE);
        }
        let _reading = self.reading.lock();
        let mut done = 0;
        loop {
            match self.read_group(to) {
                Ok(0) => return Ok(done),
                Ok(bytes) => done += bytes,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }

    /// Tells of the first group and returns the bytes, 0 where there is none. On failure it waits
    /// as before. Fails as [`FaultQueue::read`]. Called with `reading` held.
    fn read_group(&self, to: &mut UserSliceWriter) -> Result<usize> {
        let Some((buffer, cookie)) = self.begin_read(to.len())? else {
            return Ok(0);
        };
        let written = to.write_slice(buffer.messages.as_slice().as_bytes());
        let mut inner = self.inner.lock();
        // The group is gone where its attachment ended meanwhile.
        if let Some(group) = inner.reading_group.take() {
            match written {
                Ok(()) => drop(inner.delivered.insert(buffer.node.into_node(cookie, group))),
                Err(_) => inner.waiting.push_front(group),
            }
        }
        written.map(|()| buffer.messages.len() * FAULT)
    }

    /// Takes the first group to be delivered of, and writes the messages.
    fn begin_read(&self, room: usize) -> Result<Option<(ReadBuffer, u32)>> {
        loop {
            let Some(count) = self.inner.lock().waiting.first().map(FaultGroup::len) else {
                return Ok(None);
            };
            if count > room / FAULT {
                return Err(EINVAL);
            }
            let mut buffer = ReadBuffer {
                node: RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?,
                messages: KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?,
            };
            let mut inner = self.inner.lock();
            // An attachment may have ended meanwhile, and its groups have gone.
            if inner.waiting.first().map(FaultGroup::len) != Some(count) {
                continue;
            }
            let cookie = inner.next_cookie();
            inner.reading_group = inner.waiting.pop_front();
            if let Some(group) = &inner.reading_group {
                compose(group, cookie, &mut buffer.messages);
            }
            return Ok(Some((buffer, cookie)));
        }
    }

    /// Answers groups until an answer is wrong, and returns the bytes of the right ones. `EINVAL`
    /// for an unknown answer or cookie, `ESPIPE` for a length that is no number of answers,
    /// `EFAULT`.
    fn write(&self, from: &mut UserSliceReader) -> Result<usize> {
        if from.len() % RESPONSE != 0 {
            return Err(ESPIPE);
        }
        let mut done = 0;
        while !from.is_empty() {
            match from.read().and_then(|response| self.respond(&response)) {
                Ok(()) => done += RESPONSE,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn respond(&self, response: &uapi::HwptPageResponse) -> Result {
        let answer = match response.code {
            fault::RESP_SUCCESS => Answer::Success,
            fault::RESP_INVALID => Answer::Invalid,
            _ => return Err(EINVAL),
        };
        let node = self.inner.lock().delivered.remove_node(&response.cookie);
        let (_, group) = node.map(RBTreeNode::to_key_value).ok_or(EINVAL)?;
        group.answer(answer);
        Ok(())
    }
}

/// Writes down a group's faults; there is room for them.
fn compose(group: &FaultGroup, cookie: u32, messages: &mut KVec<uapi::HwptPgfault>) {
    group.for_each(|request| {
        let message = uapi::HwptPgfault {
            flags: request.flags,
            dev_id: group.device(),
            pasid: request.pasid,
            grpid: request.group,
            perm: request.perm,
            addr: request.addr,
            cookie,
            ..Default::default()
        };
        drop(messages.push_within_capacity(message));
    });
}

impl FaultSink for Ref<FaultQueue> {
    fn deliver(&self, group: FaultGroup) {
        self.inner.lock().waiting.push_back(group);
        self.arrived.notify_all();
    }

    fn end(&self, attachment: AttachmentId) {
        let left = self.inner.lock().take(attachment);
        // Dropping them answers.
        drop(left);
    }
}

/// The file of a queue. While it is open the queue cannot be destroyed, and the context stays with
/// all that is attached.
struct QueueFile {
    // Field order: the queue goes before the context.
    queue: Ref<FaultQueue>,
    _ctx: FileRef<Ctx>,
}

impl EventFile for QueueFile {
    const WRITES: bool = true;

    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        self.queue.read(to)
    }

    fn write(&self, from: &mut UserSliceReader) -> Result<usize> {
        self.queue.write(from)
    }

    fn event(&self) -> &PollCondVar {
        &self.queue.arrived
    }

    fn ready(&self) -> Ready {
        Ready {
            read: !self.queue.inner.lock().waiting.is_empty(),
            write: true,
        }
    }
}
