// SPDX-License-Identifier: GPL-2.0-only

//! Initialisers, which make a value that is moved to its place.

use core::{
    convert::Infallible,
    ops::Deref,
    pin::Pin, //
};

use crate::alloc::{
    fault,
    AllocError,
    Flags, //
};

/// Makes a `T`, or fails with an `E`.
pub trait PinInit<T, E = Infallible> {
    /// Makes the value.
    fn make(self) -> Result<T, E>;
}

impl<T, E> PinInit<T, E> for Result<T, E> {
    fn make(self) -> Result<T, E> {
        self
    }
}

/// An initialiser that runs a function.
pub struct By<F>(pub F);

impl<T, E, F: FnOnce() -> Result<T, E>> PinInit<T, E> for By<F> {
    fn make(self) -> Result<T, E> {
        (self.0)()
    }
}

/// An initialiser of a struct that fails with [`Error`](crate::error::Error), or with the type that
/// follows a `?`.
#[macro_export]
macro_rules! try_pin_init {
    ($type:ident { $($body:tt)* } ? $error:ty) => {
        $crate::init::By(move || -> ::core::result::Result<_, $error> {
            Ok($crate::fields!($type () $($body)*))
        })
    };
    ($type:ident { $($body:tt)* }) => {
        $crate::try_pin_init!($type { $($body)* }? $crate::error::Error)
    };
}

/// An initialiser of a struct that cannot fail.
#[macro_export]
macro_rules! pin_init {
    ($type:ident { $($body:tt)* }) => {
        $crate::try_pin_init!($type { $($body)* }? ::core::convert::Infallible)
    };
}

/// The struct with its fields, of which some have an initialiser.
#[doc(hidden)]
#[macro_export]
macro_rules! fields {
    ($type:ident ($($done:tt)*)) => { $type { $($done)* } };
    ($type:ident ($($done:tt)*) $field:ident <- $init:expr $(, $($rest:tt)*)?) => {
        $crate::fields!($type ($($done)* $field: $crate::init::PinInit::make($init)?,) $($($rest)*)?)
    };
    ($type:ident ($($done:tt)*) $field:ident : $value:expr $(, $($rest:tt)*)?) => {
        $crate::fields!($type ($($done)* $field: $value,) $($($rest)*)?)
    };
    ($type:ident ($($done:tt)*) $field:ident $(, $($rest:tt)*)?) => {
        $crate::fields!($type ($($done)* $field,) $($($rest)*)?)
    };
}

/// A value on the heap.
pub struct KBox<T: ?Sized>(Box<T>);

impl<T> KBox<T> {
    /// Allocates memory and makes a value in it.
    pub fn try_pin_init<E: From<AllocError>>(
        init: impl PinInit<T, E>,
        _flags: Flags,
    ) -> Result<Pin<Self>, E> {
        fault::allocate()?;
        let value = Self(Box::new(init.make()?));
        // SAFETY: The value is not moved out of the box by its owners.
        Ok(unsafe { Pin::new_unchecked(value) })
    }
}

impl<T: ?Sized> From<Box<T>> for KBox<T> {
    fn from(value: Box<T>) -> Self {
        Self(value)
    }
}

impl<T: ?Sized> KBox<T> {
    /// Returns the address of the value, which is not freed.
    pub fn into_raw(this: Self) -> *mut T {
        Box::into_raw(this.0)
    }

    /// Takes a value whose address [`KBox::into_raw`] returned.
    ///
    /// # Safety
    ///
    /// It must be called once for each call of that.
    pub unsafe fn from_raw(raw: *mut T) -> Self {
        // SAFETY: By the promise of the caller the address came from a box that was given up.
        Self(unsafe { Box::from_raw(raw) })
    }
}

impl<T: ?Sized> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
