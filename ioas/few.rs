// SPDX-License-Identifier: GPL-2.0-only

//! Lists that most often have one element, which then needs no memory of its own.

use core::ops::{
    Deref,
    DerefMut, //
};

use kernel::prelude::*;

use crate::kapi::sync::vec;

/// A list.
pub(crate) enum Few<T> {
    None,
    One(T),
    Many(KVec<T>),
}

impl<T> Few<T> {
    /// Adds an element behind the others. `ENOMEM`.
    pub(crate) fn push(&mut self, value: T) -> Result {
        if let Self::None = self {
            *self = Self::One(value);
            return Ok(());
        }
        self.reserve(3)?.push(value, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// Makes room for `more` elements and returns the list that has it. `ENOMEM`, and then nothing
    /// has changed.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<&mut KVec<T>> {
        if !matches!(self, Self::Many(_)) {
            let mut list = KVec::with_capacity(more.saturating_add(1), GFP_KERNEL_ACCOUNT)?;
            if let Self::One(first) = core::mem::replace(self, Self::None) {
                drop(list.push_within_capacity(first));
            }
            *self = Self::Many(list);
        }
        match self {
            Self::Many(list) => {
                list.reserve(more, GFP_KERNEL_ACCOUNT)?;
                Ok(list)
            }
            _ => Err(EINVAL),
        }
    }

    /// The list of what `f` makes of each element. `ENOMEM`, or what `f` fails with.
    pub(crate) fn try_map<U>(self, mut f: impl FnMut(T) -> Result<U>) -> Result<Few<U>> {
        Ok(match self {
            Self::None => Few::None,
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
            1 => {
                if let Some(value) = list.pop() {
                    *self = Self::One(value);
                }
            }
            _ => vec::fit(list)?,
        }
        Ok(())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(value) => core::slice::from_ref(value),
            Self::Many(list) => list,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(value) => core::slice::from_mut(value),
            Self::Many(list) => list,
        }
    }
}
