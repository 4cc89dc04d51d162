// SPDX-License-Identifier: GPL-2.0-only

//! The table of a context's objects.
//!
//! An id is reserved first, then the object is made, and it is published last, when nothing can
//! fail any more: [`Table::reserve`] -> [`Reservation::fill`] -> [`Draft::publish`]. Before that no
//! look-up finds the object, and dropping the draft undoes everything.
//!
//! A reference to a published object is made under the table's lock or from another reference. So
//! under that lock a count of one means that the table has the only reference. Then the object may
//! be destroyed, and since the table drops the last reference, it is dropped before `destroy`
//! returns.
//!
//! An id is freed after its object has been dropped. If the kernel destroys an object whose id user
//! space may still use, the id remains taken until the context is closed ([`Table::abandon`]).
//!
//! One object may be marked, and be found by that mark instead of its id.
//!
//! The lock `slots` (rank 50) is held for look-ups. No object is dropped for the last time under
//! it. Publishing holds `publishing` (rank 18) for reading; a task that holds it for writing sees
//! all objects ([`Table::freeze`]).

use core::{
    marker::PhantomData,
    ops::Deref, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    kapi::{
        bug::warn_on_once,
        fault_injection,
        lines::Lines,
        reason::{
            Reason,
            Refusal,
            Result, //
        },
        sync::{
            chunks::Chunks,
            clear_on_drop::Clear,
            ida::Ida,
            look::look,
            room::{
                Room,
                RoomSize, //
            },
            rwsem::{
                new_rwsem,
                RwSem,
                WriteGuard, //
            },
            shared::{
                Shared,
                SharedAny, //
            }, //
        },
        trace::{
            self,
            emit, //
        }, //
    },
    object::{
        in_use::{
            InUse,
            Owner, //
        },
        kind::{
            AnyRef,
            Census,
            Either,
            Kind,
            Name,
            Object,
            Ref, //
        },
        slots::{
            BlockMemory,
            Live,
            Slots, //
        }, //
    }, //
};

/// The objects of a context by id.
#[pin_data]
pub(crate) struct Table {
    context: u64,
    /// The ids that are taken. An id is taken before it has a slot and freed after it has none.
    #[pin]
    ids: Ida,
    #[pin]
    publishing: RwSem<()>,
    #[pin]
    slots: Mutex<Slots>,
}

impl Table {
    const FIRST_ID: u32 = 1;
    const LAST_ID: u32 = i32::MAX as u32;

    /// Initialises the empty table of the context with this number.
    pub(crate) fn new(context: u64) -> impl PinInit<Self> {
        pin_init!(Self {
            context,
            ids <- Ida::new(),
            publishing <- new_rwsem!((), "Table::publishing"),
            slots <- new_mutex!(Slots::new(), "Table::slots"),
        })
    }

