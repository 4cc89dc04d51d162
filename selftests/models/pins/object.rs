// SPDX-License-Identifier: GPL-2.0-only

//! A context with one address space.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    ioas::Ioas,
    kapi::{
        mm::usage::Usage,
        sync::{
            chunks::Chunks,
            clear_on_drop::ClearOnDrop, //
        }, //
    }, //
};

/// A context.
pub(crate) struct Ctx {
    objects: Table,
    usage: ClearOnDrop<Arc<Usage>>,
}

impl Ctx {
    /// Makes a context.
    pub(crate) fn new() -> Self {
        let usage = Arc::pin_init::<Error>(Ok(Usage::new().make().unwrap()), GFP_KERNEL).unwrap();
        Self {
            objects: Table(Ioas::new()),
            usage: ClearOnDrop::new(Ok(usage)).make().unwrap(),
        }
    }

    /// Returns the objects.
    pub(crate) fn objects(&self) -> &Table {
        &self.objects
    }

    /// Returns where pinned pages are counted.
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }
}

/// Objects, of which there is one.
pub(crate) struct Table(Ioas);

impl Table {
    /// Returns the address space.
    pub(crate) fn ioas(&self) -> &Ioas {
        &self.0
    }

    /// Returns the objects. There will be no others.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        Frozen(self)
    }
}

/// Objects to which none is added.
pub(crate) struct Frozen<'a>(&'a Table);

impl<'a> Frozen<'a> {
    /// Returns the objects of the kind, of which there is one.
    pub(crate) fn all<K>(&self) -> Result<Chunks<&'a K>>
    where
        &'a Ioas: Into<&'a K>,
        K: 'a,
    {
        Ok(Chunks::from(self.0.ioas().into()))
    }

    /// Returns the lock.
    pub(crate) fn guard(&self) -> &() {
        &()
    }
}
