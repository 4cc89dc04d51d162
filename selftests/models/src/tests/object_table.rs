// SPDX-License-Identifier: GPL-2.0-only

//! The object table: look-ups, destruction, publication, marks.

use std::sync::{
    atomic::{
        AtomicBool,
        AtomicU32,
        Ordering::SeqCst, //
    },
    Arc, //
};

use kernel::prelude::*;
use loom::cell::UnsafeCell;

use crate::{
    kapi::{
        lines::Lines,
        reason::Reason, //
    },
    object::{
        Ctx,
        Kind,
        Ref,
        Table, //
    },
    tests::{
        at_once,
        every_order, //
    },
};

/// What became of objects: how many were dropped.
type Dropped = Arc<AtomicU32>;

/// An object whose memory is read by its users, and written when it is dropped.
struct Thing {
    memory: UnsafeCell<u32>,
    dropped: Dropped,
}

// SAFETY: Loom checks that nothing reads the memory while it is written.
unsafe impl Send for Thing {}
// SAFETY: Loom checks that nothing reads the memory while it is written.
unsafe impl Sync for Thing {}

impl Thing {
    fn new(dropped: &Dropped) -> Self {
        Self {
            memory: UnsafeCell::new(5),
            dropped: dropped.clone(),
        }
    }

    fn touch(&self) {
        // SAFETY: The cell is there as long as the object.
        assert_eq!(self.memory.with(|memory| unsafe { *memory }), 5);
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        // SAFETY: The cell is there until the end of the drop.
        self.memory.with_mut(|memory| unsafe { *memory = 0 });
        self.dropped.fetch_add(1, SeqCst);
    }
}

impl Kind for Thing {
    const NAME: &'static CStr = c"thing";

    fn show(&self, _lines: &Lines<'_>) {}
}

/// An object that goes with its last user.
struct Passing(Thing);

impl Kind for Passing {
    const NAME: &'static CStr = c"passing";
    const MAY_GO_WITH_LAST_USER: bool = true;

    fn goes_with_last_user(&self) -> bool {
        true
    }

    fn show(&self, _lines: &Lines<'_>) {}
}

/// An empty context, and the count of objects that were dropped.
fn context() -> (Arc<Ctx>, Dropped) {
    (Arc::new(Ctx::new()), Dropped::default())
}

fn publish(table: &Table, dropped: &Dropped) -> Ref<Thing> {
    let draft = table.reserve().unwrap().fill(Ok(Thing::new(dropped)));
    draft.unwrap().publish_and_get()
}

/// Destroying an object succeeds only if nobody uses it, and it is gone when the call returns.
#[test]
fn users_keep_an_object() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let id = publish(ctx.objects(), &dropped).id();
        let (user, counted) = (ctx.clone(), dropped.clone());
        at_once!(
            move || match user.objects().get::<Thing>(id) {
                Ok(thing) => thing.touch(),
                Err(refusal) => {
                    assert_eq!(refusal.reason(), Reason::ObjectNone);
                }
            };
            || match ctx.objects().destroy(id) {
                Ok(()) => assert_eq!(counted.load(SeqCst), 1),
                Err(refusal) => assert_eq!(refusal.reason(), Reason::ObjectInUse),
            }
        );
        drop(ctx);
        assert_eq!(dropped.load(SeqCst), 1);
    });
}

/// Of two tasks that destroy an object one does.
#[test]
fn one_destroys() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let id = publish(ctx.objects(), &dropped).id();
        let other = ctx.clone();
        let done = Arc::new(AtomicU32::new(0));
        let count = done.clone();
        at_once!(
            move || if other.objects().destroy(id).is_ok() {
                count.fetch_add(1, SeqCst);
            };
            || if ctx.objects().destroy(id).is_ok() {
                done.fetch_add(1, SeqCst);
            }
        );
        assert_eq!((done.load(SeqCst), dropped.load(SeqCst)), (1, 1));
        assert!(ctx.objects().get::<Thing>(id).is_err());
    });
}

