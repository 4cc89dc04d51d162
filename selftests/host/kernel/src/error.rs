// SPDX-License-Identifier: GPL-2.0-only

//! Errors: negative error numbers.

use core::{
    convert::Infallible,
    fmt,
    num::{
        NonZeroI32,
        TryFromIntError, //
    }, //
};

use crate::alloc::AllocError;

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroI32);

/// A result whose error is an error number.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    const fn new(number: i32) -> Self {
        match NonZeroI32::new(-number) {
            Some(negative) => Self(negative),
            None => panic!("0 is no error"),
        }
    }

    /// The number, negative.
    pub const fn to_errno(self) -> i32 {
        self.0.get()
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal,)*) => {
        /// The error numbers by name.
        pub mod code {
            $(
                #[doc = stringify!($name)]
                pub const $name: super::Error = super::Error::new($number);
            )*
        }

        impl fmt::Debug for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match -self.0.get() {
                    $($number => f.write_str(stringify!($name)),)*
                    other => write!(f, "errno {other}"),
                }
            }
        }
    };
}

codes! {
    EPERM = 1,
    ENOENT = 2,
    EINTR = 4,
    EIO = 5,
    ENXIO = 6,
    E2BIG = 7,
    EBADF = 9,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    ENODEV = 19,
    EINVAL = 22,
    ENOTTY = 25,
    EFBIG = 27,
    ENOSPC = 28,
    ESPIPE = 29,
    ERANGE = 34,
    EDEADLK = 35,
    EOVERFLOW = 75,
    EMSGSIZE = 90,
    EOPNOTSUPP = 95,
    EADDRINUSE = 98,
    ETIMEDOUT = 110,
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

impl From<TryFromIntError> for Error {
    fn from(_: TryFromIntError) -> Self {
        code::EINVAL
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
