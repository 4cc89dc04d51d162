// SPDX-License-Identifier: GPL-2.0-only

//! State of a context that several of its objects share, by a number: that of an IOMMU group, or
//! the first address of a window for interrupts.
//!
//! The registry's lock (rank 40) is held for look-ups. Nothing is allocated or dropped under it.

use core::any::Any;

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
    bug::warn_on_once,
    sync::shared::{
        Shared,
        SharedAny, //
    }, //
};

/// Values by key. Each exists as long as there is a reference to it beside the registry's.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    things: Mutex<RBTree<u64, SharedAny>>,
}

impl Registry {
    /// Initialises an empty registry.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            things <- new_mutex!(RBTree::new(), "Registry::things"),
        })
    }

    /// Returns the value with this key. If there is none, makes it by `init`, without the lock.
    /// Returns `ENOMEM`, or what `init` fails with.
    pub(crate) fn get_or_make<T, I>(&self, key: u64, init: impl FnOnce() -> I) -> Result<Shared<T>>
    where
        T: Any + Send + Sync,
        I: PinInit<T, Error>,
    {
        if let Some(thing) = self.get(key) {
            return known(thing);
        }
        let thing = Shared::pin_init(init(), GFP_KERNEL_ACCOUNT)?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;

        let mut things = self.things.lock();
        // Another thread may have made it meanwhile. What was made here is then dropped after the
        // lock is released, because its drop may take the lock of another registry.
        match things.get(&key).cloned() {
            Some(other) => {
                drop(things);
                known(other)
            }
            None => {
                things.insert(node.into_node(key, thing.clone().erase()));
                Ok(thing)
            }
        }
    }

    fn get(&self, key: u64) -> Option<SharedAny> {
        self.things.lock().get(&key).cloned()
    }

    /// Drops a reference to a value, and removes the value if only the registry's reference is
    /// left.
    ///
    /// The reference is dropped under the lock: of several callers exactly one finds that it was
    /// the last.
    pub(crate) fn release<T: Any + Send + Sync>(&self, key: u64, thing: Shared<T>) {
        let mut things = self.things.lock();
        match things.get(&key) {
            Some(ours) if ours.same(&thing) => {
                // Not the last reference: the registry has one.
                drop(thing);
                let last = ours.ref_count() == 1;
                let removed = if last { things.remove(&key) } else { None };
                drop(things);
                drop(removed);
            }
            _ => {
                drop(things);
                drop(thing);
            }
        }
    }

    /// Returns whether `f` returns true for a value of type `T`.
    pub(crate) fn any<T: Any + Send + Sync>(&self, f: impl Fn(&T) -> bool) -> bool {
        let things = self.things.lock();
        let found = things.values().any(|thing| {
            let thing: &(dyn Any + Send + Sync) = &**thing;
            thing.downcast_ref::<T>().is_some_and(&f)
        });
        found
    }
}

#[cfg(CONFIG_IOMMUFD_RS_KUNIT)]
#[kunit_tests(iommufd_rs_registry)]
mod tests {
    use super::*;
    use kernel::sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    };

    const KEY: u64 = 7;

    /// A value whose drop needs the lock of the registry, and counts how often it was free.
    struct Probe {
        registry: Arc<Registry>,
        free: Arc<Atomic<i32>>,
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            if self.registry.things.try_lock().is_some() {
                self.free.fetch_add(1, Relaxed);
            }
        }
    }

    /// Returns a registry, and the counter of its probes.
    fn setup() -> Result<(Arc<Registry>, Arc<Atomic<i32>>)> {
        Ok((
            Arc::pin_init(Registry::new(), GFP_KERNEL)?,
            Arc::new(Atomic::new(0), GFP_KERNEL)?,
        ))
    }

    #[test]
    fn a_value_is_made_without_the_lock() -> Result {
        let (registry, _) = setup()?;
        let free = registry.get_or_make(KEY, || Ok(registry.things.try_lock().is_some()))?;
        assert!(*free);
        registry.release(KEY, free);
        assert!(registry.get(KEY).is_none());
        Ok(())
    }

    #[test]
    fn what_cannot_be_made_is_dropped_without_the_lock() -> Result {
        let (registry, free) = setup()?;
        let made = registry.get_or_make(KEY, || -> Result<Probe> {
            let _probe = Probe {
                registry: registry.clone(),
                free: free.clone(),
            };
            Err(ENOMEM)
        });
        assert_eq!(made.err(), Some(ENOMEM));
        assert_eq!(free.load(Relaxed), 1);
        assert!(registry.get(KEY).is_none());
        Ok(())
    }

    /// As if a second task made the value while the first one does.
    #[test]
    fn what_is_made_in_vain_is_dropped_without_the_lock() -> Result {
        let (registry, free) = setup()?;
        let probe = || -> Result<Probe> {
            Ok(Probe {
                registry: registry.clone(),
                free: free.clone(),
            })
        };
        let mut first = None;
        let second = registry.get_or_make(KEY, || -> Result<Probe> {
            // If the lock were held the call would deadlock.
            if registry.things.try_lock().is_some() {
                first = Some(registry.get_or_make(KEY, probe)?);
            }
            probe()
        })?;
        let first = first.ok_or(EDEADLK)?;
        assert!(first.same(&second));
        assert_eq!(free.load(Relaxed), 1);

        registry.release(KEY, first);
        assert_eq!(free.load(Relaxed), 1);
        registry.release(KEY, second);
        assert_eq!(free.load(Relaxed), 2);
        Ok(())
    }
}

/// Returns a value as what was made under its key: a key is for values of one type.
fn known<T: Any + Send + Sync>(thing: SharedAny) -> Result<Shared<T>> {
    let thing = thing.downcast();
    warn_on_once!(thing.is_err());
    thing.map_err(|_| EINVAL)
}
