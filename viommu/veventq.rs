// SPDX-License-Identifier: GPL-2.0-only

//! Event queues: user space reads from a file what a vIOMMU's driver has for the guest.
//!
//! Events are counted as they come, those that are lost for want of room or memory too, so a reader
//! sees by a gap in the numbers that some are missing. Where those are the last ones, a header
//! alone says so, with the number of the last that was lost.
//!
//! Locks: `Queue::reading` (rank 6), under which user memory is written; `Queue::inner` (rank 36).

use kernel::{
    new_mutex,
    new_spinlock,
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
        Arc,
        Mutex,
        SpinLock, //
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
        iommu::vevent::{
            Connection,
            EventReceiver, //
        },
        mm::user::UserStruct,
        uapi::{
            self,
            veventq, //
        }, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    },
    viommu::Viommu, //
};

/// The most events that a queue may hold.
const MAX_DEPTH: u32 = 1 << 19;
/// Bytes of what stands before each event.
const HEADER: usize = size_of::<uapi::VeventHeader>();
/// Numbers of events have so many bits for user space.
const SEQUENCE_MASK: u64 = i32::MAX as u64;

/// IOMMU_VEVENTQ_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::VeventqAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 || cmd.__reserved != 0 || cmd.type_ == veventq::TYPE_DEFAULT {
        return Err(EOPNOTSUPP);
    }
    if cmd.veventq_depth == 0 || cmd.veventq_depth > MAX_DEPTH {
        return Err(EINVAL);
    }
    let viommu: Ref<Viommu> = ctx.objects().get(cmd.viommu_id)?;
    let queue = Arc::pin_init(Queue::new(cmd.veventq_depth), GFP_KERNEL_ACCOUNT)?;
    let connection = viommu.ops().connect(cmd.type_, queue.clone())?;
    let draft = ctx.objects().reserve()?.fill(Ok(VeventQ {
        _connection: connection,
        _viommu: viommu,
        queue,
    }))?;
    let file = NewEventFile::new(c"[iommufd-viommu-event]")?;
    cmd.out_veventq_id = draft.id();
    cmd.out_veventq_fd = file.fd();
    user.write(&cmd)?;
    file.install(QueueFile {
        object: draft.publish_and_get(),
        _ctx: ctx.clone(),
    });
    Ok(())
}

/// The events of one type of a vIOMMU.
struct VeventQ {
    // Field order: no event comes any more when the rest goes.
    _connection: Connection,
    _viommu: Ref<Viommu>,
    queue: Arc<Queue>,
}

impl Kind for VeventQ {}

/// What is not read yet.
struct Inner {
    /// By their numbers. One that is being read has left its bytes with the reader.
    events: RBTree<u64, KVec<u8>>,
    /// How many these are.
    count: usize,
    /// The number of the last event that was lost, where none has come since.
    lost: Option<u64>,
    /// The number of the next event.
    next: u64,
}

/// What is to be read next.
enum First {
    Event(u64, KVec<u8>),
    /// The last events were lost, up to this one.
    Lost(u64),
}

/// Events that wait to be read.
#[pin_data]
struct Queue {
    depth: usize,
    /// Held by who reads: nobody else takes events away.
    #[pin]
    reading: Mutex<()>,
    #[pin]
    inner: SpinLock<Inner>,
    /// Woken when there is something to read.
    arrived: PollCondVarBox,
}

/// The header of the event with this number.
fn header(flags: u32, number: u64) -> uapi::VeventHeader {
    uapi::VeventHeader {
        flags,
        // CAST: It has 31 bits.
        sequence: (number & SEQUENCE_MASK) as u32,
    }
}

