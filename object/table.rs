// SPDX-License-Identifier: GPL-2.0-only

//! The table of a context's objects.
//!
//! An id is reserved first, the object is made under it, and it is published last, when nothing can
//! fail any more: [`Table::reserve`] -> [`Reservation::fill`] -> [`Draft::publish`]. Until then
//! nobody finds it, and dropping the draft takes everything back.
//!
//! References to published objects are made under the table's lock or from other references. So
//! under that lock the table knows whether it has the only reference, which is when an object may
//! be destroyed; and because the table then holds the last reference, the object is gone when
//! destroy returns.
//!
//! An id is free again only when its object is gone. Where the kernel destroys an object that user
//! space may still know, the id stays taken for good ([`Table::abandon`]): nothing is found there.
//!
//! One object may be marked, for a user of the table that knows no ids to find it again.
//!
//! The lock `slots` (rank 50) is held for look-ups only. Objects are always dropped outside it.
//! Publishing holds `publishing` (rank 18) for reading, so whoever holds it for writing knows all
//! objects ([`Table::freeze`]).

use core::{
    any::Any,
    ops::Deref, //
};

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::Mutex, //
};

use crate::kapi::{
    fault_injection,
    sync::{
        chunks::Chunks,
        clear_on_drop::Clear,
        rwsem::{
            new_rwsem,
            RwSem,
            WriteGuard, //
        },
        shared::{
            Shared,
            SharedAny, //
        }, //
    }, //
};

/// A kind of object that can be in the table.
pub(crate) trait Kind: Any + Send + Sync {}

/// An object with its id.
#[pin_data]
pub(crate) struct Object<K> {
    id: u32,
    #[pin]
    kind: K,
}

impl<K> Object<K> {
    /// The number that user space knows the object by, unique in its context while it exists.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

impl<K> Deref for Object<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.kind
    }
}

/// A reference to an object of kind `K`. While there is one the object cannot be destroyed.
pub(crate) type Ref<K> = Shared<Object<K>>;

/// A reference to an object of some kind. While there is one the object cannot be destroyed.
pub(crate) struct AnyRef(SharedAny);

impl<K: Kind> From<Ref<K>> for AnyRef {
    fn from(object: Ref<K>) -> Self {
        Self(object.erase())
    }
}

impl AnyRef {
    /// The reference without a table.
    pub(crate) fn into_shared(self) -> SharedAny {
        self.0
    }

    /// The object as kind `K`, or the reference back where it is of another.
    pub(crate) fn downcast<K: Kind>(self) -> Result<Ref<K>, Self> {
        self.0.downcast().map_err(Self)
    }
}

/// What an id that is taken stands for.
enum Slot {
    /// An object that is not published yet, or not destroyed completely.
    Reserved,
    Live(SharedAny),
    /// The object was destroyed although user space did not ask for it: the id is not used again.
    Abandoned,
}

impl Slot {
    /// Puts another slot in the place of a live one and returns the object.
    fn take(&mut self, then: Self) -> Option<SharedAny> {
        match core::mem::replace(self, then) {
            Self::Live(object) => Some(object),
            other => {
                *self = other;
                None
            }
        }
    }
}

struct Slots {
    map: RBTree<u32, Slot>,
    /// No id below this one is free.
    lowest: u32,
    /// The marked object, which is live.
    marked: Option<u32>,
}

impl Slots {
    const FIRST_ID: u32 = 1;
    const LAST_ID: u32 = i32::MAX as u32;

    /// The lowest free id.
    fn free_id(&self) -> Option<u32> {
        let mut id = self.lowest;
        while self.map.get(&id).is_some() {
            id += 1;
        }
        (id <= Self::LAST_ID).then_some(id)
    }

    fn remove(&mut self, id: u32) -> Option<Slot> {
        let slot = self.map.remove(&id)?;
        self.lowest = self.lowest.min(id);
        self.unmark(id);
        Some(slot)
    }