/// An id is free when its object is gone, not before.
#[test]
fn an_id_is_free_after_its_object() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let id = publish(ctx.objects(), &dropped).id();
        let (other, counted, second) = (ctx.clone(), dropped.clone(), Dropped::default());
        let second_dropped = second.clone();
        at_once!(
            move || {
                let new = publish(other.objects(), &second);
                new.touch();
                if new.id() == id {
                    assert_eq!(counted.load(SeqCst), 1);
                } else {
                    assert_eq!(new.id(), id + 1);
                }
            };
            || {
                // The new object may have the id already, and its maker uses it.
                let first = ctx.objects().destroy(id);
                assert!(first.is_ok(), "{first:?}");
            }
        );
        drop(ctx);
        assert_eq!((dropped.load(SeqCst), second_dropped.load(SeqCst)), (1, 1));
    });
}

/// The last of several users that release an object destroys it, and exactly one does.
#[test]
fn the_last_release_destroys() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let first = publish(ctx.objects(), &dropped);
        let (id, second, other) = (first.id(), first.clone(), ctx.clone());
        at_once!(
            move || {
                // As long as there is a user the id names the object.
                let again = other.objects().get::<Thing>(id).unwrap();
                again.touch();
                other.objects().release(again);
                second.touch();
                other.objects().release(second);
            };
            || {
                first.touch();
                ctx.objects().release(first);
            }
        );
        assert_eq!(dropped.load(SeqCst), 1);
        assert!(ctx.objects().get::<Thing>(id).is_err());
        // The id is free.
        assert_eq!(ctx.objects().reserve().unwrap().id(), id);
    });
}

/// The result of a look-up is dropped while the last user releases the object, which is destroyed by one
/// of them.
#[test]
fn a_look_up_meets_the_last_release() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let passing = Passing(Thing::new(&dropped));
        let draft = ctx.objects().reserve().unwrap().fill(Ok(passing));
        let user = draft.unwrap().publish_and_get();
        let (id, other) = (user.id(), ctx.clone());
        at_once!(
            move || if let Ok(found) = other.objects().get_any(id) {
                found.lend::<Passing>().unwrap().0.touch();
                assert!(found.into_shared().is_none());
            };
            || {
                user.0.touch();
                ctx.objects().release(user);
            }
        );
        assert_eq!(dropped.load(SeqCst), 1);
        // The id is free.
        assert_eq!(ctx.objects().reserve().unwrap().id(), id);
    });
}

/// The last user releases an object while its maker publishes it and releases its own reference: one of the
/// two destroys it.
#[test]
fn a_release_meets_the_publication() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let passing = Passing(Thing::new(&dropped));
        let draft = ctx.objects().reserve().unwrap().fill(Ok(passing)).unwrap();
        let (own, user, other) = ((*draft).clone(), (*draft).clone(), ctx.clone());
        at_once!(
            move || other.objects().release(user);
            || {
                draft.publish();
                ctx.objects().release(own);
            }
        );
        assert_eq!(dropped.load(SeqCst), 1);
    });
}

/// A release and a destruction at once: one of them destroys the object.
#[test]
fn a_release_meets_a_destruction() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let user = publish(ctx.objects(), &dropped);
        let (id, other, counted) = (user.id(), ctx.clone(), dropped.clone());
        at_once!(
            move || {
                user.touch();
                other.objects().release(user);
            };
            || if let Err(refusal) = ctx.objects().destroy(id) {
                let reasons = [Reason::ObjectInUse, Reason::ObjectNone];
                assert!(reasons.contains(&refusal.reason()));
            }
        );
        assert_eq!(counted.load(SeqCst), 1);
    });
}

/// An object that the kernel destroys keeps its id, and only one task gets it.
#[test]
fn an_abandoned_object_keeps_its_id() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let id = publish(ctx.objects(), &dropped).id();
        let (other, abandoned) = (ctx.clone(), Arc::new(AtomicBool::new(false)));
        let said = abandoned.clone();
        let destroyed = Arc::new(AtomicBool::new(false));
        at_once!(
            move || said.store(other.objects().abandon(id).is_some(), SeqCst);
            || destroyed.store(ctx.objects().destroy(id).is_ok(), SeqCst)
        );
        let (abandoned, destroyed) = (abandoned.load(SeqCst), destroyed.load(SeqCst));
        assert!(abandoned != destroyed);
        assert_eq!(dropped.load(SeqCst), 1);
        let next = ctx.objects().reserve().unwrap().id();
        assert_eq!(next, if abandoned { id + 1 } else { id });
    });
}