impl Queue {
    fn new(depth: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            depth: depth as usize,
            reading <- new_mutex!((), "Queue::reading"),
            inner <- new_spinlock!(
                Inner {
                    events: RBTree::new(),
                    count: 0,
                    lost: None,
                    next: 0,
                },
                "Queue::inner"
            ),
            arrived: PollCondVarBox::new(c"Queue::arrived", kernel::static_lock_class!())?,
        })
    }

    /// Tells of as many events as fit, and returns the bytes. `EINVAL` for less than a header has
    /// and where not even the first event fits, `EFAULT`.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        if to.len() < HEADER {
            return Err(EINVAL);
        }
        let _reading = self.reading.lock();
        let mut done = 0;
        while to.len() >= HEADER {
            match self.read_one(to) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Tells of what comes first and returns the bytes, 0 where there is nothing. On failure it
    /// waits as before. Called with `reading` held.
    fn read_one(&self, to: &mut UserSliceWriter) -> Result<usize> {
        match self.first() {
            None => Ok(0),
            Some(First::Lost(number)) => {
                to.write_slice(header(veventq::LOST_EVENTS, number).as_bytes())?;
                let mut inner = self.inner.lock();
                // More may have been lost meanwhile, or an event has come.
                if inner.lost == Some(number) {
                    inner.lost = None;
                }
                Ok(HEADER)
            }
            Some(First::Event(number, event)) => {
                let written = write_event(to, number, &event);
                let done = match written {
                    Ok(_) => self.forget(number),
                    Err(_) => self.put_back(number, event),
                };
                // What is left of the event is freed without the lock.
                drop(done);
                written
            }
        }
    }

    /// What comes first, with its bytes.
    fn first(&self) -> Option<First> {
        let mut inner = self.inner.lock();
        if let Some(mut first) = inner.events.cursor_front_mut() {
            let (number, event) = first.current_mut();
            return Some(First::Event(*number, core::mem::take(event)));
        }
        inner.lost.map(First::Lost)
    }

    /// An event was read.
    fn forget(&self, number: u64) -> Option<RBTreeNode<u64, KVec<u8>>> {
        let mut inner = self.inner.lock();
        let node = inner.events.remove_node(&number)?;
        inner.count -= 1;
        Some(node)
    }

    /// An event could not be read.
    fn put_back(&self, number: u64, event: KVec<u8>) -> Option<RBTreeNode<u64, KVec<u8>>> {
        if let Some(place) = self.inner.lock().events.get_mut(&number) {
            *place = event;
        }
        None
    }
}

/// Writes a header and an event and returns the bytes. `EINVAL` where they do not fit, `EFAULT`.
fn write_event(to: &mut UserSliceWriter, number: u64, event: &[u8]) -> Result<usize> {
    let bytes = HEADER + event.len();
    if to.len() < bytes {
        return Err(EINVAL);
    }
    to.write_slice(header(0, number).as_bytes())?;
    to.write_slice(event)?;
    Ok(bytes)
}

impl EventReceiver for Queue {
    fn receive(&self, event: &[u8]) -> Result {
        let memory = || -> Result<_> {
            let mut copy = KVec::with_capacity(event.len(), GFP_NOWAIT)?;
            copy.extend_from_slice(event, GFP_NOWAIT)?;
            Ok((RBTreeNodeReservation::new(GFP_NOWAIT)?, copy))
        };
        let memory = memory();
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        let full = inner.count >= self.depth;
        let result = match memory {
            Ok((node, copy)) if !full => {
                drop(inner.events.insert(node.into_node(number, copy)));
                inner.count += 1;
                inner.lost = None;
                Ok(())
            }
            // User space sees that it is lost; the driver is told only of want of memory.
            other => {
                inner.lost = Some(number);
                other.map(|_| ())
            }
        };
        drop(inner);
        self.arrived.notify_all();
        result
    }
}

/// The file of a queue. While it is open the queue cannot be destroyed, and the context stays.
struct QueueFile {
    // Field order: the queue goes before the context.
    object: Ref<VeventQ>,
    _ctx: FileRef<Ctx>,
}

impl EventFile for QueueFile {
    const WRITES: bool = false;

    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        self.object.queue.read(to)
    }

    fn write(&self, _from: &mut UserSliceReader) -> Result<usize> {
        Err(EINVAL)
    }

    fn event(&self) -> &PollCondVar {
        &self.object.queue.arrived
    }

    fn ready(&self) -> Ready {
        let inner = self.object.queue.inner.lock();
        Ready {
            read: inner.count != 0 || inner.lost.is_some(),
            write: false,
        }
    }
}
