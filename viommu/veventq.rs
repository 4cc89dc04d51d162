// SPDX-License-Identifier: GPL-2.0-only

//! Event queues: user space reads the events that a vIOMMU's driver reports for the guest.
//!
//! Each event has a number, also one that is lost for lack of room or memory, so a gap in the
//! numbers shows the reader that events are missing. If the last events were lost, the reader gets
//! a header without an event, with the number of the last one.
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
        atomic::ordering::Relaxed,
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
        bug::warn_on_once,
        file::{
            anon_file::Ready,
            file_ref::FileRef,
            pollers::{
                new_pollers,
                Pollers, //
            }, //
        },
        iommu::{
            vevent::EventReceiver,
            viommu::Connection, //
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
            emit, //
        },
        uapi::{
            self,
            veventq, //
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
    },
    viommu::{
        part::{
            Part,
            PartOf, //
        },
        Viommu, //
    }, //
};

/// The most events that a queue may hold.
const MAX_DEPTH: u32 = 1 << 19;
/// Size of the header of each event, in bytes.
const HEADER: usize = size_of::<uapi::VeventHeader>();
/// The bits of an event's number that user space sees.
const SEQUENCE_MASK: u64 = i32::MAX as u64;

/// Handles IOMMU_VEVENTQ_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::VeventqAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    if cmd.type_ == veventq::TYPE_DEFAULT {
        return Err(Reason::VeventqType.with(cmd.type_.into()));
    }
    if cmd.veventq_depth == 0 || cmd.veventq_depth > MAX_DEPTH {
        return Err(Reason::VeventqDepth.with(cmd.veventq_depth.into()));
    }
    let viommu: Ref<Viommu> = ctx.objects().get(cmd.viommu_id)?;
    let queue = VeventQ::new(viommu, cmd.veventq_depth, cmd.type_);
    let draft = ctx.objects().reserve()?.fill(queue);
    let draft = draft.map_err(|refusal| match refusal.error() {
        EEXIST => Reason::VeventqType.errno(EEXIST, cmd.type_.into()),
        _ => refusal,
    })?;
    let file = NewObjectFile::new(c"[iommufd-viommu-event]")?;
    cmd.out_veventq_id = draft.id();
    cmd.out_veventq_fd = file.fd();
    user.write(&cmd)?;
    file.publish(draft, ctx);
    Ok(())
}

/// The events of one type of a vIOMMU.
#[pin_data]
struct VeventQ {
    #[pin]
    queue: Connection<Queue>,
}

impl VeventQ {
    /// Initialises a queue, which receives events from then on. Fails with `EEXIST` if the vIOMMU
    /// has a queue of this type.
    fn new(viommu: Ref<Viommu>, depth: u32, kind: u32) -> impl PinInit<Self, Refusal> {
        let target = viommu.ops().event_viommu().clone();
        let queue = Queue::new(depth, PartOf::new(viommu, Part::VeventQ), kind);
        let queue = Connection::new(target, kind, queue, |queue| queue);
        try_pin_init!(Self { queue <- queue }? Refusal)
    }
}

impl Kind for VeventQ {
    const NAME: &'static CStr = c"veventq";

    fn show(&self, lines: &Lines<'_>) {
        lines.number("viommu", self.queue.viommu.id());
        lines.number("type", self.queue.kind);
        lines.number("depth", to_u64(self.queue.depth));
        match self.queue.inner.try_lock() {
            Some(inner) => {
                lines.number("waiting", to_u64(inner.count));
                lines.number("lost", inner.lost_in_all);
            }
            None => lines.busy(),
        }
    }
}

/// Events that have not been read.
struct Inner {
    /// Events by their numbers. The bytes of an event that is being read are with the reader.
    events: RBTree<u64, KVec<u8>>,
    /// The number of events.
    count: usize,
    /// The number of the last event, if it was lost.
    lost: Option<u64>,
    /// The number of all events that were lost.
    lost_in_all: u64,
    /// The number of the next event.
    next: u64,
}

/// The first thing to read.
enum First {
    Event(u64, KVec<u8>),
    /// The last events were lost, up to this one.
    Lost(u64),
}

/// Events that wait to be read.
#[pin_data]
struct Queue {
    viommu: PartOf,
    /// The type of the events.
    kind: u32,
    depth: usize,
    /// Held while events are read, so that one task removes them.
    #[pin]
    reading: Mutex<()>,
    #[pin]
    inner: SpinLock<Inner>,
    /// Woken when there is something to read.
    #[pin]
    arrived: Pollers,
}

/// Returns the header of the event with this number.
fn header(flags: u32, number: u64) -> uapi::VeventHeader {
    uapi::VeventHeader {
        flags,
        // CAST: It has 31 bits.
        sequence: (number & SEQUENCE_MASK) as u32,
    }
}

