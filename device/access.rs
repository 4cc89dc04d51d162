// SPDX-License-Identifier: GPL-2.0-only

//! Emulated devices: drivers that reach an address space without DMA.
//!
//! The lock `Access::state` (rank 5) is held while pages are pinned, given back or copied, but not
//! while the driver is told of unmapping, because it gives pages back from there.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Completion,
        Mutex, //
    }, //
};

use crate::{
    ioas::{
        access::{
            AccessUser,
            Accessor, //
        },
        transfer::Transfer,
        Ioas, //
    },
    kapi::{
        file::file_ref::FileRef,
        mm::pin::PagePtr,
        units::IovaRange, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    }, //
};

/// What an access reaches.
struct State {
    /// New pins and copies go here.
    ioas: Option<Ref<Ioas>>,
    /// Pages are given back here. Differs from `ioas` only while the driver is told to let go.
    unpin: Option<Ref<Ioas>>,
    accessor: Arc<Accessor>,
}

/// An emulated device's way to an address space. The driver that made it holds a reference until it
/// destroys it.
#[pin_data]
pub(crate) struct Access {
    ctx: FileRef<Ctx>,
    #[pin]
    state: Mutex<State>,
    /// Completed when nobody will tell the driver anything any more.
    dropped: Arc<Completion>,
}

impl Kind for Access {}

impl Access {
    /// Makes an access that reaches nothing yet. `user` is told when memory is unmapped. `ENOMEM`.
    pub(crate) fn create(
        ctx: &FileRef<Ctx>,
        user: Option<KBox<dyn AccessUser>>,
        pins_pages: bool,
    ) -> Result<Ref<Self>> {
        let reservation = ctx.objects().reserve()?;
        let (accessor, dropped) = Accessor::new(user, pins_pages)?;
        let access = reservation.fill(try_pin_init!(Self {
            ctx: ctx.clone(),
            state <- new_mutex!(
                State {
                    ioas: None,
                    unpin: None,
                    accessor,
                },
                "Access::state"
            ),
            dropped,
        }))?;
        Ok(access.publish_and_get())
    }

    /// Undoes [`Access::create`]; when it returns the driver will not be told anything any more.
    pub(crate) fn destroy(access: Ref<Self>) {
        let ctx = access.ctx.clone();
        let dropped = access.dropped.clone();

        let _id = ctx.objects().withdraw(&access);
        access.detach();
        drop(access);
        dropped.wait_for_completion();
    }

    /// Reaches the address space with this id. `EINVAL` where it reaches one already, `ENOENT`,
    /// `EADDRINUSE`, `ENOMEM`.
    pub(crate) fn attach(&self, ioas_id: u32) -> Result {
        let ioas: Ref<Ioas> = self.ctx.objects().get(ioas_id)?;
        if self.state.lock().ioas.is_some() {
            return Err(EINVAL);
        }
        self.change(Some(ioas))
    }

    /// Reaches another address space. `ENOENT` where there is none, or none yet; `EBUSY` while it
    /// is being changed; `EADDRINUSE`, `ENOMEM`.
    pub(crate) fn replace(&self, ioas_id: u32) -> Result {
        if self.state.lock().ioas.is_none() {
            return Err(ENOENT);
        }
        let ioas: Ref<Ioas> = self.ctx.objects().get(ioas_id)?;
        self.change(Some(ioas))
    }

    /// Reaches nothing any more.
    pub(crate) fn detach(&self) {
        // Fails only while another thread does the same.
        self.change(None).ok();
    }

    fn change(&self, new: Option<Ref<Ioas>>) -> Result {
        let mut state = self.state.lock();
        let same = match (&state.ioas, &state.unpin) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        };
        if !same {
            return Err(EBUSY);
        }
        match (&state.ioas, &new) {
            (None, None) => return Ok(()),
            (Some(old), Some(new)) if old.same(new) => return Ok(()),
            _ => {}
        }
        let accessor = state.accessor.clone();
        if let Some(new) = &new {
            new.add_accessor(accessor.clone())?;
        }
        // No new pins from here on; those that are there can still be given back.
        state.ioas = None;
        let old = state.unpin.clone();
        if let Some(old) = old {
            drop(state);
            accessor.notify(IovaRange::ALL);
            old.remove_accessor(&accessor);
            state = self.state.lock();
        }
        let before = core::mem::replace(&mut state.unpin, new.clone());
        state.ioas = new;
        drop(state);
        drop(before);
        Ok(())
    }

    /// See [`Ioas::pin_pages`]; `ENOENT` also where nothing is reached.
    pub(crate) fn pin_pages(&self, range: IovaRange, write: bool, out: &mut [PagePtr]) -> Result {
        let state = self.state.lock();
        let ioas = state.ioas.as_ref().ok_or(ENOENT)?;
        ioas.pin_pages(range, write, out)
    }

    /// See [`Ioas::unpin_pages`].
    pub(crate) fn unpin_pages(&self, range: IovaRange) {
        let state = self.state.lock();
        if let Some(ioas) = &state.unpin {
            ioas.unpin_pages(range);
        }
    }

    /// See [`Ioas::copy_bytes`]; `ENOENT` also where nothing is reached.
    pub(crate) fn copy_bytes(
        &self,
        iova: u64,
        transfer: Transfer<'_>,
        borrow_mm: bool,
        slow: bool,
    ) -> Result {
        let state = self.state.lock();
        let ioas = state.ioas.as_ref().ok_or(ENOENT)?;
        ioas.copy_bytes(iova, transfer, borrow_mm, slow)
    }
}
