// SPDX-License-Identifier: GPL-2.0-only

//! Things of a context that several objects share and find by a number from elsewhere.
//!
//! The registry's lock (rank 40) is held for look-ups and for making a thing that is not there yet.

use core::any::Any;

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::Mutex, //
};

use crate::kapi::sync::shared::Shared;

/// Things of type `T` by key, each kept as long as somebody besides the registry holds it.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    things: Mutex<RBTree<u64, crate::kapi::sync::shared::SharedAny>>,
}

impl Registry {
    /// An empty registry.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            things <- new_mutex!(RBTree::new(), "Registry::things"),
        })
    }

    /// The thing with this key, made by `init` where there is none. `ENOMEM`, or what `init` fails
    /// with.
    pub(crate) fn get_or_make<T, I>(&self, key: u64, init: impl FnOnce() -> I) -> Result<Shared<T>>
    where
        T: Any + Send + Sync,
        I: PinInit<T, Error>,
    {
        let mut things = self.things.lock();
        if let Some(thing) = things.get(&key) {
            return thing.clone().downcast().map_err(|_| EINVAL);
        }
        let thing = Shared::pin_init(init(), GFP_KERNEL_ACCOUNT)?;
        things.try_create_and_insert(key, thing.clone().erase(), GFP_KERNEL_ACCOUNT)?;
        Ok(thing)
    }

    /// Gives a thing back, and forgets it if nobody else holds it.
    pub(crate) fn release<T: Any + Send + Sync>(&self, key: u64, thing: Shared<T>) {
        let mut things = self.things.lock();
        // The registry holds one reference and the caller the other.
        let last = thing.ref_count() == 2 && things.get(&key).is_some_and(|t| t.same(&thing));
        let removed = if last { things.remove(&key) } else { None };
        drop(things);
        drop(removed);
        drop(thing);
    }

    /// Whether `f` says yes to some thing of type `T`.
    pub(crate) fn any<T: Any + Send + Sync>(&self, f: impl Fn(&T) -> bool) -> bool {
        let things = self.things.lock();
        let found = things.values().any(|thing| {
            let thing: &(dyn Any + Send + Sync) = &**thing;
            thing.downcast_ref::<T>().is_some_and(&f)
        });
        found
    }
}