    /// Takes a live object out; its id stays taken, by `then`.
    fn take(&mut self, id: u32, then: Slot) -> Option<SharedAny> {
        let object = self.map.get_mut(&id)?.take(then)?;
        self.unmark(id);
        Some(object)
    }

    fn unmark(&mut self, id: u32) {
        if self.marked == Some(id) {
            self.marked = None;
        }
    }

    fn live(&self, id: u32) -> Option<&SharedAny> {
        match self.map.get(&id) {
            Some(Slot::Live(object)) => Some(object),
            _ => None,
        }
    }
}

/// The objects of a context by id.
#[pin_data]
pub(crate) struct Table {
    #[pin]
    publishing: RwSem<()>,
    #[pin]
    slots: Mutex<Slots>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            publishing <- new_rwsem!((), "Table::publishing"),
            slots <- new_mutex!(
                Slots {
                    map: RBTree::new(),
                    lowest: Slots::FIRST_ID,
                    marked: None,
                },
                "Table::slots"
            ),
        })
    }

    /// Takes the lowest free id. `ENOMEM`, `EBUSY` where all are taken.
    pub(crate) fn reserve(&self) -> Result<Reservation<'_>> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut slots = self.slots.lock();
        let id = slots.free_id().ok_or(EBUSY)?;
        slots.map.insert(node.into_node(id, Slot::Reserved));
        slots.lowest = id + 1;
        Ok(Reservation {
            table: self,
            id,
            published: false,
        })
    }

    /// Returns the object of kind `K` with this id. Returns `ENOENT` if there is none or it is of
    /// another kind.
    pub(crate) fn get<K: Kind>(&self, id: u32) -> Result<Ref<K>> {
        let object = self.get_if(id, |object| object.is::<Object<K>>(), ENOENT)?;
        object.downcast().map_err(|_| ENOENT)
    }

    /// Returns the object with this id. Returns `ENOENT` if there is none.
    pub(crate) fn get_any(&self, id: u32) -> Result<AnyRef> {
        self.get_if(id, |_| true, ENOENT)
    }

    /// Returns the object with this id if it is of kind `A` or `B`. Returns `ENOENT` if there is no
    /// object, `EINVAL` if it is of another kind.
    pub(crate) fn get_either<A: Kind, B: Kind>(&self, id: u32) -> Result<AnyRef> {
        let suits = |object: &SharedAny| object.is::<Object<A>>() || object.is::<Object<B>>();
        self.get_if(id, suits, EINVAL)
    }

    /// Makes no reference to an object that does not suit: who drops one does not look whether it
    /// was the last, as [`Table::release`] does.
    fn get_if(
        &self,
        id: u32,
        suits: impl FnOnce(&SharedAny) -> bool,
        unsuited: Error,
    ) -> Result<AnyRef> {
        fault_injection::point(ENOENT)?;
        let slots = self.slots.lock();
        let object = slots.live(id).ok_or(ENOENT)?;
        if suits(object) {
            Ok(AnyRef(object.clone()))
        } else {
            Err(unsuited)
        }
    }

    /// Destroys an object that nobody else holds. Its id is free once it is gone. `ENOENT` where
    /// there is none, `EBUSY` where it is in use.
    pub(crate) fn destroy(&self, id: u32) -> Result {
        let mut slots = self.slots.lock();
        if slots.live(id).ok_or(ENOENT)?.ref_count() != 1 {
            return Err(EBUSY);
        }
        let taken = self.take_out(&mut slots, id);
        drop(slots);
        drop(taken);
        Ok(())
    }

    /// Takes a live object out. Who still looks its id up finds nothing.
    fn take_out(&self, slots: &mut Slots, id: u32) -> Option<Taken<'_>> {
        let object = slots.take(id, Slot::Reserved)?;
        Some(Taken {
            _object: object,
            id: Reservation {
                table: self,
                id,
                published: false,
            },
        })
    }

    /// Takes an object out of the table, for the caller to destroy without being asked by user
    /// space. User space may still know the id: it stays taken until the context is closed. `None`
    /// where somebody else is destroying the object.
    pub(crate) fn abandon(&self, id: u32) -> Option<AnyRef> {
        self.slots.lock().take(id, Slot::Abandoned).map(AnyRef)
    }

    /// Takes an object that nobody else holds out of the table, for the caller to destroy before it
    /// lets go of the id. `ENOENT` where there is none or it is of another kind, `EBUSY` where it
    /// is in use.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn take<K: Kind>(&self, id: u32) -> Result<(Ref<K>, Reservation<'_>)> {
        let mut slots = self.slots.lock();
        let object: Ref<K> = slots
            .live(id)
            .and_then(|object| object.clone().downcast().ok())
            .ok_or(ENOENT)?;
        // The table holds one reference and we the other.
        let taken = if object.ref_count() == 2 {
            self.take_out(&mut slots, id)
        } else {
            None
        };
        drop(slots);
        let Taken { id, .. } = taken.ok_or(EBUSY)?;
        Ok((object, id))
    }

    /// Drops a reference, and destroys the object if only the table's reference is left.
    ///
    /// The reference is dropped under the lock: of several callers exactly one finds that it was the
    /// last.
    pub(crate) fn release<K: Kind>(&self, object: Ref<K>) {
        let id = object.id();
        let mut slots = self.slots.lock();
        match slots.live(id) {
            Some(ours) if ours.same(&object) => {
                // Not the last reference: the table has one.
                drop(object);
                let last = ours.ref_count() == 1;
                let taken = last.then(|| self.take_out(&mut slots, id)).flatten();
                drop(slots);
                drop(taken);
            }
            _ => {
                drop(slots);
                drop(object);
            }
        }
    }

    /// Takes an object out of the table, so that nobody finds it any more. Who holds it meanwhile
    /// keeps it. The id is free when the result is dropped; `None` where the object was not in the
    /// table.
    #[must_use = "the id is free as soon as the result is dropped"]
    pub(crate) fn withdraw<K: Kind>(&self, object: &Ref<K>) -> Option<Reservation<'_>> {
        let mut slots = self.slots.lock();
        let ours = slots.live(object.id()).is_some_and(|o| o.same(object));
        let taken = if ours {
            self.take_out(&mut slots, object.id())
        } else {
            None
        };
        drop(slots);
        taken.map(|taken| taken.id)
    }

    /// Runs `f` while there is no object and none can come. `EBUSY` where there is one.
    pub(crate) fn while_empty(&self, f: impl FnOnce()) -> Result {
        let slots = self.slots.lock();
        if !slots.map.is_empty() {
            return Err(EBUSY);
        }
        f();
        Ok(())
    }

    /// The marked object, or `None` where none is marked or it is of another kind.
    pub(crate) fn marked<K: Kind>(&self) -> Option<Ref<K>> {
        let slots = self.slots.lock();
        let object = slots.marked.and_then(|id| slots.live(id).cloned());
        drop(slots);
        object.and_then(|object| object.downcast().ok())
    }

    /// Marks an object instead of the one that is marked now, if any. The mark does not hold it and
    /// goes with it.
    pub(crate) fn mark<K: Kind>(&self, object: &Ref<K>) {
        let mut slots = self.slots.lock();
        if slots.live(object.id()).is_some_and(|o| o.same(object)) {
            slots.marked = Some(object.id());
        }
    }

    /// Leaves no object marked.
    pub(crate) fn unmark(&self) {
        self.slots.lock().marked = None;
    }

    /// Runs `f` while no object is marked and none can be. `EBUSY` where one is.
    pub(crate) fn while_unmarked(&self, f: impl FnOnce()) -> Result {
        let slots = self.slots.lock();
        if slots.marked.is_some() {
            return Err(EBUSY);
        }
        f();
        Ok(())
    }
}

