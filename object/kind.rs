// SPDX-License-Identifier: GPL-2.0-only

//! Objects, their kinds, and references to them.

use core::{
    any::Any,
    marker::PhantomData,
    ops::Deref, //
};

use kernel::prelude::*;

use crate::kapi::{
    bug::{
        sub_or_warn,
        warn_on_once, //
    },
    lines::Lines,
    sync::shared::{
        Shared,
        SharedAny, //
    },
    trace::{
        self,
        emit, //
    }, //
};

/// A kind of object that can be in the table.
pub(crate) trait Kind: Any + Send + Sync {
    /// What objects of this kind are called where people read it. No two kinds have the same name,
    /// and a name has no space in it.
    const NAME: &'static CStr;

    /// Whether [`Kind::goes_with_last_user`] may return true. References to such objects are looked up
    /// as [`InUse`](crate::object::InUse) only.
    const MAY_GO_WITH_LAST_USER: bool = false;

    /// Returns whether the object is destroyed when nothing refers to it any more, without a request of
    /// user space. The answer does not change.
    fn goes_with_last_user(&self) -> bool {
        false
    }

    /// Writes lines about the object. Called with `Table::slots` (rank 50) held, so it must not
    /// sleep for long nor allocate, and takes a lock of a lower rank only if it is free. The number
    /// of lines is bounded.
    fn show(&self, lines: &Lines<'_>);
}

/// What the table knows of a kind.
pub(super) struct About {
    pub(super) name: &'static CStr,
    /// Calls [`Kind::goes_with_last_user`] of an object of the kind.
    pub(super) goes_with_last_user: fn(object: &SharedAny) -> bool,
    /// Calls [`Kind::show`] of an object of the kind.
    pub(super) show: fn(object: &SharedAny, lines: &Lines<'_>),
}

/// The name of an object. Hits the tracepoint when it is dropped.
pub(super) struct Name<K: Kind> {
    pub(super) context: u64,
    pub(super) id: u32,
    pub(super) _kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Drop for Name<K> {
    fn drop(&mut self) {
        emit(|| trace::Destroyed {
            context: self.context,
            id: self.id,
            kind: K::NAME,
        });
    }
}

/// An object with its id.
#[pin_data]
pub(crate) struct Object<K: Kind> {
    // Field order: it is said that the object is destroyed before what it owns is.
    pub(super) name: Name<K>,
    #[pin]
    pub(super) kind: K,
}

impl<K: Kind> Object<K> {
    pub(super) const ABOUT: &'static About = &About {
        name: K::NAME,
        goes_with_last_user: |object| {
            Self::of(object).is_some_and(|object| object.kind.goes_with_last_user())
        },
        show: |object, lines| {
            if let Some(object) = Self::of(object) {
                object.kind.show(lines);
            }
        },
    };

    /// Returns the object if it is of this kind.
    fn of(object: &SharedAny) -> Option<&Self> {
        let object: &(dyn Any + Send + Sync) = &**object;
        object.downcast_ref()
    }

    /// Returns the [number](crate::object::Ctx::id) of the context.
    pub(crate) fn context(&self) -> u64 {
        self.name.context
    }

    /// Returns the id by which user space names the object. It is unique in the context while the
    /// object exists.
    pub(crate) fn id(&self) -> u32 {
        self.name.id
    }
}

impl<K: Kind> Deref for Object<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.kind
    }
}

/// A reference to an object of kind `K`. While there is one the object cannot be destroyed.
pub(crate) type Ref<K> = Shared<Object<K>>;

/// A reference to an object of one of two kinds.
pub(crate) enum Either<A: Kind, B: Kind> {
    A(Ref<A>),
    B(Ref<B>),
}

/// A reference to an object of some kind. While there is one the object cannot be destroyed.
pub(crate) struct AnyRef(pub(super) SharedAny);

impl<K: Kind> From<Ref<K>> for AnyRef {
    fn from(object: Ref<K>) -> Self {
        Self(object.erase())
    }
}

impl AnyRef {
    /// Returns the reference as one of any type.
    pub(crate) fn into_shared(self) -> SharedAny {
        self.0
    }
}

/// The number of live objects of each kind.
#[derive(Clone, Copy)]
pub(crate) struct Census([(Option<&'static CStr>, u64); Self::KINDS]);

impl Census {
    /// At least the number of kinds.
    const KINDS: usize = 16;

    pub(super) const fn new() -> Self {
        Self([(None, 0); Self::KINDS])
    }

    fn entry(&mut self, name: &'static CStr) -> Option<&mut u64> {
        let place = self.0.iter().position(|(known, _)| match known {
            Some(known) => core::ptr::eq(*known, name),
            None => true,
        })?;
        let (known, count) = self.0.get_mut(place)?;
        *known = Some(name);
        Some(count)
    }

    /// Counts one more object of a kind.
    pub(super) fn add(&mut self, about: &'static About) {
        let count = self.entry(about.name);
        warn_on_once!(count.is_none());
        if let Some(count) = count {
            *count += 1;
        }
    }

    /// Counts one object of a kind less.
    pub(super) fn sub(&mut self, about: &'static About) {
        if let Some(count) = self.entry(about.name) {
            sub_or_warn!(*count, 1);
        }
    }

    /// Returns the kinds of which there has been an object, and their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static CStr, u64)> + '_ {
        self.0
            .iter()
            .filter_map(|(name, count)| Some(((*name)?, *count)))
    }
}