impl Queue {
    fn new(depth: u32, viommu: PartOf, kind: u32) -> impl PinInit<Self, Refusal> {
        try_pin_init!(Self {
            viommu,
            kind,
            depth: depth as usize,
            reading <- new_mutex!((), "Queue::reading"),
            inner <- new_spinlock!(
                Inner {
                    events: RBTree::new(),
                    count: 0,
                    lost: None,
                    lost_in_all: 0,
                    next: 0,
                },
                "Queue::inner"
            ),
            arrived <- new_pollers!("Queue::arrived"),
        }? Refusal)
    }

    /// Copies as many events as fit to user space. Returns the number of bytes. Returns `EINVAL` if
    /// a header or the first event does not fit, `EFAULT`, and `EINTR` if the task is killed while it
    /// waits for another reader.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        if to.len() < HEADER {
            return Err(Reason::VeventqRoom.with(to_u64(to.len())));
        }
        let _reading = lock_killable(&self.reading)?;
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

    /// Copies the first event, or the header of lost ones, to user space. Returns the number of
    /// bytes, or 0 if there is nothing. On failure it waits again. Called with `reading` held.
    fn read_one(&self, to: &mut UserSliceWriter) -> Result<usize> {
        match self.first() {
            None => Ok(0),
            Some(First::Lost(number)) => {
                to.write_slice(header(veventq::LOST_EVENTS, number).as_bytes())?;
                let mut inner = self.inner.lock();
                // More events may have been lost, or one been received, meanwhile.
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
                // The event is freed without the lock.
                drop(done);
                written
            }
        }
    }

    /// Returns the first thing to read. The bytes of an event are moved out.
    fn first(&self) -> Option<First> {
        let mut inner = self.inner.lock();
        if let Some(mut first) = inner.events.cursor_front_mut() {
            let (number, event) = first.current_mut();
            return Some(First::Event(*number, core::mem::take(event)));
        }
        inner.lost.map(First::Lost)
    }

    /// Removes an event that was read.
    fn forget(&self, number: u64) -> Option<RBTreeNode<u64, KVec<u8>>> {
        let mut inner = self.inner.lock();
        let node = inner.events.remove_node(&number);
        // The caller has `reading` locked, under which alone events are removed.
        if !warn_on_once!(node.is_none()) {
            inner.count -= 1;
        }
        node
    }

    /// Puts back the bytes of an event that could not be copied.
    fn put_back(&self, number: u64, event: KVec<u8>) -> Option<RBTreeNode<u64, KVec<u8>>> {
        let mut inner = self.inner.lock();
        let place = inner.events.get_mut(&number);
        warn_on_once!(place.is_none());
        if let Some(place) = place {
            *place = event;
        }
        None
    }
}

/// Copies a header and an event to user space. Returns the number of bytes. Returns `EINVAL` if
/// they do not fit, `EFAULT`.
fn write_event(to: &mut UserSliceWriter, number: u64, event: &[u8]) -> Result<usize> {
    let bytes = HEADER + event.len();
    if to.len() < bytes {
        return Err(Reason::VeventqRoom.with(to_u64(to.len())));
    }
    to.write_slice(header(0, number).as_bytes())?;
    to.write_slice(event)?;
    Ok(bytes)
}

impl EventReceiver for Queue {
    fn receive(&self, event: &[u8]) -> Result<(), Error> {
        let memory = || -> Result<_, Error> {
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
                // No event has the number yet.
                let replaced = inner.events.insert(node.into_node(number, copy));
                warn_on_once!(replaced.is_some());
                inner.count += 1;
                inner.lost = None;
                Ok(())
            }
            // User space sees that it is lost. The driver gets an error for lack of memory only.
            other => {
                inner.lost = Some(number);
                inner.lost_in_all += 1;
                self.viommu.stats().lost.fetch_add(1, Relaxed);
                other.map(|_| ())
            }
        };
        let lost = inner.lost.is_some();
        drop(inner);
        emit(|| trace::Vevent {
            context: self.viommu.context(),
            viommu: self.viommu.id(),
            kind: self.kind,
            number,
            length: to_u64(event.len()),
            error: match &result {
                Ok(()) if lost => ENOSPC.to_errno(),
                result => trace::errno(result),
            },
        });
        self.arrived.wake_all();
        result
    }
}

impl EventSource for VeventQ {
    const WRITES: bool = false;
    const READING: &'static CStr = c"read events";
    const WRITING: &'static CStr = c"write events";

    fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
        self.queue.read(to)
    }

    fn write(_object: &Object<Self>, _from: &mut UserSliceReader) -> Result<usize> {
        Err(Reason::VeventqWrite.with(0))
    }

    fn pollers(&self) -> &Pollers {
        &self.queue.arrived
    }

    fn ready(&self) -> Ready {
        let inner = self.queue.inner.lock();
        Ready {
            read: inner.count != 0 || inner.lost.is_some(),
            write: false,
        }
    }
}