impl Table {
    /// Keeps objects from being published until the result is dropped.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        Frozen {
            table: self,
            guard: self.publishing.write(),
        }
    }
}

impl Clear for Table {
    fn clear(&self) {
        let objects = core::mem::replace(&mut self.slots.lock().map, RBTree::new());
        drop(objects);
    }
}

/// A table in which no objects are published.
pub(crate) struct Frozen<'t> {
    table: &'t Table,
    guard: WriteGuard<'t, ()>,
}

impl<'t> Frozen<'t> {
    /// Every object of kind `K`, in the order of their ids. `ENOMEM`.
    pub(crate) fn all<K: Kind>(&self) -> Result<Chunks<Ref<K>>> {
        let mut all = Chunks::new();
        let slots = self.table.slots.lock();
        for slot in slots.map.values() {
            let Slot::Live(object) = slot else { continue };
            if let Ok(object) = object.clone().downcast() {
                all.push(object)?;
            }
        }
        drop(slots);
        Ok(all)
    }

    /// Proof that nobody else has frozen the table.
    pub(crate) fn guard(&self) -> &WriteGuard<'t, ()> {
        &self.guard
    }
}

/// An id without an object. Dropping it frees the id.
pub(crate) struct Reservation<'t> {
    table: &'t Table,
    id: u32,
    published: bool,
}

