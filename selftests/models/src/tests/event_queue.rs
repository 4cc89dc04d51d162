// SPDX-License-Identifier: GPL-2.0-only

//! Event queues: a driver reports events while user space reads them, or closes the queue.

use std::sync::Arc;

use kernel::{
    alloc::fault,
    prelude::*,
    uaccess::UserSliceWriter, //
};

use crate::{
    kapi::{
        file::{
            anon_file::{
                opened,
                Calls, //
            },
            file_ref::FileRef, //
        },
        mm::user::UserStruct,
        uapi::{
            self,
            word, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    },
    tests::{
        at_once,
        every_order, //
    },
    viommu::{
        veventq,
        Viommu, //
    },
};

const KIND: u32 = 1;
const HEADER: usize = 8;
/// A header and an event, in bytes.
const EVENT: usize = HEADER + 4;

/// A vIOMMU with an event queue.
struct Guest {
    ctx: FileRef<Ctx>,
    viommu: Ref<Viommu>,
    queue: u32,
    file: Arc<dyn Calls>,
}

fn guest(depth: u32) -> Guest {
    let ctx = FileRef::new(Ctx::new());
    let draft = ctx.objects().reserve().unwrap().fill(Ok(Viommu::new()));
    let viommu = draft.unwrap().publish_and_get();
    let command = uapi::VeventqAlloc {
        viommu_id: viommu.id(),
        type_: KIND,
        veventq_depth: depth,
        ..Default::default()
    };
    veventq::alloc(&ctx, command, &UserStruct).unwrap();
    let queue = viommu.id() + 1;
    Guest {
        ctx,
        viommu,
        queue,
        file: opened(),
    }
}

/// Events as they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The number in the queue, and the event.
    Event(u32, u32),
    /// The number of the last one that was lost.
    Lost(u32),
}

/// Reads events into memory of `room` bytes, of which the first `end` can be written. Of events that
/// cannot be copied in whole user space sees nothing.
fn read(file: &dyn Calls, room: usize, end: usize) -> Vec<Seen> {
    let mut to = UserSliceWriter::new(room, end);
    let Ok(length) = file.read(&mut to) else {
        return Vec::new();
    };
    let mut bytes = &to.written()[..length];
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let sequence = word(bytes, 4);
        if word(bytes, 0) == uapi::veventq::LOST_EVENTS {
            seen.push(Seen::Lost(sequence));
            bytes = &bytes[HEADER..];
        } else {
            seen.push(Seen::Event(sequence, word(bytes, HEADER)));
            bytes = &bytes[EVENT..];
        }
    }
    seen
}

fn report(viommu: &Ref<Viommu>, event: u32) -> Result {
    viommu.ops().report(KIND, &event.to_ne_bytes())
}

/// What is read has rising numbers, and each event is there once.
fn check(seen: &[Seen], reported: u32) {
    let numbers: Vec<u32> = seen
        .iter()
        .map(|seen| match seen {
            Seen::Event(number, _) | Seen::Lost(number) => *number,
        })
        .collect();
    assert!(numbers.is_sorted(), "{seen:?}");
    let mut events: Vec<u32> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Event(_, event) => Some(*event),
            Seen::Lost(_) => None,
        })
        .collect();
    let count = events.len();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), count, "{seen:?}");
    // The last number is that of the last event, whether it is there or lost.
    assert_eq!(numbers.last(), reported.checked_sub(1).as_ref(), "{seen:?}");
}

/// Two events are reported while the queue, which has room for one, is read.
#[test]
fn events_are_read_once_and_in_order() {
    every_order(None, || {
        let Guest {
            ctx: _ctx,
            viommu,
            file,
            ..
        } = guest(1);
        let driver = viommu.clone();
        let mut seen = Vec::new();
        at_once!(
            move || {
                report(&driver, 10).unwrap();
                report(&driver, 11).unwrap();
            };
            || seen.extend(read(&*file, 2 * EVENT, usize::MAX))
        );
        assert_eq!(
            file.is_readable(),
            !seen.contains(&Seen::Event(1, 11)) && seen.last() != Some(&Seen::Lost(1))
        );
        seen.extend(read(&*file, 4 * EVENT, usize::MAX));
        check(&seen, 2);
        assert!(seen.contains(&Seen::Event(0, 10)));
        assert!(!file.is_readable());
        assert!(read(&*file, 4 * EVENT, usize::MAX).is_empty());
    });
}

