// SPDX-License-Identifier: GPL-2.0-only

//! References to objects that were looked up, for the length of a call.

use crate::{
    kapi::sync::shared::SharedAny,
    object::kind::{
        Kind,
        Ref, //
    }, //
};

/// The owner of the objects.
pub(super) trait Owner: Sync {
    /// Drops a reference to the object with this id. Destroys the object if only the owner refers to
    /// it.
    fn give_back(&self, id: u32, object: SharedAny);
}

/// A reference to an object that was looked up by its id.
///
/// If [`Kind::goes_with_last_user`] returns true for the object, it is destroyed when this is dropped and
/// nothing else refers to it. So no call leaves such an object behind, whichever way it
/// ends.
pub(crate) struct InUse<'t> {
    owner: &'t dyn Owner,
    id: u32,
    /// `None` after it was taken out.
    object: Option<SharedAny>,
    /// The object is destroyed with its last user.
    goes: bool,
}

impl<'t> InUse<'t> {
    /// Wraps a reference to the object with this id. `goes` says whether it is destroyed
    /// with its last user.
    pub(super) fn new(owner: &'t dyn Owner, id: u32, object: SharedAny, goes: bool) -> Self {
        Self {
            owner,
            id,
            object: Some(object),
            goes,
        }
    }

    /// Returns a reference that may outlive `self` if the object is of kind `K`. No object of `K` may be
    /// destroyed with its last user.
    pub(crate) fn get<K: Kind>(&self) -> Option<Ref<K>> {
        const { assert!(!K::MAY_GO_WITH_LAST_USER) };
        self.lend()
    }

    /// Returns a reference if the object is of kind `K`. The caller must drop it, and what it clones
    /// of it, before `self`, or give the clone to somebody who releases it by
    /// [`Table::release`](crate::object::Table::release).
    pub(crate) fn lend<K: Kind>(&self) -> Option<Ref<K>> {
        self.object.as_ref()?.clone_as()
    }

    /// Returns a reference that may outlive the call, or `None` if the object is destroyed with its
    /// last user.
    pub(crate) fn into_shared(mut self) -> Option<SharedAny> {
        self.object.take_if(|_| !self.goes)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        match self.object.take() {
            Some(object) if self.goes => self.owner.give_back(self.id, object),
            other => drop(other),
        }
    }
}
