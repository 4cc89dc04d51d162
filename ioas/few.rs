// SPDX-License-Identifier: GPL-2.0-only

//! Lists that most often have one element, which then needs no memory of its own.

use core::ops::Deref;
use core::ops::DerefMut;
use kernel::prelude::*;

/// A list.
pub(crate) enum Few<T> {
    One(T),
    Many(KVec<T>),
}

impl<T> Few<T> {
    /// A list without elements.
    pub(crate) const fn new() -> Self {
        Self::Many(KVec::new())
    }

    /// Adds an element behind the others. `ENOMEM`.
    pub(crate) fn push(&mut self, value: T) -> Result {
        match self {
            Self::Many(list) if list.capacity() == 0 => *self = Self::One(value),
            Self::Many(list) => list.push(value, GFP_KERNEL_ACCOUNT)?,
            Self::One(_) => {
                let mut list = KVec::with_capacity(4, GFP_KERNEL_ACCOUNT)?;
                if let Self::One(first) = core::mem::replace(self, Self::new()) {
                    drop(list.push_within_capacity(first));
                }
                drop(list.push_within_capacity(value));
                *self = Self::Many(list);
            }
        }
        Ok(())
    }

    /// Adds an element where that needs no memory, else gives it back.
    #[inline]
    pub(crate) fn push_within_capacity(&mut self, value: T) -> Result<(), T> {
        match self {
            Self::Many(list) => list.push_within_capacity(value).map_err(|error| error.0),
            Self::One(_) => Err(value),
        }
    }

    /// The list of what `f` makes of each element. `ENOMEM`, or what `f` fails with.
    pub(crate) fn try_map<U>(self, mut f: impl FnMut(T) -> Result<U>) -> Result<Few<U>> {
        Ok(match self {
            Self::One(value) => Few::One(f(value)?),
            Self::Many(list) => {
                let mut made = KVec::with_capacity(list.len(), GFP_KERNEL_ACCOUNT)?;
                for value in list {
                    drop(made.push_within_capacity(f(value)?));
                }
                Few::Many(made)
            }
        })
    }

    /// Gives back memory that the list does not need. `ENOMEM`, and then nothing has changed.
    pub(crate) fn fit(&mut self) -> Result {
        let Self::Many(list) = self else {
            return Ok(());
        };
        match list.len() {
            len if len == list.capacity() => {}
            1 => {
                if let Some(value) = list.pop() {
                    *self = Self::One(value);
                }
            }
            len => {
                let mut exact = KVec::with_capacity(len, GFP_KERNEL_ACCOUNT)?;
                for value in core::mem::replace(list, KVec::new()) {
                    drop(exact.push_within_capacity(value));
                }
                *list = exact;
            }
        }
        Ok(())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(value) => core::slice::from_ref(value),
            Self::Many(list) => list,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(value) => core::slice::from_mut(value),
            Self::Many(list) => list,
        }
    }
}