/// Two readers share the events.
#[test]
fn two_readers_share_the_events() {
    every_order(Some(3), || {
        let Guest {
            ctx: _ctx,
            viommu,
            file,
            ..
        } = guest(3);
        report(&viommu, 10).unwrap();
        let (driver, other) = (viommu.clone(), file.clone());
        let others = Arc::new(std::sync::Mutex::new(Vec::new()));
        let found = others.clone();
        let mut seen = Vec::new();
        at_once!(
            move || report(&driver, 11).unwrap(),
            move || {
                let read = read(&*other, EVENT, usize::MAX);
                found.lock().unwrap().extend(read);
            };
            || seen.extend(read(&*file, EVENT, usize::MAX))
        );
        seen.extend(read(&*file, 4 * EVENT, usize::MAX));
        let others = others.lock().unwrap();
        let mut all: Vec<Seen> = seen.iter().chain(others.iter()).copied().collect();
        all.sort_by_key(|seen| match seen {
            Seen::Event(number, _) | Seen::Lost(number) => *number,
        });
        assert_eq!(all, [Seen::Event(0, 10), Seen::Event(1, 11)]);
        check(
            &seen
                .into_iter()
                .filter(|seen| !others.contains(seen))
                .collect::<Vec<_>>(),
            match others.last() {
                Some(Seen::Event(1, _)) => 1,
                _ => 2,
            },
        );
    });
}

/// An event that cannot be copied waits again, whatever arrives meanwhile.
#[test]
fn an_event_that_cannot_be_copied_waits() {
    for end in [0, HEADER, EVENT, EVENT + HEADER] {
        every_order(None, move || {
            let Guest {
                ctx: _ctx,
                viommu,
                file,
                ..
            } = guest(2);
            report(&viommu, 10).unwrap();
            let driver = viommu.clone();
            let mut seen = Vec::new();
            at_once!(
                move || report(&driver, 11).unwrap();
                || seen.extend(read(&*file, 2 * EVENT, end))
            );
            assert_eq!(seen.len(), usize::from(end >= EVENT));
            seen.extend(read(&*file, 4 * EVENT, usize::MAX));
            assert_eq!(seen, [Seen::Event(0, 10), Seen::Event(1, 11)]);
        });
    }
}

/// An event is lost for want of memory while the reader learns that another one was.
#[test]
fn a_loss_during_a_read_is_not_forgotten() {
    every_order(None, || {
        let Guest {
            ctx: _ctx,
            viommu,
            file,
            ..
        } = guest(1);
        let lose = |viommu: &Ref<Viommu>| {
            let (result, failed) = fault::failing(0, || report(viommu, 10));
            assert!(failed && result == Err(ENOMEM));
        };
        lose(&viommu);
        let driver = viommu.clone();
        let mut seen = Vec::new();
        at_once!(
            move || lose(&driver);
            || seen.extend(read(&*file, HEADER, usize::MAX))
        );
        seen.extend(read(&*file, HEADER, usize::MAX));
        check(&seen, 2);
    });
}

/// No event is received after the queue was destroyed, and the reader of a file keeps the queue.
#[test]
fn a_queue_is_destroyed_while_events_are_reported() {
    every_order(None, || {
        let Guest {
            ctx,
            viommu,
            queue,
            file,
        } = guest(2);
        let (driver, other) = (viommu.clone(), ctx.clone());
        at_once!(
            move || {
                // The type has a receiver, or none any more.
                let result = report(&driver, 10);
                assert!(result == Ok(()) || result == Err(EOPNOTSUPP));
            },
            move || {
                // The file that is open refers to the queue.
                let result = other.objects().destroy(queue);
                assert!(result.is_ok() || result.is_err_and(|refusal| refusal == EBUSY));
            };
            move || drop(file)
        );
        // Now nothing refers to it.
        let _ = ctx.objects().destroy(queue);
        assert_eq!(report(&viommu, 11), Err(EOPNOTSUPP));
        let id = viommu.id();
        drop(viommu);
        ctx.objects().destroy(id).unwrap();
    });
}
