// SPDX-License-Identifier: GPL-2.0-only

//! The driver of an emulated device, which pins and reads memory of an address space.
//!
//! It calls the functions of `device/access.rs`, and unpins what it has pinned when it is asked to. Its lock
//! is held while it pins and unpins, so what it is asked to unpin is pinned, or will not be.

use std::sync::{
    atomic::{
        AtomicBool,
        Ordering::SeqCst, //
    },
    Arc, //
};

use kernel::{
    init::KBox,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    device::Access,
    ioas::{
        accessor::AccessUser,
        pages::{
            of_access,
            Memory, //
        },
        transfer::Transfer, //
    },
    kapi::{
        mm::pin::PagePtr,
        reason::Result,
        units::{
            IovaRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    },
    object::Ref,
    tests::world::{
        range,
        World, //
    }, //
};

/// What the driver has.
struct Inner {
    access: Option<Ref<Access>>,
    pinned: Vec<IovaRange>,
}

struct State {
    inner: Mutex<Inner>,
    memory: Memory,
    /// The access is destroyed, and the driver is not called any more.
    destroyed: AtomicBool,
}

impl State {
    /// Unpins what is pinned of a range.
    fn unpin(&self, within: IovaRange) {
        let mut inner = self.inner.lock();
        let Inner { access, pinned } = &mut *inner;
        pinned.retain(|range| {
            if range.intersection(&within).is_none() {
                return true;
            }
            let pages = range.start() >> PAGE_SHIFT..=range.last() >> PAGE_SHIFT;
            self.memory.touch(pages);
            let access = access.as_ref().expect("the access is not destroyed");
            of_access(|| access.unpin_pages(*range));
            false
        });
    }
}

/// What is called when memory is unmapped.
struct User(Arc<State>);

impl AccessUser for User {
    fn unmap(&self, range: IovaRange) {
        self.0.unpin(range);
        let is_late = self.0.destroyed.load(SeqCst);
        assert!(!is_late, "a driver is called whose access is destroyed");
    }
}

/// A driver of a device in an address space.
#[derive(Clone)]
pub(super) struct Driver(Arc<State>);

impl Driver {
    /// Makes one in this address space.
    pub(super) fn new(world: &World) -> Self {
        let inner = Inner {
            access: None,
            pinned: Vec::new(),
        };
        let state = Arc::new(State {
            inner: Mutex::new(inner).make().unwrap(),
            memory: world.memory.clone(),
            destroyed: AtomicBool::new(false),
        });
        let user: Box<dyn AccessUser> = Box::new(User(state.clone()));
        let access = Access::create(&world.ctx, Some(KBox::from(user)), true).unwrap();
        access.attach(world.ioas.id()).unwrap();
        state.inner.lock().access = Some(access);
        Self(state)
    }

    /// Calls `f` with the access, under the lock of the driver.
    fn with<R>(&self, f: impl FnOnce(&Access, &mut Vec<IovaRange>) -> R) -> R {
        let mut inner = self.0.inner.lock();
        let Inner { access, pinned } = &mut *inner;
        f(access.as_ref().expect("it is not destroyed"), pinned)
    }

    /// Pins `count` pages from `first` on.
    pub(super) fn pin(&self, first: u64, count: u64) -> Result {
        self.with(|access, pinned| {
            let mut pages = vec![PagePtr::null(); count as usize];
            of_access(|| access.pin_pages(range(first, count), true, &mut pages))?;
            let expected: Vec<_> = (first..first + count).map(PagePtr::at).collect();
            assert_eq!(pages, expected);
            pinned.push(range(first, count));
            Ok(())
        })
    }

    /// Uses and unpins what is pinned.
    pub(super) fn let_go(&self) {
        self.0.unpin(IovaRange::ALL);
    }

    /// Reads `count` pages from `first` on, under the lock.
    pub(super) fn copy(&self, first: u64, count: u64) -> Result {
        self.with(|access, _| {
            let mut data = vec![0; (count * PAGE_SIZE) as usize];
            access.copy_bytes(first * PAGE_SIZE, Transfer::Read(&mut data), false, false)
        })
    }

    /// Moves the device to the address space with this id, without the lock: the driver is called.
    pub(super) fn replace(&self, ioas: u32) {
        let access = self.0.inner.lock().access.clone();
        access.expect("it is not destroyed").replace(ioas).unwrap();
    }

    /// Destroys the access.
    pub(super) fn destroy(self) {
        self.let_go();
        let access = self.0.inner.lock().access.take();
        Access::destroy(access.expect("it is destroyed once"));
        self.0.destroyed.store(true, SeqCst);
    }
}
