// SPDX-License-Identifier: GPL-2.0-only

//! Emulated devices: drivers that access an address space without DMA.
//!
//! The lock `Access::state` (rank 5) is held while pages are pinned or copied, which may wait for user
//! memory. Pages are unpinned under `Access::unpin` (rank 20), with which no task waits for that: a call
//! that unmaps has the driver unpin them. Neither is held while the driver's unmap callback runs.

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
        accessor::{
            AccessUser,
            Accessor, //
        },
        transfer::Transfer,
        Ioas, //
    },
    kapi::{
        bug::warn_on_once,
        file::file_ref::FileRef,
        lines::Lines,
        mm::pin::PagePtr,
        reason::{
            Reason,
            Refusal,
            Result, //
        },
        sync::killable::lock_killable,
        units::IovaRange, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    }, //
};

/// The address space of an access.
struct State {
    /// The one in which pages are pinned and copied.
    ioas: Option<Ref<Ioas>>,
    accessor: Arc<Accessor>,
}

/// An emulated device's access to an address space. The driver that made it holds a reference until
/// it destroys it.
#[pin_data]
pub(crate) struct Access {
    ctx: FileRef<Ctx>,
    #[pin]
    state: Mutex<State>,
    /// The address space in which pages are unpinned. Changes only while `state` is locked. Differs from
    /// [`State::ioas`] only while the unmap callback runs.
    #[pin]
    unpin: Mutex<Option<Ref<Ioas>>>,
    /// Completed when no unmap callback runs and none can begin.
    dropped: Arc<Completion>,
}

impl Kind for Access {
    const NAME: &'static CStr = c"access";

    fn show(&self, lines: &Lines<'_>) {
        match self.state.try_lock() {
            Some(state) => {
                if let Some(ioas) = &state.ioas {
                    lines.number("ioas", ioas.id());
                }
            }
            None => lines.busy(),
        }
    }
}

impl Access {
    /// Makes an access without an address space. `user` has the unmap callback. Returns `ENOMEM`.
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
                    accessor,
                },
                "Access::state"
            ),
            unpin <- new_mutex!(None, "Access::unpin"),
            dropped,
        }? Refusal))?;
        Ok(access.publish_and_get())
    }

    /// Undoes [`Access::create`]. When it returns, no unmap callback runs and none can begin.
    pub(crate) fn destroy(access: Ref<Self>) {
        let ctx = access.ctx.clone();
        let dropped = access.dropped.clone();

        let id = ctx.objects().withdraw(&access);
        // The driver's reference keeps it in the table.
        warn_on_once!(id.is_none());
        access.detach();
        drop(access);
        dropped.wait_for_completion();
    }

    /// Attaches the access to the address space with this id. Returns `EINVAL` if it is attached to
    /// one, `ENOENT` if there is no such address space, `EADDRINUSE`, `ENOMEM`.
    pub(crate) fn attach(&self, ioas_id: u32) -> Result {
        let ioas: Ref<Ioas> = self.ctx.objects().get(ioas_id)?;
        if lock_killable(&self.state)?.ioas.is_some() {
            return Err(Reason::AccessAttached.with(0));
        }
        self.change(Some(ioas))
    }

    /// Attaches the access to another address space. Returns `ENOENT` if there is none with this
    /// id, or the access is not attached; `EBUSY` while another task changes it; `EADDRINUSE`,
    /// `ENOMEM`.
    pub(crate) fn replace(&self, ioas_id: u32) -> Result {
        if lock_killable(&self.state)?.ioas.is_none() {
            return Err(Reason::AccessDetached.with(0));
        }
        let ioas: Ref<Ioas> = self.ctx.objects().get(ioas_id)?;
        self.change(Some(ioas))
    }

    /// Records in the context that `command` is refused, and returns the error.
    pub(crate) fn refuse(&self, command: &'static CStr, refusal: Refusal) -> Error {
        self.ctx.refuse(command, refusal)
    }

    /// Detaches the access from its address space. No other task may change that meanwhile.
    pub(crate) fn detach(&self) {
        // The accessor would stay in the address space.
        warn_on_once!(self.change(None).is_err());
    }

    fn change(&self, new: Option<Ref<Ioas>>) -> Result {
        let mut state = match &new {
            Some(_) => lock_killable(&self.state)?,
            // To detach cannot fail.
            None => self.state.lock(),
        };
        let old = self.unpin.lock().clone();
        let same = match (&state.ioas, &old) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        };
        if !same {
            return Err(Reason::AccessBusy.with(0));
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
        // Nothing is pinned from here on. Pages can still be unpinned.
        state.ioas = None;
        if let Some(old) = old {
            drop(state);
            accessor.notify(IovaRange::ALL);
            old.remove_accessor(&accessor);
            state = self.state.lock();
        }
        let before = core::mem::replace(&mut *self.unpin.lock(), new.clone());
        state.ioas = new;
        drop(state);
        drop(before);
        Ok(())
    }

    /// See [`Ioas::pin_pages`]. Returns `ENOENT` also if the access is not attached.
    pub(crate) fn pin_pages(&self, range: IovaRange, write: bool, out: &mut [PagePtr]) -> Result {
        let state = lock_killable(&self.state)?;
        let ioas = state.ioas.as_ref().ok_or(Reason::AccessDetached.with(0))?;
        ioas.pin_pages(range, write, out)
    }

    /// See [`Ioas::unpin_pages`]. Does not wait for user memory.
    pub(crate) fn unpin_pages(&self, range: IovaRange) {
        let unpin = self.unpin.lock();
        // The driver has pinned nothing then.
        warn_on_once!(unpin.is_none());
        if let Some(ioas) = &*unpin {
            ioas.unpin_pages(range);
        }
    }

    /// See [`Ioas::copy_bytes`]. Returns `ENOENT` also if the access is not attached.
    pub(crate) fn copy_bytes(
        &self,
        iova: u64,
        transfer: Transfer<'_>,
        borrow_mm: bool,
        slow: bool,
    ) -> Result {
        let state = lock_killable(&self.state)?;
        let ioas = state.ioas.as_ref().ok_or(Reason::AccessDetached.with(0))?;
        ioas.copy_bytes(iova, transfer, borrow_mm, slow)
    }
}