    /// Reserves the lowest free id. Returns `ENOMEM`, or `EBUSY` if all ids are taken.
    pub(crate) fn reserve(&self) -> Result<Reservation<'_>> {
        let ids = Self::FIRST_ID..=Self::LAST_ID;
        let id = self.ids.alloc(ids).map_err(|error| match error {
            ENOSPC => Reason::ObjectIds.with(0),
            error => error.into(),
        })?;
        let mut memory = None;
        while !self.slots.lock().add(id, &mut memory) {
            let block = BlockMemory::new(GFP_KERNEL_ACCOUNT);
            memory = Some(block.inspect_err(|_| self.ids.free(id))?);
        }
        Ok(Reservation {
            table: self,
            id,
            published: false,
        })
    }

    /// Returns the object of kind `K` with this id. Returns `ENOENT` if there is none or it is of
    /// another kind. No object of the kind goes with its last user.
    pub(crate) fn get<K: Kind>(&self, id: u32) -> Result<Ref<K>> {
        const { assert!(!K::MAY_GO_WITH_LAST_USER) };
        fault_injection::point(ENOENT)?;
        let slots = self.slots.lock();
        let object = slots.live(id).ok_or(Reason::ObjectNone.with(id.into()))?;
        object.clone_as().ok_or(Reason::ObjectKind.with(id.into()))
    }

    /// As [`Table::get`], for objects that may go with their last user, and that suit. Others get no
    /// reference, with which they could not be destroyed meanwhile. `suits` is called under the table's
    /// lock: it must be quick and must not sleep.
    pub(crate) fn get_in_use<K: Kind>(
        &self,
        id: u32,
        suits: impl FnOnce(&K) -> bool,
    ) -> Result<InUse<'_>> {
        let suits = |object: &SharedAny| {
            let object = object.downcast_ref::<Object<K>>();
            object.is_some_and(|object| suits(object))
        };
        self.get_if(id, suits)
    }

    /// Returns the object with this id. Returns `ENOENT` if there is none.
    pub(crate) fn get_any(&self, id: u32) -> Result<InUse<'_>> {
        self.get_if(id, |_| true)
    }

    /// As [`Table::get`], for an object of kind `A` or `B`. Returns `EINVAL` if it is of another kind.
    pub(crate) fn get_either<A: Kind, B: Kind>(&self, id: u32) -> Result<Either<A, B>> {
        const { assert!(!A::MAY_GO_WITH_LAST_USER && !B::MAY_GO_WITH_LAST_USER) };
        fault_injection::point(ENOENT)?;
        let slots = self.slots.lock();
        let object = slots.live(id).ok_or(Reason::ObjectNone.with(id.into()))?;
        if let Some(object) = object.clone_as() {
            return Ok(Either::A(object));
        }
        let object = object.clone_as().map(Either::B);
        object.ok_or(Reason::ObjectKind.errno(EINVAL, id.into()))
    }

    /// Returns the object with this id if it suits, and `ENOENT` otherwise.
    fn get_if(&self, id: u32, suits: impl FnOnce(&SharedAny) -> bool) -> Result<InUse<'_>> {
        fault_injection::point(ENOENT)?;
        let slots = self.slots.lock();
        let Live { object, about } = slots.entry(id).ok_or(Reason::ObjectNone.with(id.into()))?;
        if !suits(object) {
            return Err(Reason::ObjectKind.with(id.into()));
        }
        let goes = (about.goes_with_last_user)(object);
        Ok(InUse::new(self, id, object.clone(), goes))
    }

    /// Destroys an object, and then frees its id. Returns the errors of [`Table::take`].
    // The test module takes objects, since one may be a mock device.
    #[cfg_attr(CONFIG_IOMMUFD_RS_TEST, allow(dead_code))]
    pub(crate) fn destroy(&self, id: u32) -> Result {
        self.take(id).map(drop)
    }

    /// Removes an object. Dropping the result destroys it, and then frees its id. Returns `ENOENT` if
    /// there is none, `EBUSY` if there are other references to it.
    pub(crate) fn take(&self, id: u32) -> Result<Taken<'_>> {
        let none = Reason::ObjectNone.with(id.into());
        let mut slots = self.slots.lock();
        let object = slots.live(id).ok_or(none)?;
        if object.ref_count() != 1 {
            return Err(Reason::ObjectInUse.with(id.into()));
        }
        self.take_out(&mut slots, id).ok_or(none)
    }

    /// Removes a live object. Look-ups of its id fail from here on.
    fn take_out(&self, slots: &mut Slots, id: u32) -> Option<Taken<'_>> {
        let object = slots.take(id)?;
        Some(Taken {
            _object: object,
            id: Reservation {
                table: self,
                id,
                published: false,
            },
        })
    }

    /// Removes an object, for the caller to destroy without a request of user space. Since user
    /// space may still use the id, it remains taken until the context is closed. Returns `None` if
    /// another task is destroying the object.
    pub(crate) fn abandon(&self, id: u32) -> Option<AnyRef> {
        self.slots.lock().take(id).map(AnyRef)
    }

    /// Drops a reference, and destroys the object if only the table's reference is left.
    ///
    /// The reference is dropped under the lock: of several callers exactly one finds that it was
    /// the last.
    pub(crate) fn release<K: Kind>(&self, object: Ref<K>) {
        self.release_any(object.id(), object);
    }

    /// As [`Table::release`], for the object with this id.
    fn release_any<T: ?Sized>(&self, id: u32, object: Shared<T>) {
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
                // Its maker may have published it in between, and then given back its own reference
                // while this one was still there.
                self.collect(id);
            }
        }
    }

    /// Destroys the object with this id if only the table refers to it and
    /// [`Kind::goes_with_last_user`] returns true for it. Takes no reference to it, which another call
    /// would find.
    fn collect(&self, id: u32) {
        let mut slots = self.slots.lock();
        let is_unused = slots.entry(id).is_some_and(|Live { object, about }| {
            object.ref_count() == 1 && (about.goes_with_last_user)(object)
        });
        let taken = is_unused.then(|| self.take_out(&mut slots, id)).flatten();
        drop(slots);
        drop(taken);
    }

    /// Removes an object, so that no look-up finds it. Other references to it remain valid.
    /// Dropping the result frees the id. Returns `None` if the object is not in the table.
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

    /// Runs `f` while the table is empty and no id can be reserved. Returns `EBUSY` if it is not
    /// empty.
    pub(crate) fn while_empty(&self, f: impl FnOnce()) -> Result {
        let slots = self.slots.lock();
        if !slots.is_empty() {
            return Err(Reason::OptionHasObjects.with(0));
        }
        f();
        Ok(())
    }

    /// Returns the marked object, or `None` if none is marked or it is of another kind.
    pub(crate) fn marked<K: Kind>(&self) -> Option<Ref<K>> {
        let slots = self.slots.lock();
        slots.live(slots.marked()?)?.clone_as()
    }

    /// Marks an object instead of the one that is marked. The mark is no reference, and is removed
    /// with the object.
    pub(crate) fn mark<K: Kind>(&self, object: &Ref<K>) {
        let mut slots = self.slots.lock();
        if slots.live(object.id()).is_some_and(|o| o.same(object)) {
            slots.mark(Some(object.id()));
        }
    }

    /// Removes the mark.
    pub(crate) fn unmark(&self) {
        self.slots.lock().mark(None);
    }

    /// Runs `f` while no object is marked and none can be. Returns `EBUSY` if one is marked.
    pub(crate) fn while_unmarked(&self, f: impl FnOnce()) -> Result {
        let slots = self.slots.lock();
        if slots.marked().is_some() {
            return Err(Reason::ContainerNoIommu.errno(EBUSY, 0));
        }
        f();
        Ok(())
    }
}