impl<'t> Reservation<'t> {
    /// The id, which is the object's from now on.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Lets the id be taken until the context is closed.
    fn abandon(&mut self) {
        self.published = true;
        if let Some(slot) = self.table.slots.lock().map.get_mut(&self.id) {
            *slot = Slot::Abandoned;
        }
    }

    /// Makes the object, for nobody to see yet. `ENOMEM`, or what `init` fails with.
    pub(crate) fn fill<K: Kind>(self, init: impl PinInit<K, Error>) -> Result<Draft<'t, K>> {
        let id = self.id;
        let object = Shared::pin_init(
            try_pin_init!(Object {
                id,
                kind <- init,
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Draft {
            object,
            reservation: self,
        })
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.published {
            let slot = self.table.slots.lock().remove(self.id);
            drop(slot);
        }
    }
}

/// An object that was taken out. Dropping it drops the table's reference and then frees the id.
struct Taken<'t> {
    // Field order: as said.
    _object: SharedAny,
    id: Reservation<'t>,
}

/// An object that is not published. Dropping it takes the object down and then frees its id.
pub(crate) struct Draft<'t, K> {
    // Field order: the object goes before its id is free.
    object: Ref<K>,
    reservation: Reservation<'t>,
}

impl<K: Kind> Draft<'_, K> {
    /// Lets everybody find the object. Cannot fail.
    pub(crate) fn publish(self) {
        let table = self.reservation.table;
        let _publishing = table.publishing.read();
        self.publish_in(&mut table.slots.lock());
    }

    /// Drops the draft where another object may have a reference to this one already. Then the object
    /// lives as long as that reference, and the id stays taken until the context is closed.
    pub(crate) fn discard(self) {
        let Self {
            object,
            mut reservation,
        } = self;
        if object.ref_count() > 1 {
            reservation.abandon();
        }
        drop(object);
    }

    /// [`Draft::publish`] for who goes on using the object.
    pub(crate) fn publish_and_get(self) -> Ref<K> {
        let object = self.object.clone();
        self.publish();
        object
    }

    /// Publishes and marks the object, unless one is marked already, which `permit` may forbid.
    pub(crate) fn publish_as_marked(self, permit: impl FnOnce() -> Result) -> Result {
        let table = self.reservation.table;
        let _publishing = table.publishing.read();
        // Dropped before `self`, which needs the lock where it was not published.
        let mut slots = table.slots.lock();
        permit()?;
        if slots.marked.is_none() {
            slots.marked = Some(self.reservation.id);
            self.publish_in(&mut slots);
        }
        Ok(())
    }

    /// The reference becomes the table's.
    fn publish_in(self, slots: &mut Slots) {
        let Self {
            object,
            mut reservation,
        } = self;
        reservation.published = true;
        if let Some(slot) = slots.map.get_mut(&reservation.id) {
            *slot = Slot::Live(object.erase());
        }
    }
}

impl<K> Deref for Draft<'_, K> {
    type Target = Ref<K>;

    fn deref(&self) -> &Ref<K> {
        &self.object
    }
}
