// SPDX-License-Identifier: GPL-2.0-only

//! Files through which user space reads the events of an object.

use kernel::{
    prelude::*,
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::{
    kapi::{
        file::{
            anon_file::{
                EventFile,
                NewEventFile,
                Ready, //
            },
            file_ref::FileRef,
            pollers::Pollers, //
        },
        lines::Lines,
        reason::Result, //
    },
    object::{
        kind::Object,
        Ctx,
        Draft,
        Kind,
        Ref, //
    }, //
};

/// An object with events. See [`EventFile`].
pub(crate) trait EventSource: Kind {
    /// Whether the file can be written.
    const WRITES: bool;
    /// What reading and writing the file is called in the record of the last refusal.
    const READING: &'static CStr;
    const WRITING: &'static CStr;

    /// Writes the events that are there to user memory. Returns the number of bytes.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize>;

    /// Reads from user memory. Returns the number of bytes that were used.
    fn write(object: &Object<Self>, from: &mut UserSliceReader) -> Result<usize>
    where
        Self: Sized;

    /// Returns the tasks that are woken when [`EventSource::ready`] changes.
    fn pollers(&self) -> &Pollers;

    /// Returns the operations for which the file is ready.
    fn ready(&self) -> Ready;
}

/// The value of a file with the events of an object. While it exists the object cannot be
/// destroyed, and the context exists.
struct ObjectFile<K: Kind> {
    // Field order: the object is dropped before the context.
    object: Ref<K>,
    ctx: FileRef<Ctx>,
}

impl<K: EventSource> EventFile for ObjectFile<K> {
    const WRITES: bool = K::WRITES;

    fn read(&self, to: &mut UserSliceWriter) -> Result<usize, Error> {
        let result = self.object.read(to);
        result.map_err(|refusal| self.ctx.refuse(K::READING, refusal))
    }

    fn write(&self, from: &mut UserSliceReader) -> Result<usize, Error> {
        let result = K::write(&self.object, from);
        result.map_err(|refusal| self.ctx.refuse(K::WRITING, refusal))
    }

    fn show(&self, lines: &Lines<'_>) {
        lines.number("context", self.ctx.id());
        self.object.show(&lines.of(K::NAME, self.object.id()));
    }

    fn pollers(&self) -> &Pollers {
        self.object.pollers()
    }

    fn ready(&self) -> Ready {
        self.object.ready()
    }
}

/// A file for the events of an object that is not published yet. Neither is visible to user space
/// before [`NewObjectFile::publish`].
pub(crate) struct NewObjectFile<K: EventSource>(NewEventFile<ObjectFile<K>>);

impl<K: EventSource> NewObjectFile<K> {
    /// Creates a file and reserves a descriptor. Returns the errors of [`NewEventFile::new`].
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        Ok(Self(NewEventFile::new(name)?))
    }

    /// Returns the number of the descriptor.
    pub(crate) fn fd(&self) -> u32 {
        self.0.fd()
    }

    /// Publishes the object in `ctx`, and makes its file visible. Cannot fail.
    ///
    /// The file gets its reference to the object now, and not before: if something fails the
    /// kernel closes the file later than the object's id is freed.
    pub(crate) fn publish(self, draft: Draft<'_, K>, ctx: &FileRef<Ctx>) {
        self.0.install(ObjectFile {
            object: draft.publish_and_get(),
            ctx: ctx.clone(),
        });
    }
}