impl Owner for Table {
    fn give_back(&self, id: u32, object: SharedAny) {
        self.release_any(id, object);
    }
}

impl Table {
    /// Returns the [number](crate::object::Ctx::id) of the context.
    pub(crate) fn context(&self) -> u64 {
        self.context
    }

    /// Prevents objects from being published until the result is dropped.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        Frozen {
            table: self,
            guard: self.publishing.write(),
        }
    }
}

/// An object that [`Table::look`] shows.
pub(crate) struct Seen<'a> {
    id: u32,
    live: &'a Live,
}

// Without debugfs nothing asks for these.
#[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
impl Seen<'_> {
    /// Returns the id of the object.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Returns the object if it is of kind `K`.
    pub(crate) fn as_kind<K: Kind>(&self) -> Option<&Object<K>> {
        (*self.live.object).downcast_ref()
    }

    /// Returns what objects of its kind are called.
    pub(crate) fn kind(&self) -> &'static CStr {
        self.live.about.name
    }

    /// Writes lines about the object.
    pub(crate) fn show(&self, lines: &Lines<'_>) {
        (self.live.about.show)(&self.live.object, &lines.of(self.kind(), self.id));
    }
}

impl Table {
    /// Returns the numbers of objects.
    pub(crate) fn census(&self) -> Census {
        look(&self.slots, Slots::census)
    }

    /// Calls `f` with objects, in the order of their ids from `from` on, until it returns false or
    /// `most` ids were looked at. Returns the next id to look at, or `None` at the end.
    ///
    /// `f` is called under the table's lock. It must be quick and must not sleep.
    pub(crate) fn look(
        &self,
        from: u32,
        most: usize,
        mut f: impl FnMut(&Seen<'_>) -> bool,
    ) -> Option<u32> {
        look(&self.slots, |slots| {
            let mut next = from;
            for _ in 0..most {
                let (id, live) = slots.next(next)?;
                next = id.checked_add(1)?;
                if let Some(live) = live {
                    if !f(&Seen { id, live }) {
                        break;
                    }
                }
            }
            Some(next)
        })
    }
}

impl Clear for Arc<Table> {
    fn clear(&self) {
        let mut blocks = self.slots.lock().clear();
        // An object is mostly younger than what it refers to. So most are dropped here, and not by the
        // drop of others: debug kernels record the calls that lead to each free, and the fewer there
        // are the less that takes.
        let mut cursor = blocks.cursor_back_mut();
        while let Some(mut at) = cursor {
            for object in at.current_mut().1.take_objects() {
                drop(object);
            }
            cursor = at.move_prev();
        }
    }
}

/// A table in which no objects are published.
pub(crate) struct Frozen<'t> {
    table: &'t Table,
    guard: WriteGuard<'t, ()>,
}

impl<'t> Frozen<'t> {
    /// Returns all objects of kind `K`, in the order of their ids. Returns `ENOMEM`.
    pub(crate) fn all<K: Kind>(&self) -> Result<Chunks<Ref<K>>> {
        let mut all = Chunks::new();
        let slots = self.table.slots.lock();
        for object in slots.all() {
            if let Some(object) = object.clone_as() {
                all.push(object)?;
            }
        }
        drop(slots);
        Ok(all)
    }

    /// Returns the guard, which proves that no other task has frozen the table.
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
    /// Returns the id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Keeps the id taken until the context is closed.
    fn abandon(&mut self) {
        self.published = true;
    }