/// An object that is withdrawn is not found, and what was found stays.
#[test]
fn a_withdrawn_object_stays_with_its_users() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let owner = publish(ctx.objects(), &dropped);
        let (id, other) = (owner.id(), ctx.clone());
        at_once!(
            move || if let Ok(thing) = other.objects().get::<Thing>(id) {
                thing.touch();
            };
            || {
                let reservation = ctx.objects().withdraw(&owner);
                assert!(reservation.is_some());
                assert!(ctx.objects().get::<Thing>(id).is_err());
                owner.touch();
            }
        );
        drop(owner);
        assert_eq!(dropped.load(SeqCst), 1);
    });
}

/// While the table is frozen no object is published, and a task that freezes it sees all of them.
#[test]
fn a_frozen_table_is_complete() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let other = ctx.clone();
        let published = Arc::new(AtomicBool::new(false));
        let said = published.clone();
        let thing = dropped.clone();
        at_once!(
            move || {
                publish(other.objects(), &thing);
                said.store(true, SeqCst);
            };
            || {
                let was = published.load(SeqCst);
                let frozen = ctx.objects().freeze();
                let seen = frozen.all::<Thing>().unwrap().into_iter().count();
                let again = frozen.all::<Thing>().unwrap().into_iter().count();
                assert_eq!(seen, again);
                assert!(seen == 1 || !was);
            }
        );
        drop(ctx);
        assert_eq!(dropped.load(SeqCst), 1);
    });
}

/// Objects are seen in the order of their ids, and the table is empty when the last one is gone.
#[test]
fn many_objects_have_their_ids() {
    every_order(None, || {
        const MANY: u32 = 200;
        let (ctx, dropped) = context();
        let table = ctx.objects();
        let seen = |from| {
            let mut ids = Vec::new();
            let next = table.look(from, MANY as usize + 1, |object| {
                ids.push(object.id());
                true
            });
            assert!(next.is_none());
            ids
        };
        for id in 1..=MANY {
            assert_eq!(publish(table, &dropped).id(), id);
        }
        assert_eq!(seen(0), (1..=MANY).collect::<Vec<_>>());
        assert_eq!(seen(31), (31..=MANY).collect::<Vec<_>>());
        // Many neighbours are gone, and some ids are taken without an object.
        let gone = |id: &u32| (60..=130).contains(id) || id % 7 == 0;
        let reserved: Vec<_> = (1..=MANY)
            .filter(gone)
            .map(|id| {
                table.destroy(id).unwrap();
                id
            })
            .take(3)
            .map(|id| {
                let reservation = table.reserve().unwrap();
                assert_eq!(reservation.id(), id);
                reservation
            })
            .collect();
        (1..=MANY)
            .filter(|id| gone(id) && table.get::<Thing>(*id).is_ok())
            .for_each(|id| table.destroy(id).unwrap());
        let left: Vec<_> = (1..=MANY).filter(|id| !gone(id)).collect();
        assert_eq!(seen(0), left);
        let behind = left.iter().copied().filter(|id| *id > 130);
        assert_eq!(seen(70), behind.collect::<Vec<_>>());
        assert_eq!(seen(MANY + 1), []);
        left.into_iter().for_each(|id| table.destroy(id).unwrap());
        assert_eq!(
            table.while_empty(|| ()).unwrap_err().reason(),
            Reason::OptionHasObjects
        );
        drop(reserved);
        table.while_empty(|| ()).unwrap();
        assert_eq!(publish(table, &dropped).id(), 1);
        assert_eq!(dropped.load(SeqCst), MANY);
    });
}

/// Of two objects that are published as the marked one, one is.
#[test]
fn one_object_is_marked() {
    every_order(None, || {
        let (ctx, dropped) = context();
        let other = ctx.clone();
        let (first, second) = (dropped.clone(), dropped.clone());
        let make = |ctx: &Ctx, dropped: &Dropped| {
            let draft = ctx
                .objects()
                .reserve()
                .unwrap()
                .fill(Ok(Thing::new(dropped)));
            draft.unwrap().publish_as_marked(|| Ok(())).unwrap();
            let marked = ctx.objects().marked::<Thing>().unwrap();
            marked.touch();
        };
        at_once!(
            move || make(&other, &first);
            || make(&ctx, &second)
        );
        assert_eq!(dropped.load(SeqCst), 1);
        let marked = ctx.objects().marked::<Thing>().unwrap();
        let id = marked.id();
        drop(marked);
        ctx.objects().destroy(id).unwrap();
        assert!(ctx.objects().marked::<Thing>().is_none());
        assert!(ctx.objects().while_empty(|| ()).is_ok());
    });
}