    /// Makes the object, which no look-up finds yet. Returns `ENOMEM`, or what `init` fails with.
    pub(crate) fn fill<K: Kind>(self, init: impl PinInit<K, Refusal>) -> Result<Draft<'t, K>> {
        let object = Shared::try_pin_init(self.object(init), GFP_KERNEL_ACCOUNT)?;
        Ok(self.filled(object))
    }

    /// As [`Reservation::fill`], with room in the object's allocation for something that it refers to,
    /// which `init` is given.
    pub(crate) fn fill_with_room<K: Kind, I: PinInit<K, Refusal>>(
        self,
        size: RoomSize,
        init: impl FnOnce(Room) -> I,
    ) -> Result<Draft<'t, K>> {
        let init = |room| self.object(init(room));
        let object = Shared::with_room(size, init, GFP_KERNEL_ACCOUNT)?;
        Ok(self.filled(object))
    }

    fn object<K: Kind>(&self, init: impl PinInit<K, Refusal>) -> impl PinInit<Object<K>, Refusal> {
        let id = self.id;
        let context = self.table.context;
        try_pin_init!(Object {
            // Last, because it says that the object is destroyed when it is dropped.
            kind <- init,
            name: Name {
                context,
                id,
                _kind: PhantomData,
            },
        }? Refusal)
    }

    fn filled<K: Kind>(self, object: Ref<K>) -> Draft<'t, K> {
        emit(|| trace::Made {
            context: object.context(),
            id: object.id(),
            kind: K::NAME,
        });
        Draft {
            object,
            reservation: self,
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.published {
            let memory = self.table.slots.lock().remove(self.id);
            drop(memory);
            self.table.ids.free(self.id);
        }
    }
}

/// An object that was removed. Dropping this drops the table's reference and then frees the id.
pub(crate) struct Taken<'t> {
    // Field order: the id is freed last.
    _object: SharedAny,
    id: Reservation<'t>,
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl<'t> Taken<'t> {
    /// Returns the object if it is of kind `K`, for the caller to destroy before it drops the
    /// reservation of the id.
    pub(crate) fn downcast<K: Kind>(self) -> Result<(Ref<K>, Reservation<'t>), Self> {
        let Self {
            _object: object,
            id,
        } = self;
        match object.downcast::<Object<K>>() {
            Ok(object) => Ok((object, id)),
            Err(object) => Err(Self {
                _object: object,
                id,
            }),
        }
    }
}

/// An object that is not published. Dropping this drops the object and then frees its id. Warns if
/// there is another reference to the object then; see [`Draft::discard`].
pub(crate) struct Draft<'t, K: Kind> {
    // Field order: the id is freed last.
    object: Ref<K>,
    reservation: Reservation<'t>,
}

impl<K: Kind> Draft<'_, K> {
    /// Lets look-ups find the object. Cannot fail.
    pub(crate) fn publish(self) {
        let table = self.reservation.table;
        let _publishing = table.publishing.read();
        self.publish_in(&mut table.slots.lock());
    }

    /// Drops a draft to which another object or task may refer already. If one does, the object
    /// exists as long as that reference, and the id remains taken until the context is closed.
    pub(crate) fn discard(mut self) {
        if self.object.ref_count() > 1 {
            self.reservation.abandon();
        }
    }

    /// As [`Draft::publish`]. Returns a reference to the object.
    pub(crate) fn publish_and_get(self) -> Ref<K> {
        let object = self.object.clone();
        self.publish();
        object
    }

    /// Publishes and marks the object, unless `permit` fails or an object is marked already.
    /// Returns what `permit` fails with. If an object is marked already, the draft is dropped.
    pub(crate) fn publish_as_marked(self, permit: impl FnOnce() -> Result) -> Result {
        let table = self.reservation.table;
        let _publishing = table.publishing.read();
        // Dropped before `self`: dropping a draft takes the lock.
        let mut slots = table.slots.lock();
        permit()?;
        if slots.marked().is_none() {
            slots.mark(Some(self.reservation.id));
            self.publish_in(&mut slots);
        }
        Ok(())
    }

    /// Gives the reference to the table.
    fn publish_in(mut self, slots: &mut Slots) {
        self.reservation.published = true;
        let live = Live {
            object: self.object.clone().erase(),
            about: Object::<K>::ABOUT,
        };
        slots.publish(self.reservation.id, live);
    }
}

impl<K: Kind> Drop for Draft<'_, K> {
    fn drop(&mut self) {
        // A reference elsewhere would keep the object when its id is free.
        let freed = !self.reservation.published;
        warn_on_once!(freed && self.object.ref_count() > 1);
    }
}

impl<K: Kind> Deref for Draft<'_, K> {
    type Target = Ref<K>;

    fn deref(&self) -> &Ref<K> {
        &self.object
    }
}
